# SPDX-License-Identifier: Apache-2.0
"""A pair converges, whatever fails on the way, and at no moment have both halves the VIPs.

As in `test_controller_faults.py`, but not each call is struck: of the many that a pair takes, one
of some is, from another first one for each fault.
"""

from pathlib import Path

import pytest

from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from tests.contract.test_pairs import SIZE, Act, active_leaves, both_leave, halves, kill_active
from tests.fakes.faults import Fault
from tests.struck import strike_in_turn
from tests.world import World

CALLS_MAX = 400
STRIDE = 13


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("act", [kill_active, active_leaves, both_leave])
async def test_a_fault_on_the_way_is_repaired_and_no_two_hold_the_vips(
    database: Database, tmp_path: Path, act: Act, fault: Fault
) -> None:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=2)
    world = await World.that_serves(database, config, SIZE)
    calls = range(1 + list(Fault).index(fault), CALLS_MAX, STRIDE)
    await strike_in_turn(world, calls, fault, act, both_are_right, more_than=STRIDE)


async def both_are_right(world: World) -> None:
    await halves(world)
    await world.assert_nothing_leaked()
