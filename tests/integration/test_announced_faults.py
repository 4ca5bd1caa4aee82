# SPDX-License-Identifier: Apache-2.0
"""An amphora that no router hears takes nobody's place: a control plane in memory, and its wait."""

from pathlib import Path

from colonnade.domain.lifecycle import Event, State
from colonnade.store.postgres.database import Database
from tests.contract.test_announced import announcing, begun
from tests.contract.test_many_active import SIZE, advance


async def test_who_leaves_stays_as_long_as_no_router_hears_who_is_to_take_its_place(
    database: Database, tmp_path: Path
) -> None:
    world = await begun(database, tmp_path, SIZE)
    first, *_ = await announcing(world)
    world.amphorae.unheard |= {a.id for a in await world.rows() if a.state is State.SPARE}
    await advance(world, first, Event.ASKED_TO_LEAVE)
    await world.pass_once("cluster:%")
    assert first.id in {a.id for a in await world.rows() if a.state is State.LEAVING}
    assert world.amphorae.drained == []
    assert first.id in world.network.amphorae
    world.amphorae.unheard.clear()
    await world.settle()
    assert first.id not in {a.id for a in await announcing(world)}
    assert world.amphorae.drained == [first.id]
