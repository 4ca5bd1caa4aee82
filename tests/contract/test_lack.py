# SPDX-License-Identifier: Apache-2.0
"""Owners see that capacity lacks, and that it no longer does."""

from pathlib import Path

import pytest

from colonnade.domain.lifecycle import Event, State
from colonnade.domain.operating import Facts
from colonnade.domain.status import Operating
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.reports import statuses
from tests.world import World


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> World:
    """What serves has told that all is well, and there is no spare."""
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=0)
    world = await World.begin(database, config)
    await world.create()
    await world.settle()
    await _told(world)
    return world


async def test_what_nothing_serves_is_in_error_until_something_does(world: World) -> None:
    assert await _shown(world) == ("ONLINE", "")
    world.kill()
    await world.beat()
    await world.pass_once("cluster:%")
    assert await _shown(world) == ("ERROR", "nothing serves it, and it waits for capacity")
    assert await _listener(world) == ("ERROR", "nothing answers on its port at the moment")
    await world.settle()
    await _told(world)
    assert await _shown(world) == ("ONLINE", "")
    assert await _listener(world) == ("ONLINE", "")


async def test_what_waits_to_be_replaced_is_degraded_and_served(world: World) -> None:
    (old,) = world.answering()
    async with world.database.transaction() as connection:
        (serving,) = await amphora_rows.of_cluster(connection, world.cluster_id)
        await amphora_rows.advance(connection, serving, Event.ASKED_TO_LEAVE)
    await world.pass_once("cluster:%")
    assert await _shown(world) == ("DEGRADED", "it is to be replaced, and waits for capacity")
    assert world.answering() == {old}
    await world.settle()
    await _told(world)
    assert await _shown(world) == ("ONLINE", "")
    assert old not in world.answering()


async def test_what_never_was_served_is_not_in_error(database: Database, tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=0)
    world = await World.begin(database, config)
    await world.create()
    await world.pass_once("cluster:%")
    assert await _shown(world) == ("OFFLINE", "")


async def _told(world: World) -> None:
    """The amphora that serves says that its listener answers."""
    (serving,) = [a for a in await world.rows() if a.state is State.SERVING]
    async with world.database.read() as connection:
        found = await (await connection.execute("SELECT id FROM listeners")).fetchall()
    listeners = {str(row[0]): Operating.ONLINE for row in found}
    facts = Facts(generation=serving.applied, listeners=listeners)
    async with world.database.transaction() as connection:
        await statuses.record(connection, serving.id, facts)


async def _shown(world: World) -> tuple[str, str]:
    return await _status(world, "load_balancers")


async def _listener(world: World) -> tuple[str, str]:
    return await _status(world, "listeners")


async def _status(world: World, table: str) -> tuple[str, str]:
    async with world.database.read() as connection:
        words = f"SELECT operating_status, operating_reason FROM {table}"
        row = await (await connection.execute(words.encode())).fetchone()
    assert row is not None
    return row[0], row[1]
