# SPDX-License-Identifier: Apache-2.0
"""One amphora becomes a pair, and a pair one, whatever fails on the way; no VIP has two owners.

As in `test_pair_faults.py`: of the many calls one of some is struck, from another first one for
each fault.
"""

from pathlib import Path

import pytest

from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from tests.contract.test_another_flavor import ALONE, PAIR
from tests.contract.test_pairs import halves
from tests.fakes.faults import Fault
from tests.world import World

CALLS_MAX = 400
STRIDE = 17


@pytest.mark.parametrize("fault", Fault)
async def test_a_fault_while_the_topology_changes_is_repaired(
    database: Database, tmp_path: Path, fault: Fault
) -> None:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=2)
    world = await World.that_serves(database, config)
    for at in range(1 + list(Fault).index(fault), CALLS_MAX, STRIDE):
        struck = 0
        for size in (PAIR, ALONE):
            await world.resize(size)
            world.faults.plan(at, fault)
            await world.settle()
            struck += world.faults.struck
            names = world.faults.names
            try:
                await (halves(world) if size is PAIR else world.assert_served())
                await world.assert_nothing_leaked()
                assert world.amphorae.vrrp.doubled == []
            except AssertionError as error:
                where = f"{fault.value}: {names[at - 1]}, call {at} of {names}"
                raise AssertionError(where) from error
        if struck == 0:  # there are no more calls than these
            assert at > STRIDE
            return
    raise AssertionError(f"more than {CALLS_MAX} calls")
