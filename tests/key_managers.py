# SPDX-License-Identifier: Apache-2.0
"""Secret stores with the API that refers to them: what `test_secret_stores.py` is asked of.

Our own, and a Barbican that users fill by its own API: the fake one here, a real one in
`tests/openstack/`.
"""

import base64
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import httpx

from colonnade.api.identity.keystone import KeystoneTokens
from colonnade.controller.process import secrets_of
from colonnade.domain.ids import ProjectId
from colonnade.domain.secrets import SecretType
from colonnade.drivers.openstack.credentials import Credentials
from colonnade.drivers.openstack.session import Session
from colonnade.drivers.secrets.barbican import Barbican
from colonnade.notifier.copies import Copies
from colonnade.runtime.config import Keystone
from colonnade.store.postgres.database import Database
from tests.certificates import Made
from tests.contract.api_client import SEAL, Api, serving
from tests.fakes.barbican import FakeBarbican
from tests.fakes.clock import Time
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone

LOOK_S = 600.0
TEXT, BYTES = "text/plain", "application/octet-stream"


class Store(Protocol):
    """`api` asks as a member of `project`."""

    api: Api
    database: Database
    project: str

    async def keep(
        self,
        content: Made | str,
        kind: SecretType = SecretType.CERTIFICATE,
        *,
        foreign: bool = False,
    ) -> str:
        """A reference to it. `foreign`: another project's."""

    async def replace(self, reference: str, content: Made | str) -> None:
        """Of that one, from now on, and whoever has to look has looked."""


class OwnStore:
    project = "default"

    def __init__(self, api: Api, database: Database) -> None:
        self.api, self.database = api, database

    async def keep(
        self,
        content: Made | str,
        kind: SecretType = SecretType.CERTIFICATE,
        *,
        foreign: bool = False,
    ) -> str:
        about = {"type": kind, "pem": _pem(content)}
        if foreign:
            about["project_id"] = "another"
        return str((await self.api.post("secrets", {"secret": about}))["secret"]["secret_ref"])

    async def replace(self, reference: str, content: Made | str) -> None:
        path = f"secrets/{reference.rpartition('/')[2]}"
        await self.api.put(path, {"secret": {"pem": _pem(content)}})


class Cloud:
    """Users of a Barbican, by its own API. `tokens`: of members of this project and of another's,
    by the words "own", "colleague" and "foreign"."""

    def __init__(
        self,
        url: str,
        project: str,
        tokens: Mapping[str, str],
        key_manager: Barbican,
        client: httpx.AsyncClient,
    ) -> None:
        self.url, self.project, self.tokens = url, project, tokens
        self.key_manager = key_manager
        self._client = client

    async def ask(
        self, method: str, place: str, body: Any = None, *, who: str = "own", status: int = 0
    ) -> Any:
        headers = {
            "X-Auth-Token": self.tokens[who],
            "Accept": "application/json",
            "OpenStack-API-Version": "key-manager 1.1",
        }
        url = place if "://" in place else f"{self.url}/v1/{place}"
        answer = await self._client.request(method, url, json=body, headers=headers)
        assert answer.status_code == status or (not status and answer.is_success), answer.text
        return answer.json() if answer.content else None

    async def secret(self, content: str | bytes, *, who: str = "own") -> str:
        about = {"name": "x", "payload": content, "payload_content_type": TEXT}
        if isinstance(content, bytes):
            about |= {
                "payload": base64.b64encode(content).decode(), "payload_content_type": BYTES,
                "payload_content_encoding": "base64",
            }  # fmt: skip
        return str((await self.ask("POST", "secrets", about, who=who))["secret_ref"])

    async def container(
        self, parts: Mapping[str, str], *, kind: str = "certificate", who: str = "own"
    ) -> str:
        """`parts`: references by their names."""
        refs = [{"name": name, "secret_ref": ref} for name, ref in parts.items()]
        about = {"name": "x", "type": kind, "secret_refs": refs}
        return str((await self.ask("POST", "containers", about, who=who))["container_ref"])

    async def certificate(
        self, one: Made, *, kind: str = "certificate", who: str = "own", **more: str
    ) -> str:
        contents = {"certificate": one.public, "private_key": one.secret} | more
        parts = {name: await self.secret(text, who=who) for name, text in contents.items()}
        return await self.container(parts, kind=kind, who=who)

    async def consumers(self, reference: str) -> list[Any]:
        found: list[Any] = (await self.ask("GET", f"{reference}/consumers"))["consumers"]
        return found


class BarbicanStore:
    """References into a Barbican; certificates are containers whose content can be exchanged."""

    def __init__(self, api: Api, database: Database, cloud: Cloud) -> None:
        self.api, self.database, self.cloud = api, database, cloud
        self.project = cloud.project
        self.copies = Copies(database, SEAL, cloud.key_manager, LOOK_S)

    async def keep(
        self,
        content: Made | str,
        kind: SecretType = SecretType.CERTIFICATE,
        *,
        foreign: bool = False,
    ) -> str:
        who = "foreign" if foreign else "own"
        if isinstance(content, Made):
            return await self.cloud.certificate(content, kind="generic", who=who)
        return await self.cloud.secret(content, who=who)

    async def replace(self, reference: str, content: Made | str) -> None:
        assert isinstance(content, Made), "what is no container never changes"
        for part in (await self.cloud.ask("GET", reference))["secret_refs"]:
            await self.cloud.ask("DELETE", f"{reference}/secrets", part)
        for name, text in (("certificate", content.public), ("private_key", content.secret)):
            part = {"name": name, "secret_ref": await self.cloud.secret(text)}
            await self.cloud.ask("POST", f"{reference}/secrets", part)
        # Its owner lets this service read the new ones, as `openstack acl user add` does.
        await self.cloud.key_manager.lend(_place(reference), self.cloud.tokens["own"])
        await self.look()

    async def look(self) -> None:
        """What the notifier would do now."""
        async with self.database.transaction() as connection:
            cursor = await connection.execute(
                "DELETE FROM work WHERE key LIKE 'copy:%%' RETURNING key"
            )
            keys = [row[0] for row in await cursor.fetchall()]
            cursor = await connection.execute("SELECT id FROM secrets WHERE source <> ''")
            keys += [f"copy:{row[0]}" for row in await cursor.fetchall()]
        for key in sorted(set(keys)):
            await self.copies.reconcile(key.partition(":")[2])


def _place(reference: str) -> str:
    return reference.partition("/v1/")[2]


def _pem(content: Made | str) -> str:
    return content.pem if isinstance(content, Made) else content


async def served(store: Store, reference: str) -> str:
    """What controllers send to amphorae for it."""
    found = await secrets_of(store.database, SEAL).fetch(ProjectId(store.project), [reference])
    return found[reference]


@contextlib.asynccontextmanager
async def own_store(database: Database) -> AsyncIterator[OwnStore]:
    async with serving(database) as api:
        yield OwnStore(api, database)


@contextlib.asynccontextmanager
async def over(
    database: Database, cloud: Cloud, settings: Keystone, session: Session
) -> AsyncIterator[BarbicanStore]:
    """The API in mode keystone, with this Barbican."""
    identity = KeystoneTokens(settings, session)
    try:
        async with serving(database, identity=identity, key_manager=cloud.key_manager) as api:
            api.client.headers["X-Auth-Token"] = cloud.tokens["own"]
            yield BarbicanStore(api, database, cloud)
    finally:
        await identity.close()
        await cloud.key_manager.close()


@contextlib.asynccontextmanager
async def wire_store(
    database: Database,
) -> AsyncIterator[tuple[BarbicanStore, FakeBarbican]]:
    """With the stand-ins for Keystone and Barbican."""
    clock = Time(1_800_000_000.0)
    async with FakeKeystone(clock).serving() as keystone, FakeBarbican(keystone).serving() as fake:
        who = Credentials(auth_url=f"{keystone.url}/v3", username=USER, secret=PASSWORD)
        session = Session(who, timeout_s=30.0, clock=clock)
        tokens = {
            "own": keystone.issue("member", project="shop").secret,
            "colleague": keystone.issue("member", project="shop").secret,
            "foreign": keystone.issue("member", project="other").secret,
        }
        key_manager = Barbican(Session(who, timeout_s=30.0, clock=clock))
        settings = Keystone(auth_url=keystone.url, username=USER)
        async with httpx.AsyncClient(timeout=60, verify=False) as client:
            cloud = Cloud(fake.url, "shop", tokens, key_manager, client)
            async with over(database, cloud, settings, session) as store:
                yield store, fake
