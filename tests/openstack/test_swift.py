# SPDX-License-Identifier: Apache-2.0
"""Access logs in a cloud's own Swift: the places that amphorae get, asked of a real one whose
accounts are Keystone's."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

from colonnade.controller.log_places import EXPIRES_S, object_name, place_of
from colonnade.domain.ids import AmphoraId, new_id
from colonnade.domain.log_targets import LogTarget, TargetType
from colonnade.drivers.openstack.session import Session
from colonnade.protocol.logs import LogFile
from colonnade.store.extras.log_targets import Route
from tests.openstack.environments import installed
from tests.openstack.keystone import SERVICE_PASSWORD, Administrator, Cloud, log_in, unique
from tests.openstack.swift import USER, swift

NAME = "swift.example.org"
PASSWORD, KEY = "sentinel-tenant-40fe", "sentinel-key/+="
FILE = LogFile(listener=new_id(), sequence=7, begun_at=1_800_000_000.0, lines=2)
LINES = b"one line\nanother\n"


@pytest.fixture(scope="session")
def swift_url(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs = installed("swift")
    asyncio.run(_prepared(cloud))
    with swift(programs, tmp_path_factory.mktemp("swift"), cloud) as url:
        yield url


async def _prepared(cloud: Cloud) -> None:
    session = Session(cloud.admin())
    made = Administrator(session)
    user = await made.user(USER, SERVICE_PASSWORD)
    await made.grant(user, await made.project("service"), "service", "admin")
    await session.close()


class Tenant(msgspec.Struct, frozen=True):
    project: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Auth-Token": self.token}


async def tenant(cloud: Cloud, administrator: Administrator) -> Tenant:
    name, project = unique("tenant"), unique("tenants")
    user, of = await administrator.user(name, PASSWORD), await administrator.project(project)
    await administrator.grant(user, of, "member")
    token = await log_in(cloud, cloud.credentials(name, PASSWORD, project).wish())
    return Tenant(of, token)


def placed(target: LogTarget, at: datetime | None = None, **secrets: str) -> tuple[str, str]:
    """Where an amphora would put its file, and what the object is called."""
    route = Route(listener_id=FILE.listener, load_balancer_id=new_id(), target=target, sealed=b"")
    amphora = AmphoraId(new_id())
    place = place_of(route, secrets, amphora, FILE, at or datetime.now(UTC))
    assert place.means == "PUT"
    return place.url, object_name(route, amphora, FILE)


async def sent(client: httpx.AsyncClient, method: str, url: str, content: bytes) -> httpx.Response:
    """To the Swift of the test, under the name that its address has in a cloud: no log target may
    be on loopback."""
    there = httpx.URL(url)
    host = f"{there.host}:{there.port}"
    return await client.request(
        method, url.replace(NAME, "127.0.0.1", 1), content=content, headers={"Host": host}
    )


async def test_logs_arrive_in_a_container_of_the_projects_own(
    cloud: Cloud, administrator: Administrator, swift_url: str
) -> None:
    mine, other = [await tenant(cloud, administrator) for _ in range(2)]
    account = f"{swift_url}/v1/AUTH_{mine.project}"
    target = LogTarget(
        id=new_id(),
        type=TargetType.SWIFT,
        url=account.replace("127.0.0.1", NAME),
        bucket="access-logs",
        prefix="shop",
    )
    async with httpx.AsyncClient(timeout=60) as client:
        # As `swift post access-logs -m "Temp-URL-Key: ..."` does.
        made = await client.put(
            f"{account}/{target.bucket}",
            headers=mine.headers | {"X-Container-Meta-Temp-URL-Key": KEY},
        )
        assert made.status_code == 201, made.text
        url, name = placed(target, temp_url_key=KEY)
        put = await sent(client, "PUT", url, LINES)
        assert put.status_code == 201, put.text
        found = await client.get(f"{account}/{target.bucket}/{name}", headers=mine.headers)
        assert found.content == LINES
        # The place is for that one object, to write, for a while; and nobody else's key makes one.
        late = datetime.now(UTC) - timedelta(seconds=EXPIRES_S + 60)
        for method, wrong in (
            ("PUT", url.replace("7.log.gz", "8.log.gz")), ("GET", url), ("DELETE", url),
            ("PUT", placed(target, late, temp_url_key=KEY)[0]),
            ("PUT", placed(target, temp_url_key="another")[0]),
        ):  # fmt: skip
            assert (await sent(client, method, wrong, b"x")).status_code == 401, method
        stranger = await client.get(f"{account}/{target.bucket}", headers=other.headers)
        assert stranger.status_code == 403
