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
from tests.world import World

CALLS_MAX = 400
STRIDE = 13


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("act", [kill_active, active_leaves, both_leave])
async def test_a_fault_on_the_way_is_repaired_and_no_two_hold_the_vips(
    database: Database, tmp_path: Path, act: Act, fault: Fault
) -> None:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=2)
    world = await World.begin(database, config)
    await world.settle()
    await world.create(size=SIZE)
    await world.settle()
    for at in range(1 + list(Fault).index(fault), CALLS_MAX, STRIDE):
        await act(world)
        world.faults.plan(at, fault)
        await world.settle()
        names = world.faults.names
        if world.faults.struck == 0:  # there are no more calls than these
            assert at > STRIDE
            return
        try:
            await halves(world)
            await world.assert_nothing_leaked()
        except AssertionError as error:
            raise AssertionError(f"{fault.value}: {names[at - 1]}, call {at} of {names}") from error
    raise AssertionError(f"more than {CALLS_MAX} calls")
