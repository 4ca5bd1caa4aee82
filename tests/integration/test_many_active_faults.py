# SPDX-License-Identifier: Apache-2.0
"""Many that are active converge, whatever fails on the way, and the router leads to those alone
that serve.

As in `test_pair_faults.py`: of the many calls one of some is struck.
"""

from pathlib import Path

import pytest

from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from tests.contract.test_many_active import SIZE, VIPS, Act, one_dies, one_leaves, resize, serve
from tests.fakes.faults import Fault
from tests.world import World

CALLS_MAX = 400
STRIDE = 29


async def grow_or_shrink(world: World) -> None:
    await resize(world, 5 - len(await serve(world)))


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("act", [one_dies, one_leaves, grow_or_shrink])
async def test_a_fault_on_the_way_is_repaired_and_those_that_serve_are_led_to(
    database: Database, tmp_path: Path, act: Act, fault: Fault
) -> None:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=3)
    world = await World.begin(database, config)
    await world.settle()
    await world.create(size=SIZE, subnet_id=world.network.add("vips", *VIPS, via="public"))
    await world.settle()
    for at in range(1 + 7 * list(Fault).index(fault), CALLS_MAX, STRIDE):
        await act(world)
        world.faults.plan(at, fault)
        await world.settle()
        names = world.faults.names
        if world.faults.struck == 0:  # there are no more calls than these
            assert at > STRIDE
            return
        try:
            await serve(world)
            await no_port_is_left(world)
        except AssertionError as error:
            raise AssertionError(f"{fault.value}: {names[at - 1]}, call {at} of {names}") from error
    raise AssertionError(f"more than {CALLS_MAX} calls")


async def no_port_is_left(world: World) -> None:
    """Each amphora has its port for the LB network, and each that serves two more."""
    rows, serving = await world.rows(), await serve(world)
    ports = [p for p in await world.network.ports() if p.owner.startswith("amphora:")]
    assert len(ports) == len(rows) + 2 * len(serving)
