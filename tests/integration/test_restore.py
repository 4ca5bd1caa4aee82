# SPDX-License-Identifier: Apache-2.0
"""The documented dump and restore, into another server: what was there is shown, what comes is
heard, and amphorae take what the database says. Real servers and PostgreSQL's own programs."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from msgspec.structs import replace

from colonnade.store.fleet import incarnation
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.embedded import EmbeddedPostgres, binaries
from colonnade.store.postgres.migrations import migrate
from colonnade.store.queue import events
from colonnade.store.trees import wishes
from tests.contract.test_health import Nothing, web

SOUGHT = events.Sought()


@pytest_asyncio.fixture
async def servers() -> AsyncIterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    with tempfile.TemporaryDirectory(prefix="col-") as name:
        pair = tuple(
            EmbeddedPostgres(Path(name) / side / "s", Path(name) / side / "r", durable=False)
            for side in ("old", "new")
        )
        try:
            for server in pair:
                await server.start()
            yield pair[0], pair[1]
        finally:
            for server in pair:
                await server.stop()


def pg(program: str, *words: str, given: bytes = b"") -> bytes:
    return subprocess.run(
        [str(binaries() / program), *words], input=given, check=True, capture_output=True
    ).stdout


def moved(old: EmbeddedPostgres, new: EmbeddedPostgres) -> None:
    """As docs/operations.md has it."""
    dump = pg("pg_dump", "--format=custom", "--dbname", old.url)
    options = ("--clean", "--if-exists", "--no-owner", "--exit-on-error")
    pg("pg_restore", *options, "--dbname", new.url, given=dump)


async def number(database: Database, query: str) -> int:
    async with database.read() as connection:
        row = await (await connection.execute(query.encode())).fetchone()
    return int(row[0]) if row is not None else -1


async def messages(database: Database) -> list[str]:
    async with database.read() as connection:
        return [one.event.message for one in await events.newest(connection, 1000, SOUGHT)]


async def test_a_restored_database_shows_its_past_and_goes_on(
    servers: tuple[EmbeddedPostgres, EmbeddedPostgres],
) -> None:
    old, new = servers
    await asyncio.to_thread(migrate, old.url)
    before = await Database.connect(old.url)
    tree = web()
    # A server that has lived: its transactions have higher numbers than those of a fresh one.
    for _ in range(300):
        await number(before, "SELECT pg_current_xact_id()::text::bigint")
    await wishes.create(before, tree, Nothing())
    assert not await incarnation.notice(before), "the first look only remembers"
    assert not await incarnation.notice(before)
    said = await messages(before)
    assert said
    horizon = await number(before, "SELECT max(xid::text::bigint) FROM events")
    await before.close()

    await asyncio.to_thread(moved, old, new)
    await asyncio.to_thread(migrate, new.url)
    after = await Database.connect(new.url)
    try:
        current = await number(after, "SELECT pg_current_xact_id()::text::bigint")
        assert current < horizon, "else this tries nothing"
        assert await messages(after) == said
        async with after.read() as connection:
            last = await events.last_id(connection)
        assert last == await number(after, "SELECT max(id) FROM events")

        generation = await number(after, "SELECT generation FROM clusters")
        assert await incarnation.notice(after)
        assert not await incarnation.notice(after)
        raised = await number(after, "SELECT generation FROM clusters")
        assert raised == generation + incarnation.SKIPPED
        async with after.read() as connection:
            found = await (await connection.execute("SELECT key FROM work")).fetchall()
            heard = await events.newer_than(connection, last, sought=SOUGHT)
        assert (f"cluster:{tree.cluster_id}",) in found
        assert [one.event.kind for one in heard] == ["restored"]

        other = web()
        await wishes.create(after, other, Nothing())
        async with after.read() as connection:
            heard = await events.newer_than(connection, heard[-1].id, sought=SOUGHT)
        assert {one.event.load_balancer_id for one in heard} == {other.id}
    finally:
        await after.close()


async def test_an_event_of_a_transaction_that_runs_is_not_passed_over(
    database: Database,
) -> None:
    """A later one may commit first; a reader that saw it would never see the earlier."""
    event = events.Event(object_kind="x", object_id=web().id, kind="x", message="first")
    async with database.transaction() as slow:
        await events.record(slow, event)
        async with database.transaction() as quick:
            await events.record(quick, replace(event, message="second"))
        assert await messages(database) == []
    assert await messages(database) == ["first", "second"]
