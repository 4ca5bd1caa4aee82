# SPDX-License-Identifier: Apache-2.0
"""Load balancers that share an amphora are served again, whatever fails on the way, and nothing of
a seat is left behind.

As in `test_pair_faults.py`: of the many calls one of some is struck.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from colonnade.domain.ids import LoadBalancerId
from colonnade.domain.lifecycle import State
from colonnade.drivers.network.protocol import is_vip, load_balancer_of
from colonnade.store.fleet import seats
from colonnade.store.postgres.database import Database
from tests.contract.test_seats import Packed, packed
from tests.fakes.faults import Fault
from tests.struck import strike_in_turn
from tests.world import World

CALLS_MAX = 700
STRIDE = 53
Act = Callable[[Packed], Awaitable[None]]


async def the_amphora_dies(site: Packed) -> None:
    (carrier,) = await site.in_state(State.CARRYING)
    site.world.power_cut(carrier.id)


async def the_amphora_leaves(site: Packed) -> None:
    (carrier,) = await site.in_state(State.CARRYING)
    async with site.world.database.transaction() as connection:
        await seats.ask_to_leave(connection, carrier)


async def one_goes_and_another_comes(site: Packed) -> None:
    vips = [port for port in await site.world.network.ports() if is_vip(port.owner)]
    site.world.load_balancer_id = LoadBalancerId(load_balancer_of(vips[0].owner))
    await site.world.delete()
    await site.world.create(size=site.size)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("act", [the_amphora_dies, the_amphora_leaves, one_goes_and_another_comes])
async def test_a_fault_on_the_way_is_repaired_and_nothing_of_a_seat_is_left(
    database: Database, tmp_path: Path, act: Act, fault: Fault
) -> None:
    site = await packed(database, tmp_path)
    for _ in range(2):
        await site.add()

    async def begin(_world: World) -> None:
        await act(site)

    async def both_are_served(world: World) -> None:
        found = await site.seats()
        assert [[seat.state for seat in one] for one in found.values()] == [[State.SERVING]] * 2
        assert len(await site.in_state(State.CARRYING)) == 1
        await site.assert_tidy()
        rows = await world.rows()
        ports = [p for p in await world.network.ports() if p.owner.startswith("amphora:")]
        assert len(ports) == len(rows) + 2, "on the LB network each, on the members' two"

    calls = range(1 + 11 * list(Fault).index(fault), CALLS_MAX, STRIDE)
    await strike_in_turn(site.world, calls, fault, begin, both_are_served, more_than=STRIDE)
