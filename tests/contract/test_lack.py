# SPDX-License-Identifier: Apache-2.0
"""Owners see that capacity lacks, and that it no longer does."""

from pathlib import Path

import pytest

from colonnade.domain.ids import AmphoraId
from colonnade.domain.lifecycle import Event, State
from colonnade.domain.operating import Facts
from colonnade.domain.status import Operating
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.reports import statuses
from tests.fakes.network import PUBLIC_SUBNET
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
    await _leaves(world)
    await world.pass_once("cluster:%")
    assert await _shown(world) == ("DEGRADED", "it is to be replaced, and waits for capacity")
    assert world.answering() == {old}
    await world.settle()
    await _told(world)
    assert await _shown(world) == ("ONLINE", "")
    assert old not in world.answering()


async def test_what_waits_to_be_replaced_takes_changes_and_tells_of_them(world: World) -> None:
    (old,) = world.answering()
    await _leaves(world)
    await world.pass_once("cluster:%")
    for _ in range(3):
        await world.add_member(PUBLIC_SUBNET)
    await world.pass_once("cluster:%")
    served = world.amphorae.serving[old]
    assert (served.generation, world.answering()) == (4, {old})
    (leaving,) = await world.rows()
    assert (leaving.state, leaving.applied) == (State.LEAVING, 4)
    await _told(world, Operating.ERROR)
    assert (await _shown(world))[0] == "ERROR"
    for _ in range(2):  # it does not know that capacity lacks
        await _told(world)
        await world.pass_once("cluster:%")
        assert await _shown(world) == ("DEGRADED", "it is to be replaced, and waits for capacity")
    await _told(world)
    assert (await _shown(world))[0] == "DEGRADED"
    await world.settle()
    assert old not in world.answering()
    assert world.amphorae.serving[(await world.rows())[0].id] == served


async def test_it_is_given_a_port_where_new_members_are_first(world: World) -> None:
    await world.drop_members()
    await world.settle()
    (old,) = world.answering()
    await _leaves(world)
    await world.add_member()
    for _ in range(2):
        await world.pass_once("cluster:%")
    assert len(world.amphorae.interfaces[old]) == 2
    assert world.amphorae.serving[old].generation == 3


async def test_one_that_leaves_and_takes_no_change_is_replaced_all_the_same(world: World) -> None:
    (old,) = world.answering()
    await _leaves(world)
    await world.add_member()
    for _ in range(5):
        world.amphorae.cut_off.clear()
        await world.beat()  # it is heard, but answers nobody
        world.amphorae.cut_off.add(old)
        await world.pass_once()
    assert old not in world.answering()
    assert len(world.answering()) == 1


async def test_the_one_in_its_place_speaks_when_it_is_gone(world: World) -> None:
    (old,) = world.answering()
    await _leaves(world)
    world.amphorae.hated_ports = {80}  # the new one cannot take over
    await world.pass_once("cluster:%")
    for _ in range(4):
        await world.beat()
        await world.pass_once()
    rows = {a.state: a.id for a in await world.rows() if a.cluster_id}
    assert rows.keys() == {State.LEAVING, State.SERVING}
    await _told(world)
    assert await _tells(world, rows[State.SERVING], Operating.ERROR) is None
    assert await _listener(world) == ("ONLINE", "")
    world.amphorae.hated_ports = set()
    await world.settle()
    assert await _tells(world, rows[State.SERVING], Operating.ERROR)
    assert (await _listener(world))[0] == "ERROR"
    assert world.answering() == {rows[State.SERVING]} != {old}


async def test_what_never_was_served_is_not_in_error(database: Database, tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=0)
    world = await World.begin(database, config)
    await world.create()
    await world.pass_once("cluster:%")
    assert await _shown(world) == ("OFFLINE", "")


async def _leaves(world: World) -> None:
    async with world.database.transaction() as connection:
        (serving,) = await amphora_rows.of_cluster(connection, world.cluster_id)
        await amphora_rows.advance(connection, serving, Event.ASKED_TO_LEAVE)


async def _told(world: World, status: Operating = Operating.ONLINE) -> None:
    """The amphora that has the VIP says how its listener is."""
    (answering,) = world.answering()
    assert await _tells(world, answering, status) is not None


async def _tells(world: World, amphora_id: AmphoraId, status: Operating) -> object:
    """None: it is not listened to."""
    async with world.database.read() as connection:
        found = await (await connection.execute("SELECT id FROM listeners")).fetchall()
        cursor = await connection.execute("SELECT generation FROM clusters")
        row = await cursor.fetchone()
    assert row is not None
    facts = Facts(generation=row[0], listeners={str(name): status for (name,) in found})
    async with world.database.transaction() as connection:
        return await statuses.record(connection, amphora_id, facts)


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
