# SPDX-License-Identifier: Apache-2.0
"""VIPs that amphorae announce by BGP: what users may ask for, and a control plane in memory."""

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from colonnade.domain.catalogue import Sizing
from colonnade.domain.errors import Invalid
from colonnade.domain.fleet import Amphora, FrontEnd, Topology
from colonnade.domain.ids import AmphoraId, LoadBalancerId, new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.drivers.network.protocol import Announced, Neighbour
from colonnade.protocol.bundle import LOCAL, Hearer
from colonnade.providers.enabled import Ours, enabled_providers
from colonnade.providers.provider import VipWish
from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from tests.contract.api_client import ALL
from tests.contract.test_many_active import SIZE, VIPS, advance, resize
from tests.fakes.network import FakeNetwork
from tests.world import World

ROUTERS: Final = (
    Neighbour("203.0.113.250", 64600),
    Neighbour("203.0.113.251", 64600),
    Neighbour("2001:db8:1::fa", 64600),
)
FABRIC: Final = Announced(asn=64512, routers=ROUTERS, bfd_ms=50)
PAIR: Final = Sizing(topology=Topology.ACTIVE_STANDBY, front_end=FrontEnd.ROUTED)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> World:
    """Three that announce the VIP, and three spares."""
    return await begun(database, tmp_path, SIZE)


async def begun(database: Database, tmp_path: Path, size: Sizing) -> World:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=3)
    world = await World.begin(database, config)
    await world.settle()
    subnet_id = world.network.add("vips", *VIPS, via="public", announced=FABRIC)
    await world.create(size=size, subnet_id=subnet_id)
    await world.settle()
    return world


async def announcing(world: World) -> list[Amphora]:
    """Those that serve, when all is as it should be."""
    rows = [a for a in await world.rows() if a.state is not State.SPARE]
    assert {a.state for a in rows} == {State.SERVING}
    for amphora in rows:
        front = world.amphorae.interfaces[amphora.id][0]
        assert {one.address for one in front.hearers} == {"203.0.113.250", "203.0.113.251"}
    assert list(await world.network.routes()) == [], "no route is set by us"
    return rows


def names(rows: list[Amphora]) -> set[AmphoraId]:
    return {amphora.id for amphora in rows}


async def test_each_is_told_who_hears_of_its_vips_and_no_route_is_set(world: World) -> None:
    rows = await announcing(world)
    assert len(rows) == 3
    front, _, local = world.amphorae.interfaces[rows[0].id]
    assert local.mac == LOCAL
    assert front.hearers[0] == Hearer(address="203.0.113.250", asn=64600, own_asn=64512, bfd_ms=50)
    await world.delete()
    await world.settle()
    await world.assert_gone()


async def test_who_leaves_goes_when_another_is_heard_and_finishes_what_is_short(
    world: World,
) -> None:
    before = await announcing(world)
    await advance(world, before[0], Event.ASKED_TO_LEAVE)
    await world.settle()
    after = await announcing(world)
    assert names(before[1:]) < names(after)
    assert world.amphorae.drained == [before[0].id]


async def test_one_that_dies_is_replaced(world: World) -> None:
    before = await announcing(world)
    world.power_cut(before[0].id)
    await world.settle()
    assert names(before[1:]) < names(await announcing(world))
    assert world.amphorae.drained == []


async def test_their_number_changes_in_place_from_one_and_to_one(
    database: Database, tmp_path: Path
) -> None:
    one = Sizing(front_end=FrontEnd.ROUTED)
    world = await begun(database, tmp_path, one)
    (first,) = await announcing(world)
    await world.resize(SIZE)
    await world.settle()
    grown = await announcing(world)
    assert (len(grown), first.id in names(grown), world.amphorae.drained) == (3, True, [])
    await resize(world, 2)
    await world.settle()
    left = await announcing(world)
    assert set(world.amphorae.drained) == names(grown) - names(left)
    await world.resize(one)
    await world.settle()
    (last,) = await announcing(world)
    assert set(world.amphorae.drained) == names(grown) - {last.id}


async def test_a_pair_is_refused_there_and_others_are_not() -> None:
    network = FakeNetwork()
    subnet_id = network.add("vips", *VIPS, via="public", announced=FABRIC)
    ours = Ours(serves_pairs=True)
    provider = enabled_providers(ALL, default="amphora", network=network, ours=ours).get("amphora")
    wish = VipWish(
        load_balancer_id=LoadBalancerId(new_id()),
        subnet_id=subnet_id,
        front_end=FrontEnd.ROUTED,
    )
    with pytest.raises(Invalid, match="no address moves between the two of a pair"):
        await provider.allocate_vip(replace(wish, floats=PAIR.floats))
    vip = await provider.allocate_vip(wish)
    assert vip.announced
    await provider.check_size([vip], SIZE)
    with pytest.raises(Invalid, match=r"A VIP stays on its subnet\. Amphorae announce"):
        await provider.check_size([vip], PAIR)


def test_a_network_needs_a_router_of_each_ip_version_that_hears() -> None:
    network = FakeNetwork()
    only4 = Announced(asn=64512, routers=ROUTERS[:1])
    with pytest.raises(Invalid, match="name one of IPv6"):
        network.add("vips", *VIPS, via="public", announced=only4)
    far = Announced(asn=64512, routers=(Neighbour("10.1.1.1", 64600),))
    with pytest.raises(Invalid, match=r"no router in 203\.0\.113\.0/24 hears"):
        network.add("vips", VIPS[0], via="public", announced=far)
