# SPDX-License-Identifier: Apache-2.0
"""A certificate from a container of Barbican to a client's handshake, through the whole system:
another content in its place, and a failover while Barbican is away. Keystone and Barbican are
servers of tests here; `tests/openstack/` asks real ones."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import Encoding

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import folders
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.drivers.openstack.credentials import Credentials
from colonnade.drivers.openstack.session import Session
from colonnade.drivers.secrets.barbican import Barbican
from colonnade.runtime import host_ids
from colonnade.runtime.clock import SystemClock
from tests.certificates import Made, made
from tests.e2e.test_tls import CA, NAME, visit
from tests.fakes.barbican import FakeBarbican
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone
from tests.key_managers import Cloud

WITHIN_S = 60.0
SETTINGS = """
secrets_driver = "barbican"
[api]
auth = "keystone"
[keystone]
auth_url = "{url}/v3"
username = "{user}"
secret_file = "{file}"
[barbican]
look_s = 0.5
"""


@contextlib.asynccontextmanager
async def cloud() -> AsyncIterator[tuple[Cloud, FakeBarbican]]:
    async with FakeKeystone(SystemClock()).serving() as keystone:
        async with FakeBarbican(keystone).serving() as fake, httpx.AsyncClient() as client:
            who = Credentials(auth_url=f"{keystone.url}/v3", username=USER, secret=PASSWORD)
            owner = Barbican(Session(who))
            token = keystone.issue("admin", "member", project="shop").secret
            try:
                yield Cloud(fake.url, "shop", {"own": token}, owner, client), fake
            finally:
                await owner.close()


def configured(state: Path, folder: Path, url: str) -> None:
    """The password is for the processes that ask, and nobody else."""
    folder.chmod(0o755)
    file = folder / "password"
    file.write_text(PASSWORD)
    file.chmod(0o640)
    if ids := host_ids.of(state):
        os.chown(file, 0, ids.control)
    folders.config_file(state).write_text(SETTINGS.format(url=url, user=USER, file=file))


def pieces(one: Made) -> list[str]:
    """Of its key: how each begins is no secret, and neither is how it ends."""
    lines = one.secret.splitlines()
    return [lines[1][-16:], lines[2][:24]]


def shown_by(one: Made) -> str:
    return sha256(one.certificate.public_bytes(Encoding.DER)).hexdigest()


async def exchange(users: Cloud, reference: str, one: Made) -> None:
    """As the owner of a generic container does it, who lets this service read what is new."""
    for part in (await users.ask("GET", reference))["secret_refs"]:
        await users.ask("DELETE", f"{reference}/secrets", part)
    for name, text in (("certificate", one.public), ("private_key", one.secret)):
        part = {"name": name, "secret_ref": await users.secret(text)}
        await users.ask("POST", f"{reference}/secrets", part)
    await users.key_manager.lend(reference.partition("/v1/")[2], users.tokens["own"])


async def test_a_certificate_of_barbican_is_served_replaced_and_outlives_it(
    tmp_path: Path,
) -> None:
    first, second = made(NAME, CA), made(NAME, CA)
    with TemporaryDirectory(prefix="barbican-") as folder:
        async with cloud() as (users, fake):
            configured(tmp_path, Path(folder), fake.keystone.url)
            async with running(state=tmp_path) as system:
                await _use(system.endpoint, tmp_path, users, fake, (first, second))
            assert system.left == []
    logs = [*tmp_path.rglob("*.log"), *tmp_path.rglob("*.json")]
    assert logs
    for file in logs:
        text = file.read_text(errors="replace")
        secret = [*pieces(first), *pieces(second), PASSWORD, *fake.keystone.tokens]
        assert not [one for one in secret if one in text], file


async def _use(
    endpoint: str, state: Path, users: Cloud, fake: FakeBarbican, both: tuple[Made, Made]
) -> None:
    headers = {"X-Auth-Token": users.tokens["own"]}
    async with Rest(endpoint, headers=headers) as rest, Hosts(state) as hosts:
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        root = scenario.load_balancer

        async def shows(one: Made) -> bool:
            seen = await asyncio.to_thread(visit, hosts, root["vip_address"])
            return seen == {"status": "200", "shown": shown_by(one)}

        web = await users.certificate(both[0], kind="generic")
        body = {
            "loadbalancer_id": root["id"],
            "protocol": "TERMINATED_HTTPS",
            "protocol_port": 443,
            "default_pool_id": scenario.pool,
            "default_tls_container_ref": web,
        }
        listener = await rest.post("lbaas/listeners", {"listener": body})
        await until(lambda: shows(both[0]), within_s=WITHIN_S, what="the certificate")
        await exchange(users, web, both[1])
        await until(lambda: shows(both[1]), within_s=WITHIN_S, what="the one in its place")
        (consumer,) = await users.consumers(web)
        assert consumer["URL"] == f"octavia://listeners/{listener['id']}"

        fake.fault = 503

        async def serving() -> str:
            query: dict[str, Any] = {"loadbalancer_id": root["id"]}
            found = (await rest.get("octavia/amphorae", query))["amphorae"]
            return str(found[0]["id"])

        before = await serving()
        await rest.put(f"lbaas/loadbalancers/{root['id']}/failover", {})

        async def moved() -> bool:
            return await serving() != before and await shows(both[1])

        await until(moved, within_s=WITHIN_S, what="the certificate after a failover")
        fake.fault = None
        await rest.delete(f"lbaas/listeners/{listener['id']}")

        async def is_free() -> bool:
            return await users.consumers(web) == []

        await until(is_free, within_s=WITHIN_S, what="nobody registered any more")
