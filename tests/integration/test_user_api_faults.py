# SPDX-License-Identifier: Apache-2.0
"""What fails below the API is said at once, changes nothing, and heals by itself."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from colonnade.api.app import create_app
from colonnade.api.http.call import Site
from colonnade.api.identity.modes import check_mode
from colonnade.api.server.binding import check_address
from colonnade.domain.errors import Broken, Unreachable
from colonnade.providers.enabled import enabled_providers
from colonnade.runtime.config import Api as ApiConfig
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.migrations import migrate
from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

AT_ONCE_S = 2.5
HEALED_S_MAX = 10.0


@pytest_asyncio.fixture
async def server() -> AsyncIterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="col-"))
    server = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
    try:
        await server.start()
        migrate(server.url)
        yield server
    finally:
        await server.stop()
        shutil.rmtree(folder)


async def _until(fact: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    deadline = time.monotonic() + HEALED_S_MAX
    while not await fact():
        assert time.monotonic() < deadline, "it did not heal"
        await asyncio.sleep(0.05)


@pytest.mark.timed
async def test_a_database_that_is_gone_is_said_at_once_and_comes_back(
    server: EmbeddedPostgres,
) -> None:
    database = await Database.connect(server.url)
    providers = enabled_providers(("noop",), default="noop", network=None)
    transport = httpx.ASGITransport(app=create_app(Site(database=database, providers=providers)))
    body = {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET, "name": "kept"}}
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        assert (await client.post("/v2/loadbalancers", json=body)).status_code == 201
        await server.stop()
        for method, words in (("GET", {}), ("POST", {"json": body}), ("GET", {})):
            started = time.monotonic()
            answer = await client.request(method, "/v2/loadbalancers", **words)  # type: ignore[arg-type]
            assert time.monotonic() - started < AT_ONCE_S
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["faultcode"] == "Server"
        await server.start()

        async def is_back() -> bool:
            return (await client.get("/v2/loadbalancers")).status_code == 200

        await _until(is_back)
        found = (await client.get("/v2/loadbalancers")).json()["loadbalancers"]
        assert [shown["name"] for shown in found] == ["kept"]
    await database.close()


async def test_a_network_service_that_is_gone_is_said_and_nothing_is_stored(api: Api) -> None:
    def fail(call: str) -> None:
        raise Unreachable("the network service does not answer")

    api.network.before = fail
    body = {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET}}
    answer = await api.post("loadbalancers", body, 503)
    assert answer["faultstring"] == "the network service does not answer"
    assert (await api.get("loadbalancers"))["loadbalancers"] == []


async def test_an_edit_without_a_difference_writes_nothing(api: Api, database: Database) -> None:
    root = await api.load_balancer("amphora", name="same")
    pool = await api.pool(root)
    member = await api.member(pool)

    async def generation() -> tuple[Any, ...] | None:
        async with database.read() as connection:
            cursor = await connection.execute(
                "SELECT generation, (SELECT count(*) FROM events), dirty FROM clusters, work"
            )
            found: tuple[Any, ...] | None = await cursor.fetchone()
            return found

    before = await generation()
    await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"name": "same"}})
    await api.put(f"pools/{pool['id']}/members/{member['id']}", {"member": {"weight": 1}})
    await api.listener(root, 501, protocol="UDP")
    assert await generation() == before
    await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"name": "other"}})
    after = await generation()
    assert before is not None
    assert after is not None
    assert after[0] == before[0] + 1


async def test_changes_at_once_are_all_kept(api: Api) -> None:
    root = await api.load_balancer("amphora")
    pool = await api.pool(root)
    await asyncio.gather(*(api.member(pool, address=f"10.0.0.{n}") for n in range(1, 41)))
    shown = (await api.get(f"pools/{pool['id']}"))["pool"]
    assert len(shown["members"]) == 40
    assert (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]["pools"]


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("0.0.0.0", "0.0.0.0 is not loopback"),
        ("192.0.2.1", "192.0.2.1 is not loopback"),
        ("::", ":: is not loopback"),
        ("example.org", "example.org is not loopback"),
    ],
)
def test_an_open_api_listens_on_loopback_alone(host: str, text: str) -> None:
    with pytest.raises(Broken, match=text):
        check_address(ApiConfig(host=host, auth="none"))


def test_a_word_that_names_no_identity_is_refused() -> None:
    with pytest.raises(Broken, match="auth 'magic' is not known"):
        check_mode(ApiConfig(auth="magic"))


def test_loopback_is_an_address_to_listen_on() -> None:
    check_address(ApiConfig(host="127.0.0.1", port=0))
