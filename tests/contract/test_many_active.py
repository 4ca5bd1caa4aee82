# SPDX-License-Identifier: Apache-2.0
"""Several amphorae that all serve: what users may ask for, and a control plane in memory that looks
after some."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from colonnade.domain.catalogue import Sizing
from colonnade.domain.fleet import Amphora, FrontEnd, Topology
from colonnade.domain.ids import SubnetId
from colonnade.domain.lifecycle import Event, State
from colonnade.domain.operating import Facts
from colonnade.drivers.network.protocol import Route
from colonnade.protocol.bundle import LOCAL
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work
from colonnade.store.reports import statuses
from tests.contract.api_client import Api, serving
from tests.fakes.network import PRIVATE_SUBNET, PUBLIC_SUBNET, PUBLIC_SUBNET_V6, FakeNetwork
from tests.world import World

SIZE: Final = Sizing(topology=Topology.ACTIVE_ACTIVE, front_end=FrontEnd.ROUTED, amphorae=3)
VIPS: Final = ("192.0.2.0/24", "2001:db8:2::/64")
Act = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=3)


@pytest.fixture
async def world(database: Database, config: Config) -> World:
    """Three that serve, and three spares."""
    return await World.that_serves(database, config, SIZE, vips=VIPS)


async def serve(world: World) -> list[Amphora]:
    """Those that serve, when all is as it should be."""
    rows = [a for a in await world.rows() if a.state is not State.SPARE]
    assert {a.state for a in rows} == {State.SERVING}
    async with world.database.read() as connection:
        cursor = await connection.execute("SELECT generation, applied_lowest FROM clusters")
        (found,) = await cursor.fetchall()
    assert {a.applied for a in rows} == {found[0]} == {found[1]}
    assert {hop for route in await led(world) for hop in hops(route)} == await own(world, rows)
    return rows


async def led(world: World) -> list[Route]:
    return [r for r in await world.network.routes() if r.owner == f"lb:{world.load_balancer_id}"]


def hops(route: Route) -> set[str]:
    return {hop.address for hop in route.next_hops}


async def own(world: World, rows: list[Amphora]) -> set[str]:
    """Their addresses where the router leads to."""
    owners = {f"amphora:{a.id}" for a in rows}
    ports = [p for p in await world.network.ports() if p.owner in owners]
    return {p.address for p in ports if p.subnet_id == PUBLIC_SUBNET}


async def resize(world: World, amphorae: int) -> None:
    async with world.database.transaction() as connection:
        await connection.execute("UPDATE clusters SET amphorae = %s", [amphorae])
        await work.mark(connection, f"cluster:{world.cluster_id}")


async def advance(world: World, amphora: Amphora, event: Event) -> None:
    async with world.database.transaction() as connection:
        await amphora_rows.advance(connection, amphora, event)


async def test_each_has_the_vip_where_no_neighbour_hears_of_it(world: World) -> None:
    rows = await serve(world)
    assert len(rows) == 3
    (route,) = await led(world)
    assert hops(route) == await own(world, rows)
    for amphora in rows:
        front, back, local = world.amphorae.interfaces[amphora.id]
        assert (front.is_default, back.is_default, front.floating) == (True, False, ())
        assert (local.mac, local.addresses) == (LOCAL, (route.destination,))
    (vip,) = [p for p in await world.network.ports() if p.owner.startswith("lb:")]
    assert vip.plugged_into is None
    await world.delete()
    await world.settle()
    await world.assert_gone()
    assert list(await world.network.routes()) == []


async def one_dies(world: World) -> None:
    world.power_cut((await serve(world))[0].id)


async def one_falls_silent(world: World) -> None:
    world.amphorae.cut_off.add((await serve(world))[1].id)


async def one_leaves(world: World) -> None:
    await advance(world, (await serve(world))[0], Event.ASKED_TO_LEAVE)


async def all_leave(world: World) -> None:
    for amphora in await serve(world):
        await advance(world, amphora, Event.ASKED_TO_LEAVE)


async def all_die(world: World) -> None:
    for amphora in await serve(world):
        world.power_cut(amphora.id)


ACTS: Final[dict[Act, int]] = {  # how many are replaced
    one_dies: 1,
    one_falls_silent: 1,
    one_leaves: 1,
    all_leave: 3,
    all_die: 3,
}


@pytest.mark.parametrize("act", ACTS)
async def test_what_is_lost_or_leaves_is_replaced_and_the_rest_stays(
    world: World, act: Act
) -> None:
    before = {a.id for a in await serve(world)}
    await act(world)
    await world.settle()
    after = {a.id for a in await serve(world)}
    assert (len(after), len(before | after)) == (3, 3 + ACTS[act])
    assert world.network.doubled == []


async def test_one_that_fails_is_led_to_no_more_in_the_very_next_pass(world: World) -> None:
    before = await serve(world)
    world.amphorae.cut_off.add(before[0].id)
    await world.beat()
    await world.pass_once("cluster:%")
    (route,) = await led(world)
    assert hops(route) >= await own(world, before[1:])
    assert not hops(route) & await own(world, before[:1])


async def test_one_that_leaves_is_drained_when_another_serves(world: World) -> None:
    before = await serve(world)
    await one_leaves(world)
    await world.settle()
    assert world.amphorae.drained == [before[0].id]


async def test_it_grows_by_one_that_serves_and_shrinks_by_one_that_was_drained(
    world: World,
) -> None:
    before = await serve(world)
    await resize(world, 4)
    await world.settle()
    grown = await serve(world)
    assert (len(grown), world.amphorae.drained) == (4, [])
    assert {a.id for a in before} < {a.id for a in grown}
    await resize(world, 2)
    await world.settle()
    left = {a.id for a in await serve(world)}
    assert (len(left), len(world.amphorae.drained)) == (2, 2)
    assert left | set(world.amphorae.drained) == {a.id for a in grown}


async def test_with_too_few_spares_those_that_are_there_serve(
    database: Database, config: Config
) -> None:
    world = await World.begin(database, msgspec.structs.replace(config, spares=2))
    await world.settle()
    subnet_id = world.network.add("vips", *VIPS, via="public")
    await world.create(size=SIZE, subnet_id=subnet_id)
    for _ in range(4):
        await world.pass_once("cluster:%")
    (route,) = await led(world)
    assert len(route.next_hops) == 2
    await world.settle()
    assert len(await serve(world)) == 3


async def test_a_change_reaches_all_and_no_flow_moves(world: World) -> None:
    (before,) = await led(world)
    await world.add_member()
    await world.settle()
    assert len(await serve(world)) == 3
    assert await led(world) == [before]


async def test_one_that_has_just_begun_says_nothing_of_members_beside_others(
    world: World,
) -> None:
    nothing = Facts(generation=1, is_running=False)
    rows = await serve(world)
    async with world.database.transaction() as connection:
        await connection.execute(
            "UPDATE amphorae SET state_since = now() - interval '1 h' WHERE id <> %s", [rows[1].id]
        )
        heard = [await statuses.record(connection, a.id, nothing) is not None for a in rows]
        assert heard == [True, False, True]
        await connection.execute("UPDATE amphorae SET state_since = now() - interval '1 h'")
        assert await statuses.record(connection, rows[1].id, nothing) is not None


async def test_ports_stay_and_a_route_of_nobody_goes(world: World) -> None:
    rows = await serve(world)
    before = await world.network.ports()
    (ours,) = await led(world)
    lost = msgspec.structs.replace(
        ours, destination="192.0.2.99/32", owner=f"lb:{world.cluster_id}"
    )
    theirs = msgspec.structs.replace(ours, destination="192.0.2.98/32", owner="somebody")
    for route in (lost, theirs):
        await world.network.set_route(route)
    for _ in range(2):
        await world.pass_once("leaks:%")
    assert {r.destination for r in await world.network.routes()} == {
        ours.destination,
        theirs.destination,
    }
    assert await world.network.ports() == before
    assert await serve(world) == rows


# What users may ask for.


async def flavor(api: Api, said: str, code: int = 201) -> Any:
    profile = {"name": said, "provider_name": "amphora", "flavor_data": said}
    made = await api.post("flavorprofiles", {"flavorprofile": profile}, code)
    if code != 201:
        return made["faultstring"]
    body = {"flavor": {"name": said, "flavor_profile_id": made["flavorprofile"]["id"]}}
    return (await api.post("flavors", body))["flavor"]["id"]


REFUSED: Final = (
    (
        '{"loadbalancer_topology": "ACTIVE_ACTIVE", "front_end": "layer2"}',
        "ACTIVE_ACTIVE needs it to be routed",
    ),
    ('{"loadbalancer_topology": "ACTIVE_ACTIVE", "amphorae": 1}', "Expected 'int' >= 2"),
    ('{"loadbalancer_topology": "ACTIVE_ACTIVE", "amphorae": 17}', "Expected 'int' <= 16"),
    ('{"amphorae": 3}', "amphorae: how many serve in SINGLE is no choice"),
)


async def test_a_flavor_says_how_many_serve(database: Database) -> None:
    network = FakeNetwork()
    subnet_id = network.add("vips", *VIPS, via="public")
    async with serving(database, network) as api:
        for said, why in REFUSED:
            assert why in await flavor(api, said, 501)
        three = await flavor(api, '{"loadbalancer_topology": "ACTIVE_ACTIVE", "amphorae": 3}')
        two = await flavor(api, '{"loadbalancer_topology": "ACTIVE_ACTIVE"}')
        for flavor_id in (three, two):
            body = {"vip_subnet_id": subnet_id, "flavor_id": flavor_id}
            await api.post("loadbalancers", {"loadbalancer": body})
    async with database.read() as connection:
        cursor = await connection.execute("SELECT topology, size FROM clusters ORDER BY size")
        assert await cursor.fetchall() == [("ACTIVE_ACTIVE", 2), ("ACTIVE_ACTIVE", 3)]


async def test_a_routed_vip_is_where_no_client_is_and_any_other_is_not(
    database: Database,
) -> None:
    network = FakeNetwork()
    vips = network.add("vips", *VIPS, via="public")
    held = len(network.held())
    async with serving(database, network) as api:
        many = await flavor(api, '{"loadbalancer_topology": "ACTIVE_ACTIVE"}')

        async def refused(subnet_id: SubnetId, **more: Any) -> str:
            body = {"loadbalancer": {"vip_subnet_id": subnet_id, **more}}
            return str((await api.post("loadbalancers", body, 400))["faultstring"])

        for subnet_id in (PUBLIC_SUBNET, PUBLIC_SUBNET_V6, PRIVATE_SUBNET):
            assert "may have clients" in await refused(subnet_id, flavor_id=many)
        assert "Nobody is on subnet" in await refused(vips)
        assert len(network.held()) == held, "no port is left of what was refused"
        body = {"loadbalancer": {"vip_subnet_id": vips, "flavor_id": many}}
        root = (await api.post("loadbalancers", body))["loadbalancer"]["id"]
        pool = {"loadbalancer_id": root, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
        made = await api.post("pools", {"pool": pool})
        member = {"address": "192.0.2.50", "protocol_port": 80, "subnet_id": vips}
        place = f"pools/{made['pool']['id']}/members"
        said = await api.post(place, {"member": member}, 400)
        assert "no member can be there" in said["faultstring"]


async def test_too_few_addresses_for_all_are_refused_before_anything_is_stored(
    database: Database,
) -> None:
    network = FakeNetwork()
    network.add("small", "172.30.0.0/29")
    vips = network.add("vips", "192.0.2.0/24", via="small")
    async with serving(database, network) as api:
        six = await flavor(api, '{"loadbalancer_topology": "ACTIVE_ACTIVE", "amphorae": 6}')
        body = {"loadbalancer": {"vip_subnet_id": vips, "flavor_id": six}}
        said = await api.post("loadbalancers", body, 503)
        assert "each of 6 amphorae takes one" in said["faultstring"]
        assert not [p for p in network.held() if p.owner.startswith("lb:")]
