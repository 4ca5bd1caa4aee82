# SPDX-License-Identifier: Apache-2.0
"""Pairs: what is kept and shown of them, and a control plane in memory that looks after one."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonnade.controller.clusters import ROUNDS_MAX
from colonnade.domain.catalogue import Sizing
from colonnade.domain.errors import OutOfCapacity
from colonnade.domain.fleet import Amphora, Role, Topology
from colonnade.domain.ids import LoadBalancerId, PortId, new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.domain.operating import Facts
from colonnade.drivers.network.protocol import PortWish
from colonnade.providers.amphora import AmphoraProvider
from colonnade.providers.enabled import Ours, enabled_providers
from colonnade.providers.provider import VipWish
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows, pairs
from colonnade.store.postgres.database import Database
from colonnade.store.reports import statuses
from tests.contract.api_client import ALL, serving
from tests.fakes.network import PUBLIC_SUBNET, FakeNetwork
from tests.world import World

SIZE = Sizing(topology=Topology.ACTIVE_STANDBY, advert_ms=50)
Act = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=2)


@pytest.fixture
async def world(database: Database, config: Config) -> World:
    """A pair that serves, and two spares."""
    return await World.that_serves(database, config, SIZE)


async def halves(world: World) -> tuple[Amphora, Amphora]:
    """The active one and the other, once each knows the other and one of them has the VIPs."""
    rows = [a for a in await world.rows() if a.state is State.SERVING]
    one, other = sorted(rows, key=lambda a: str(a.role), reverse=True)
    assert (one.role, other.role) == (Role.MASTER, Role.BACKUP)
    assert (one.peer_id, other.peer_id) == (other.id, one.id)
    told = world.amphorae.vrrp.pairs
    assert told.keys() == {one.id, other.id}
    assert told[one.id].peer == told[other.id].own
    assert told[other.id].peer == told[one.id].own
    assert sorted(pair.priority for pair in told.values()) == [240, 250]
    assert {pair.advert_ms for pair in told.values()} == {50}
    assert {one.applied, other.applied} == {(await generation(world))}
    assert world.amphorae.vrrp.doubled == []
    return one, other


async def generation(world: World) -> int:
    async with world.database.read() as connection:
        cursor = await connection.execute("SELECT generation, applied_lowest FROM clusters")
        row = await cursor.fetchone()
    assert row is not None
    assert row[0] == row[1]
    return int(row[0])


async def advance(world: World, amphora: Amphora, event: Event) -> None:
    async with world.database.transaction() as connection:
        await amphora_rows.advance(connection, amphora, event)


async def test_a_pair_is_two_halves_with_addresses_of_their_own(world: World) -> None:
    one, other = await halves(world)
    for half in (one, other):
        front, back = world.amphorae.interfaces[half.id]
        assert len(front.floating) == 1
        assert front.addresses != front.floating
        assert front.is_default
        assert not back.is_default
    vips = [p for p in await world.network.ports() if p.owner == f"lb:{world.load_balancer_id}"]
    assert [port.plugged_into for port in vips] == [None]
    await world.delete()
    await world.settle()
    await world.assert_gone()


async def kill_active(world: World) -> None:
    world.power_cut((await halves(world))[0].id)


async def kill_standby(world: World) -> None:
    world.power_cut((await halves(world))[1].id)


async def silence_active(world: World) -> None:
    world.amphorae.cut_off.add((await halves(world))[0].id)


async def active_leaves(world: World) -> None:
    await advance(world, (await halves(world))[0], Event.ASKED_TO_LEAVE)


async def standby_leaves(world: World) -> None:
    await advance(world, (await halves(world))[1], Event.ASKED_TO_LEAVE)


async def both_leave(world: World) -> None:
    for half in await halves(world):
        await advance(world, half, Event.ASKED_TO_LEAVE)


async def both_die(world: World) -> None:
    for half in await halves(world):
        world.power_cut(half.id)


ACTS: dict[Act, int] = {  # how many are replaced
    kill_active: 1,
    kill_standby: 1,
    silence_active: 1,
    active_leaves: 1,
    standby_leaves: 1,
    both_leave: 2,
    both_die: 2,
}


@pytest.mark.parametrize("act", ACTS)
async def test_what_is_lost_or_leaves_is_replaced_and_the_rest_stays(
    world: World, act: Act
) -> None:
    before = await halves(world)
    await act(world)
    await world.settle()
    after = await halves(world)
    assert len({half.id for half in (*before, *after)}) == 2 + ACTS[act]
    if act in (kill_active, silence_active, active_leaves):
        assert after[0].id == before[1].id
    if act in (kill_standby, standby_leaves):
        assert after[0].id == before[0].id
    await world.assert_nothing_leaked()


async def test_a_change_reaches_both_and_without_a_spare_the_one_that_is_left(
    database: Database, config: Config
) -> None:
    world = await World.begin(database, msgspec.structs.replace(config, spares=0))
    await world.settle()
    await world.create(size=SIZE)
    await world.settle()
    await world.add_member()
    await world.settle()
    active, standby = await halves(world)
    world.power_cut(standby.id)
    await world.beat()
    await world.add_member()
    await world.pass_once("cluster:%")
    await world.pass_once("cluster:%")
    rows = {a.id: a for a in await world.rows()}
    assert world.amphorae.serving[active.id].generation == 3
    assert rows[active.id].peer_id is None
    await world.settle()
    await halves(world)


async def test_a_standby_that_answers_nobody_keeps_no_change_from_the_active_one(
    world: World,
) -> None:
    active, standby = await halves(world)
    world.amphorae.cut_off.add(standby.id)
    await world.add_member()
    await world.pass_once("cluster:%")
    assert world.amphorae.serving[active.id].generation == 1
    await world.pass_once("cluster:%")
    assert world.amphorae.serving[active.id].generation == 2
    await world.settle()
    await halves(world)


async def test_the_last_to_say_that_it_holds_the_vips_is_believed(world: World) -> None:
    active, standby = await halves(world)
    nothing = Facts(generation=1, is_running=False)
    async with world.database.transaction() as connection:
        assert await statuses.record(connection, standby.id, nothing) is None
        assert await statuses.record(connection, active.id, nothing) is not None
    async with world.database.transaction() as connection:
        assert await pairs.record_role(connection, standby.id, "MASTER")
        assert not await pairs.record_role(connection, standby.id, "MASTER")
        assert not await pairs.record_role(connection, standby.id, "KING")
    async with world.database.transaction() as connection:
        assert await statuses.record(connection, active.id, nothing) is None
        assert await statuses.record(connection, standby.id, nothing) is not None
    (spare, *_) = [a for a in await world.rows() if a.state is State.SPARE]
    async with world.database.transaction() as connection:
        assert not await pairs.record_role(connection, spare.id, "MASTER")


async def test_operators_see_the_roles_and_what_the_halves_speak_with(world: World) -> None:
    active, standby = await halves(world)
    async with serving(world.database, world.network) as api:
        (mine,) = (await api.get("loadbalancers?topology=ACTIVE_STANDBY"))["loadbalancers"]
        assert mine["topology"] == "ACTIVE_STANDBY"
        assert not (await api.get("loadbalancers?topology=SINGLE"))["loadbalancers"]

        async def listed(query: str) -> list[Any]:
            path = f"/v2.0/octavia/amphorae?{query}"
            found: list[Any] = (await api.ask("GET", path))["amphorae"]
            return found

        (one,) = await listed("role=MASTER")
        (other,) = await listed("role=BACKUP&vrrp_id=1")
        assert (one["id"], other["id"]) == (active.id, standby.id)
        told = world.amphorae.vrrp.pairs
        for shown in (one, other):
            pair = told[shown["id"]]
            assert (shown["vrrp_ip"], shown["vrrp_priority"]) == (pair.own, pair.priority)
            assert shown["vrrp_port_id"] != shown["ha_port_id"]
            assert shown["ha_ip"] == one["ha_ip"]
        assert [found["id"] for found in await listed(f"vrrp_ip={other['vrrp_ip']}")] == [
            standby.id
        ]
        async with world.database.transaction() as connection:
            await pairs.record_role(connection, standby.id, "MASTER")
        assert [found["id"] for found in await listed("role=MASTER")] == [standby.id]


async def test_halves_are_on_different_hosts_where_there_is_a_choice(
    database: Database, config: Config
) -> None:
    world = await World.begin(database, msgspec.structs.replace(config, spares=3))
    await world.settle()
    spares = [a.id for a in await world.rows()]
    hosts = dict(zip(spares, ("one", "one", "two"), strict=True))
    async with database.transaction() as connection:
        await amphora_rows.record_hosts(connection, hosts)
    await world.create(size=SIZE)
    await world.pass_once("cluster:%")
    serving = [a.id for a in await world.rows() if a.state is State.SERVING]
    assert sorted(hosts[name] for name in serving) == ["one", "two"]


async def test_a_provider_serves_pairs_where_there_is_a_keepalived_and_room() -> None:
    network = FakeNetwork()
    providers = enabled_providers(
        ALL, default="amphora", network=network, ours=Ours(serves_pairs=True)
    )
    provider = providers.get("amphora")
    data = {"loadbalancer_topology": "ACTIVE_STANDBY", "vrrp_advert_ms": 50}
    facts = provider.validate_flavor(data)
    assert (facts.loadbalancer_topology, facts.vrrp_advert_ms) == (Topology.ACTIVE_STANDBY, 50)
    free = await network.free_addresses(PUBLIC_SUBNET)
    for _ in range(free - 2):
        wish = PortWish(id=PortId(new_id()), owner="", subnet_id=PUBLIC_SUBNET)
        await network.create_port(wish)
    root = LoadBalancerId(new_id())
    asked = VipWish(load_balancer_id=root, subnet_id=PUBLIC_SUBNET, halves=2)
    with pytest.raises(OutOfCapacity, match="each of 2 amphorae takes one"):
        await provider.allocate_vip(asked)
    assert await network.free_addresses(PUBLIC_SUBNET) == 2
    await AmphoraProvider(network).allocate_vip(msgspec.structs.replace(asked, halves=0))


async def test_where_no_flavor_says_another_topology_may_be_usual(database: Database) -> None:
    topology = Topology.ACTIVE_STANDBY
    for ours, code in ((Ours(), 501), (Ours(serves_pairs=True), 201)):
        async with serving(database, ours=ours, default_topology=topology) as api:
            body = {"loadbalancer": {"vip_subnet_id": PUBLIC_SUBNET}}
            said = await api.post("loadbalancers", body, code)
    assert said["loadbalancer"]["provisioning_status"] == "PENDING_CREATE"
    assert said["loadbalancer"]["topology"] == "ACTIVE_STANDBY"
    async with database.read() as connection:
        cursor = await connection.execute("SELECT topology, advert_ms FROM clusters")
        assert await cursor.fetchall() == [("ACTIVE_STANDBY", 100)]


async def test_who_goes_on_changing_a_pair_is_followed_without_a_pause(world: World) -> None:
    """A pass sees so many wishes and no more; that it leaves one behind then is no failure."""
    left = ROUNDS_MAX + 2

    async def change() -> None:
        nonlocal left
        if left:
            left -= 1
            await world.add_member()

    world.amphorae.meanwhile = change
    await world.add_member()
    await world.pass_once("cluster:%")
    async with world.database.read() as connection:
        cursor = await connection.execute(
            "SELECT attempts, due_at <= clock_timestamp() FROM work WHERE key LIKE 'cluster:%'"
        )
        assert await cursor.fetchall() == [(0, True)]
    await world.settle()
    assert left == 0
    await halves(world)
