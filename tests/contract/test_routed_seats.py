# SPDX-License-Identifier: Apache-2.0
"""Load balancers on a routed front end that share amphorae: a control plane in memory that looks
after some, of any topology."""

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from colonnade.domain.catalogue import Sizing
from colonnade.domain.fleet import Amphora, FrontEnd, Topology
from colonnade.domain.ids import ClusterId, SubnetId
from colonnade.domain.lifecycle import State
from colonnade.store.fleet import seats
from colonnade.store.postgres.database import Database
from tests.contract.test_many_active import resize
from tests.contract.test_seats import Packed, packed

VIPS: Final = "192.0.2.0/24"
SIZES: Final = {
    "many": (Sizing(topology=Topology.ACTIVE_ACTIVE, amphorae=3), 3),
    "a pair": (Sizing(topology=Topology.ACTIVE_STANDBY), 2),
    "one": (Sizing(), 1),
}


class Routed:
    """Some of one topology, on as few amphorae as can be."""

    def __init__(self, site: Packed, size: Sizing, vips: SubnetId) -> None:
        self.site, self._vips = site, vips
        self._size = replace(
            size,
            front_end=FrontEnd.ROUTED,
            flavor=site.size.flavor,
            per_amphora=site.size.per_amphora,
        )

    async def add(self) -> ClusterId:
        return await self.site.add(self._size, subnet_id=self._vips)

    async def serving(self, count: int) -> dict[ClusterId, list[Amphora]]:
        """The seats of each, which are so many, on the same amphorae, and led to."""
        found = await self.site.seats()
        for rows in found.values():
            assert [row.state for row in rows] == [State.SERVING] * count
        assert len({frozenset(one) for one in (await self.site.carriers()).values()}) == 1
        routes = await self.site.world.network.routes()
        assert len(routes) == len(found)
        hops = [hop.address for route in routes for hop in route.next_hops]
        assert len(hops) == len(set(hops)) == len(found) * (1 if count == 2 else count)
        return found


@pytest.fixture(params=SIZES)
async def routed(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path
) -> tuple[Routed, int]:
    size, count = SIZES[request.param]
    site = await packed(database, tmp_path)
    return Routed(site, size, site.world.network.add("vips", VIPS, via="public")), count


async def test_they_share_amphorae_and_a_router_leads_to_the_seats_of_each(
    routed: tuple[Routed, int],
) -> None:
    them, count = routed
    await them.add()
    await them.add()
    found = await them.serving(count)
    assert len(found) == 2
    await them.site.assert_tidy()


async def test_when_an_amphora_dies_or_leaves_all_that_it_carried_are_served_elsewhere(
    routed: tuple[Routed, int],
) -> None:
    them, count = routed
    await them.add()
    await them.add()
    carrier, *others = await them.site.in_state(State.CARRYING)
    them.site.world.power_cut(carrier.id)
    await them.site.world.settle()
    await them.serving(count)
    await them.site.assert_tidy()
    carrier, *others = await them.site.in_state(State.CARRYING)
    assert len(others) == count - 1
    async with them.site.world.database.transaction() as connection:
        await seats.ask_to_leave(connection, carrier)
    await them.site.world.settle()
    await them.serving(count)
    await them.site.assert_tidy()


async def test_who_shares_may_be_served_by_more_and_by_fewer(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    them = Routed(site, SIZES["many"][0], site.world.network.add("vips", VIPS, via="public"))
    await them.add()
    await them.add()
    for count in (4, 2):
        await resize(site.world, count)
        await site.rounds(9)
        found = (await site.seats())[site.world.cluster_id]
        assert [row.state for row in found] == [State.SERVING] * count
        hops = {
            hop.address
            for route in await site.world.network.routes()
            if route.owner == f"lb:{site.world.load_balancer_id}"
            for hop in route.next_hops
        }
        assert len(hops) == count
    await site.assert_tidy()
