# SPDX-License-Identifier: Apache-2.0
"""What operators see of amphorae and may do with them, with controllers that act upon it.

The API and a whole control plane in memory share one database: an operator asks, and the same
reconcile that answers silence fences what serves and puts a spare in its place.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from colonnade.api.operator.amphorae import AmphoraObject
from colonnade.domain.ids import new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, serving
from tests.fakes.network import PUBLIC_SUBNET
from tests.world import World

AMPHORAE = "/v2.0/octavia/amphorae"
COUNTERS = {
    "active_connections": 1,
    "bytes_in": 2,
    "bytes_out": 3,
    "request_errors": 4,
    "total_connections": 5,
}


@pytest_asyncio.fixture
async def world(database: Database, tmp_path: Path) -> World:
    """One load balancer that is served, and a spare."""
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=1)
    world = await World.begin(database, config)
    await world.settle()
    await world.create()
    await world.settle()
    return world


@pytest_asyncio.fixture
async def api(world: World) -> AsyncIterator[Api]:
    async with serving(world.database, world.network) as api:
        yield api


async def listed(api: Api, query: str = "") -> Any:
    return (await api.ask("GET", f"{AMPHORAE}?{query}"))["amphorae"]


async def status(api: Api, world: World) -> Any:
    root = await api.get(f"loadbalancers/{world.load_balancer_id}")
    return root["loadbalancer"]["provisioning_status"]


async def test_a_load_balancer_fails_over_when_asked_to(api: Api, world: World) -> None:
    (old,) = world.answering()
    path = f"loadbalancers/{world.load_balancer_id}/failover"
    assert await api.put(path, None, 202) is None
    assert await status(api, world) == "PENDING_UPDATE"
    (shown,) = await listed(api, f"id={old}")
    assert shown["status"] == "ERROR"
    assert world.answering() == {old}  # it answers until it is fenced, and nobody with it
    said = (await api.put(path, None, 409))["faultstring"]
    assert said == f"Invalid state PENDING_UPDATE of loadbalancer resource {world.load_balancer_id}"
    await world.settle()
    assert old not in world.answering()
    await world.assert_served()
    await world.assert_nothing_leaked()
    assert await status(api, world) == "ACTIVE"
    await api.put(f"loadbalancers/{new_id()}/failover", None, 404)


async def test_a_load_balancer_in_error_fails_over_too(api: Api, world: World) -> None:
    (old,) = world.answering()
    world.amphorae.hated_ports = {80}
    await world.add_member()
    await world.pass_once()
    assert await status(api, world) == "ERROR"
    said = (await api.ask("PUT", f"{AMPHORAE}/{old}/failover", 409))["faultstring"]
    immutable = f"Load Balancer {world.load_balancer_id} is immutable and cannot be updated."
    assert said == immutable
    world.amphorae.hated_ports = set()
    await api.put(f"loadbalancers/{world.load_balancer_id}/failover", None, 202)
    await world.settle()
    assert old not in world.answering()
    await world.assert_served()


@pytest.mark.parametrize("state", [State.SERVING, State.SPARE])
async def test_one_amphora_is_replaced_when_asked_to(api: Api, world: World, state: State) -> None:
    (old,) = [a.id for a in await world.rows() if a.state is state]
    await api.ask("PUT", f"{AMPHORAE}/{old}/failover", 202)
    await api.ask("PUT", f"{AMPHORAE}/{old}/failover", 409)
    await world.settle()
    assert old not in {a.id for a in await world.rows()}
    await world.assert_served()
    await world.assert_nothing_leaked()
    for word in ("failover", "config"):
        said = (await api.ask("PUT", f"{AMPHORAE}/{old}/{word}", 404))["faultstring"]
        assert said == f"Amphora {old} not found."


async def test_only_an_amphora_in_error_can_be_deleted(api: Api, world: World) -> None:
    (old,) = world.answering()
    said = (await api.ask("DELETE", f"{AMPHORAE}/{old}", 409))["faultstring"]
    assert said == f"Amphora {old} is ALLOCATED; it can be deleted in ERROR alone."
    await api.ask("PUT", f"{AMPHORAE}/{old}/config", 202)
    await world.settle()
    await world.assert_served()
    async with world.database.transaction() as connection:
        amphora = await amphora_rows.amphora(connection, old)
        assert amphora is not None
        await amphora_rows.advance(connection, amphora, Event.WENT_SILENT)
    await api.ask("DELETE", f"{AMPHORAE}/{old}", 204)
    await world.settle()
    await api.ask("DELETE", f"{AMPHORAE}/{old}", 404)
    await world.assert_served()


async def test_nothing_serves_noop_so_its_failover_is_done_at_once(api: Api) -> None:
    root = await api.load_balancer("noop")
    assert await api.put(f"loadbalancers/{root['id']}/failover", None, 202) is None
    shown = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert shown["provisioning_status"] == "ACTIVE"


async def test_amphorae_are_listed_as_anything_else(api: Api, world: World) -> None:
    (serving,) = world.answering()
    (spare,) = [a.id for a in await world.rows() if a.state is State.SPARE]
    root = (await api.get(f"loadbalancers/{world.load_balancer_id}"))["loadbalancer"]
    shown = (await api.ask("GET", f"{AMPHORAE}/{serving}"))["amphora"]
    assert set(shown) == set(AmphoraObject.__struct_fields__)
    assert shown["loadbalancer_id"] == root["id"]
    assert (shown["vrrp_ip"], shown["ha_port_id"]) == (root["vip_address"], root["vip_port_id"])
    both = [x["id"] for x in await listed(api)]
    assert set(both) == {serving, spare}
    for query, found in (
        (f"loadbalancer_id={root['id']}", [serving]),
        (f"loadbalancer_id={root['id'].replace('-', '')}", [serving]),
        ("status=READY", [spare]),
        ("status=ALLOCATED&role=STANDALONE", [serving]),
        ("project_id=p", [serving]),
        ("project_id=q", []),
        (f"compute_id={spare}", [spare]),
        (f"lb_network_ip={shown['lb_network_ip']}", [serving]),
        (f"ha_ip={root['vip_address']}", [serving]),
        (f"vrrp_port_id={root['vip_port_id']}", [serving]),
        ("vrrp_port_id=x", []),
        ("cert_busy=false", both),
        ("compute_flavor=default&cached_zone=&image_id=", both),
        ("sort=status", [serving, spare]),
        ("sort=status:desc", [spare, serving]),
        ("sort=cert_busy,vrrp_id,cert_expiration:desc", None),
        ("limit=1&sort=status", [serving]),
        (f"limit=1&sort=status&marker={serving}", [spare]),
        (f"limit=1&sort=status&marker={spare}&page_reverse=True", [serving]),
    ):
        ids = [x["id"] for x in await listed(api, query)]
        assert ids == found if found is not None else set(ids) == set(both), query
    page = await api.ask("GET", f"{AMPHORAE}?limit=1&sort=status")
    href = f"http://api.test{AMPHORAE}?limit=1&sort=status&marker={serving}"
    assert page["amphorae_links"] == [{"rel": "next", "href": href}]
    assert await listed(api, "fields=status&sort=status") == [
        {"status": "ALLOCATED"},
        {"status": "READY"},
    ]
    for bad in ("nonsense=1", "sort=nonsense", f"marker={new_id()}", "marker=x", "limit=x"):
        await api.ask("GET", f"{AMPHORAE}?{bad}", 400)
    for missing in (new_id(), "x"):
        await api.ask("GET", f"{AMPHORAE}/{missing}", 404)


async def test_counters_are_shown_one_of_each_listener(api: Api, world: World) -> None:
    (serving,) = world.answering()
    await api.ask("GET", f"{AMPHORAE}/{serving}/stats", 404)
    (listener,) = (await api.get("listeners"))["listeners"]
    names, values = ", ".join(COUNTERS), ", ".join(map(str, COUNTERS.values()))
    async with world.database.transaction() as connection:
        await connection.execute(
            f"INSERT INTO statistics (listener_id, amphora_id, {names})"
            f" VALUES (%s, %s, {values})".encode(),
            [listener["id"], serving],
        )
    expected = {"id": serving, "listener_id": listener["id"]}
    expected["loadbalancer_id"] = world.load_balancer_id
    found = await api.ask("GET", f"{AMPHORAE}/{serving}/stats")
    assert found == {"amphora_stats": [expected | COUNTERS]}


async def test_a_flavor_keeps_spares_of_its_own(api: Api, world: World) -> None:
    profile = {"name": "p", "provider_name": "amphora", "flavor_data": '{"spare_pool_size": 1}'}
    made = await api.post("flavorprofiles", {"flavorprofile": profile})
    flavor = {"name": "gold", "flavor_profile_id": made["flavorprofile"]["id"]}
    flavor_id = (await api.post("flavors", {"flavor": flavor}))["flavor"]["id"]

    async def rounds() -> dict[State, int]:
        for _ in range(8):
            await world.beat()
            await world._round()
        states = [a.state for a in await world.rows() if a.flavor == flavor_id]
        return {state: states.count(state) for state in states}

    assert await rounds() == {State.SPARE: 1}
    body = {"vip_subnet_id": PUBLIC_SUBNET, "flavor_id": flavor_id}
    root = (await api.post("loadbalancers", {"loadbalancer": body}))["loadbalancer"]
    assert await rounds() == {State.SERVING: 1, State.SPARE: 1}
    (shown,) = await listed(api, f"loadbalancer_id={root['id']}")
    assert shown["compute_flavor"] == flavor_id
    await api.delete(f"loadbalancers/{root['id']}")
    assert await rounds() == {State.SPARE: 1}
    await api.delete(f"flavors/{flavor_id}")
    assert await rounds() == {}
    await world.settle()  # nobody looks after a flavor that there is not
