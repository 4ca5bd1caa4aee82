# SPDX-License-Identifier: Apache-2.0
"""Pairs on a routed front end: a control plane in memory that looks after one."""

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from colonnade.domain.catalogue import Sizing
from colonnade.domain.errors import OutOfCapacity
from colonnade.domain.fleet import Amphora, FrontEnd, Role, Topology
from colonnade.domain.ids import LoadBalancerId, PortId, new_id
from colonnade.domain.lifecycle import State
from colonnade.drivers.network.protocol import PortWish, Route
from colonnade.protocol.bundle import LOCAL
from colonnade.providers.enabled import Ours, enabled_providers
from colonnade.providers.provider import VipWish
from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work
from tests.contract.api_client import ALL
from tests.fakes.network import FakeNetwork
from tests.world import World

SIZE: Final = Sizing(topology=Topology.ACTIVE_STANDBY, front_end=FrontEnd.ROUTED)
DATA: Final = {"loadbalancer_topology": "ACTIVE_STANDBY", "front_end": "routed"}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> World:
    """A pair that serves, and two spares."""
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=2)
    return await World.that_serves(database, config, SIZE, vips=("192.0.2.0/24",))


async def halves(world: World) -> tuple[Amphora, Amphora]:
    """The active one and the other, once each knows the other."""
    rows = [a for a in await world.rows() if a.state is State.SERVING]
    one, other = sorted(rows, key=lambda a: str(a.role), reverse=True)
    assert (one.role, other.role) == (Role.MASTER, Role.BACKUP)
    assert (one.peer_id, other.peer_id) == (other.id, one.id)
    assert world.amphorae.vrrp.doubled == []
    return one, other


async def route(world: World) -> Route:
    (found,) = await world.network.routes()
    return found


async def test_both_have_the_vip_and_one_address_moves_to_which_it_is_led(world: World) -> None:
    floating = set()
    for half in await halves(world):
        front, back, local = world.amphorae.interfaces[half.id]
        assert (local.mac, local.addresses) == (LOCAL, ("192.0.2.1/32",))
        assert (front.is_default, back.is_default, back.floating) == (True, False, ())
        assert not set(front.addresses) & set(front.floating)
        floating |= set(front.floating)
    ports = [p for p in await world.network.ports() if p.owner == f"lb:{world.load_balancer_id}"]
    assert sorted(p.address for p in ports) == sorted(
        ["192.0.2.1", *(one.partition("/")[0] for one in floating)]
    )
    found = await route(world)
    assert found.destination == "192.0.2.1/32"
    assert {f"{hop.address}/24" for hop in found.next_hops} == floating
    await world.delete()
    await world.settle()
    await world.assert_gone()
    assert list(await world.network.routes()) == []


async def test_a_half_that_is_lost_is_replaced_and_the_route_stays(world: World) -> None:
    before, active = await route(world), (await halves(world))[0]
    world.power_cut(active.id)
    await world.settle()
    after = await halves(world)
    assert active.id not in {half.id for half in after}
    assert await route(world) == before


async def test_a_route_that_is_lost_is_set_again(world: World) -> None:
    before = await route(world)
    await world.network.delete_route(before.destination)
    await world.add_member()
    await world.settle()
    assert await route(world) == before


async def test_many_in_the_place_of_a_pair_leave_no_address_that_floats(world: World) -> None:
    before = await halves(world)
    async with world.database.transaction() as connection:
        await connection.execute("UPDATE clusters SET topology = 'ACTIVE_ACTIVE', amphorae = 3")
        await connection.execute("UPDATE clusters SET generation = generation + 1")
        await work.mark(connection, f"cluster:{world.cluster_id}")
    await world.settle()
    rows = [a for a in await world.rows() if a.state is State.SERVING]
    assert {half.id for half in before}.isdisjoint(a.id for a in rows)
    assert len((await route(world)).next_hops) == len(rows) == 3
    owner = f"lb:{world.load_balancer_id}"
    (vip,) = [p.address for p in await world.network.ports() if p.owner == owner]
    assert vip == "192.0.2.1"


async def test_a_routed_pair_needs_one_address_more() -> None:
    network = FakeNetwork()
    small = network.add("small", "172.30.0.0/29")
    vips = network.add("vips", "192.0.2.0/24", via="small")
    providers = enabled_providers(
        ALL, default="amphora", network=network, ours=Ours(serves_pairs=True)
    )
    provider = providers.get("amphora")
    assert provider.validate_flavor(DATA).is_routed
    asked = VipWish(
        load_balancer_id=LoadBalancerId(new_id()),
        subnet_id=vips,
        halves=2,
        front_end=FrontEnd.ROUTED,
        floats=True,
    )
    for _ in range(3):  # of five
        await network.create_port(PortWish(id=PortId(new_id()), owner="", subnet_id=small))
    with pytest.raises(OutOfCapacity, match="each of 2 amphorae takes one, and both another"):
        await provider.allocate_vip(asked)
    await provider.allocate_vip(replace(asked, floats=False))
