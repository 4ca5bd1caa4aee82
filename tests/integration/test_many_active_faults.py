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
from tests.struck import strike_in_turn
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
    world = await World.that_serves(database, config, SIZE, vips=VIPS)
    calls = range(1 + 7 * list(Fault).index(fault), CALLS_MAX, STRIDE)
    await strike_in_turn(world, calls, fault, act, no_port_is_left, more_than=STRIDE)


async def no_port_is_left(world: World) -> None:
    """All is as it should be: each amphora has its port for the LB network, and each that serves
    two more."""
    rows, serving = await world.rows(), await serve(world)
    ports = [p for p in await world.network.ports() if p.owner.startswith("amphora:")]
    assert len(ports) == len(rows) + 2 * len(serving)
