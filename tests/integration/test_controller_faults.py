# SPDX-License-Identifier: Apache-2.0
"""The control plane converges, whatever fails on the way.

The calls of a run without faults are counted, and then each of them is made to fail, to lose its
answer, and to be where the controller is killed. Afterwards the right amphora answers, one VIP
had one owner at every moment, and nothing is left over.
"""

from pathlib import Path

import pytest

from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from tests.controller_acts import ACTS, Act, assert_right, begun, undo
from tests.fakes.faults import Fault
from tests.struck import strike_in_turn
from tests.world import World

CALLS_MAX = 200


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=1)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("act", ACTS)
async def test_a_fault_at_any_call_is_repaired_by_a_later_pass(
    database: Database, config: Config, act: Act, fault: Fault
) -> None:
    world = await begun(database, config, act)

    async def right_and_undone(world: World) -> None:
        await assert_right(world, act)
        await undo(world, act)

    calls = range(1, CALLS_MAX)
    await strike_in_turn(world, calls, fault, act, right_and_undone, more_than=10)
