# SPDX-License-Identifier: Apache-2.0
"""The embedded PostgreSQL and the connections to it, through every bad day of theirs."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from colonnade.controller.loop import LEASE_S, Loop
from colonnade.domain.errors import Broken, ColonnadeError, Unavailable
from colonnade.runtime import host_ids
from colonnade.store.postgres.database import ANSWER_S, ASK_LISTENER_S, WAIT_S, Database
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.migrations import migrate
from colonnade.store.queue import work
from tests.database import Databases
from tests.frozen import frozen


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="col-") as name:
        yield Path(name)


@pytest_asyncio.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
    await server.start()
    yield server
    await server.stop()


async def until(fact: Callable[[], bool], *, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def postmaster_pid(folder: Path) -> int:
    return int((folder / "state/postgres/postmaster.pid").read_text().splitlines()[0])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # a zombie has no words left
    except OSError:
        return False


async def number(database: Database) -> int:
    async with database.read() as connection:
        row = await (await connection.execute("SELECT 42")).fetchone()
        assert row is not None
        return int(row[0])


async def rows_kept_before(folder: Path) -> int:
    """How many rows a server finds there as it starts; it adds one, and is stopped."""
    server = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
    await server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        found = connection.execute("SELECT count(*) FROM kept").fetchone()
        connection.execute("INSERT INTO kept VALUES (1)")
    await server.stop()
    assert found is not None
    return int(found[0])


async def test_data_outlives_a_restart(folder: Path) -> None:
    for expected in (0, 1):
        assert await rows_kept_before(folder) == expected


async def test_only_our_user_may_enter_its_folders(server: EmbeddedPostgres, folder: Path) -> None:
    """As root: an id that no account has, and its group and ours for the socket."""
    ids = host_ids.of(folder / "state")
    owner = os.geteuid() if ids is None else ids.office("database")
    data, sockets = (folder / "state/postgres").stat(), (folder / "run/db").stat()
    assert (data.st_uid, sockets.st_uid) == (owner, owner)
    assert data.st_mode & 0o077 == 0
    assert sockets.st_mode & 0o077 == (0 if ids is None else 0o010)
    assert ids is None or sockets.st_gid == ids.control
    status = Path(f"/proc/{postmaster_pid(folder)}/status").read_text()
    assert f"Uid:\t{owner}\t{owner}\t{owner}\t{owner}\n" in status
    assert "NoNewPrivs:\t1\n" in status


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's database is another id's")
async def test_a_database_that_root_owned_is_taken_over(folder: Path) -> None:
    for expected in (0, 1):
        assert await rows_kept_before(folder) == expected
        for place in (folder / "state/postgres", *(folder / "state/postgres").rglob("*")):
            os.chown(place, 0, 0)  # as an earlier release left it


async def test_it_ends_when_its_parent_is_killed(folder: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from colonnade.store.postgres.embedded import EmbeddedPostgres\n"
        "async def main():\n"
        "    folder = pathlib.Path(sys.argv[1])\n"
        "    await EmbeddedPostgres(folder / 'state', folder / 'run', durable=False).start()\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        pid = postmaster_pid(folder)
        assert is_running(pid)
        parent.kill()
    await until(lambda: not is_running(pid))


async def test_a_server_that_outlived_its_parent_is_stopped_first(folder: Path) -> None:
    first = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
    await first.start()
    old = postmaster_pid(folder)
    second = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
    await second.start()
    try:
        assert not is_running(old)
        assert postmaster_pid(folder) != old
    finally:
        await second.stop()
        await first.stop()


async def test_a_lock_file_that_names_a_stranger_is_in_nobodys_way(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
    await server.start()
    lines = (folder / "state/postgres/postmaster.pid").read_text().splitlines()
    os.kill(int(lines[0]), signal.SIGKILL)
    await server.wait()
    lines[0] = str(os.getpid())  # the number was given to another process, to us
    (folder / "state/postgres/postmaster.pid").write_text("\n".join(lines) + "\n")
    await server.start()
    await server.stop()


async def test_it_starts_at_once_after_a_kill_and_answers_when_it_says_so(
    server: EmbeddedPostgres, folder: Path
) -> None:
    """What is left: the lock file that says `ready`, work to recover, helpers that still end."""
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            users = [stack.enter_context(psycopg.connect(server.url)) for _ in range(10)]
            users[0].execute("CREATE TABLE IF NOT EXISTS much (n int)")
            users[0].execute("INSERT INTO much SELECT generate_series(1, 50000)")
            users[0].commit()
            killed = postmaster_pid(folder)
            os.kill(killed, signal.SIGKILL)
            await server.start()
        assert postmaster_pid(folder) != killed
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 42").fetchone() == (42,)


@pytest.mark.timed
async def test_a_database_that_is_gone_is_unavailable_at_once_and_comes_back(
    server: EmbeddedPostgres,
) -> None:
    database = await Database.connect(server.url)
    assert await number(database) == 42
    await server.stop()
    for _ in range(5):
        asked = time.monotonic()
        with pytest.raises(Unavailable):
            await number(database)
        assert time.monotonic() - asked < 2.5
    await server.start()
    async with asyncio.timeout(5):
        while True:
            try:
                assert await number(database) == 42
                break
            except Unavailable:
                await asyncio.sleep(0.05)
    await database.close()


async def test_a_restart_between_two_reads_goes_unnoticed(server: EmbeddedPostgres) -> None:
    database = await Database.connect(server.url)
    assert await number(database) == 42
    await server.stop()
    await server.start()
    assert await number(database) == 42
    await database.close()


async def test_listening_survives_a_restart(server: EmbeddedPostgres) -> None:
    database = await Database.connect(server.url)
    heard: list[str] = []

    async def listen() -> None:
        async with aclosing(database.listen("work")) as payloads:
            async for payload in payloads:
                heard.append(payload)

    listening = asyncio.create_task(listen())
    for count, word in enumerate(("first", "second"), start=1):
        await until(lambda: heard.count("") == count)  # noqa: B023
        async with database.read() as connection:
            await connection.execute("SELECT pg_notify('work', %s)", [word])
        await until(lambda: heard[-1] == word)  # noqa: B023
        if count == 1:
            await server.stop()
            await server.start()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await database.close()
    assert heard == ["", "first", "", "second"]


@pytest.mark.timed
async def test_rows_of_a_process_that_stands_still_are_free_before_its_leases_end(
    databases: Databases,
) -> None:
    with databases.fresh() as url:
        frozen, other = await Database.connect(url), await Database.connect(url)
        holds = asyncio.Event()

        async def hold() -> None:
            async with frozen.transaction() as connection:
                await work.mark(connection, "leaks:all")
                holds.set()
                await asyncio.Event().wait()

        async def is_free() -> bool:
            with contextlib.suppress(Unavailable):
                async with other.transaction() as connection:
                    await work.mark(connection, "leaks:all")
                return True
            return False

        holding = asyncio.create_task(hold())
        await holds.wait()
        assert not await is_free()
        async with asyncio.timeout(LEASE_S):
            while not await is_free():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        holding.cancel()
        await asyncio.wait([holding])
        await frozen.close()
        await other.close()


def test_many_processes_may_migrate_at_once_and_again(databases: Databases) -> None:
    with databases.fresh() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        module = "colonnade.store.postgres.migrations"
        program = f"import sys; from {module} import migrate; migrate(sys.argv[1])"
        crowd = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(3)]
        assert [process.wait() for process in crowd] == [0, 0, 0]
        migrate(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM work").fetchone() == (0,)


def test_a_database_that_cannot_hold_every_name_is_refused(databases: Databases) -> None:
    with psycopg.connect(databases.server.url_of("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'")
        try:
            with pytest.raises(Broken, match=r"SQL_ASCII.*ENCODING 'UTF8'"):
                migrate(databases.server.url_of("ascii"))
        finally:
            connection.execute("DROP DATABASE ascii")


def processes_of(folder: Path) -> list[int]:
    """The postmaster and all its children."""
    first = postmaster_pid(folder)
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, children)]


PROMISED_S = ANSWER_S + WAIT_S + 1.0  # for a connection and its answer, on a busy machine


async def test_a_frozen_server_holds_nobody_up(server: EmbeddedPostgres, folder: Path) -> None:
    database = await Database.connect(server.url, pool_min=2)
    try:
        assert await number(database) == 42

        async def in_the_middle(begun: asyncio.Event, go_on: asyncio.Event) -> None:
            async with database.transaction() as connection:
                await connection.execute("SELECT 1")
                begun.set()
                await go_on.wait()
                await connection.execute("SELECT 2")

        begun, go_on = asyncio.Event(), asyncio.Event()
        held = asyncio.create_task(in_the_middle(begun, go_on))
        await begun.wait()
        with frozen(processes_of(folder)):
            go_on.set()
            for waiting in (held, number(database), number(database)):
                async with asyncio.timeout(PROMISED_S):
                    with pytest.raises(Unavailable):
                        await waiting

            # Who no longer waits is not held up either.
            impatient = asyncio.ensure_future(number(database))
            await asyncio.sleep(0.2)
            impatient.cancel()
            async with asyncio.timeout(1):
                await asyncio.wait([impatient])

        async def is_back() -> bool:
            try:
                return await number(database) == 42
            except Unavailable:
                return False

        async with asyncio.timeout(PROMISED_S):
            while not await is_back():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        async with asyncio.timeout(5):
            await database.close()


async def test_who_waits_for_a_lock_for_too_long_is_told(server: EmbeddedPostgres) -> None:
    database = await Database.connect(server.url, pool_min=2)
    try:
        async with database.transaction() as holder:
            await holder.execute("SELECT pg_advisory_xact_lock(1)")
            with pytest.raises(Unavailable):
                async with asyncio.timeout(PROMISED_S), database.transaction() as waiter:
                    await waiter.execute("SELECT pg_advisory_xact_lock(1)")
        assert await number(database) == 42
    finally:
        await database.close()


async def test_a_frozen_listener_listens_anew(server: EmbeddedPostgres, folder: Path) -> None:
    database = await Database.connect(server.url)
    try:
        async with aclosing(database.listen("news")) as heard:
            assert await anext(heard) == ""
            async with database.read() as connection:
                row = await (
                    await connection.execute(
                        "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
                    )
                ).fetchone()
            assert row is not None
            with frozen([row[0]]):
                async with asyncio.timeout(ASK_LISTENER_S + ANSWER_S + 5):
                    assert await anext(heard) == "", "it has connected again"
                async with database.read() as connection:
                    await connection.execute("NOTIFY news, 'hello'")
                async with asyncio.timeout(5):
                    assert await anext(heard) == "hello"
    finally:
        await database.close()


@pytest.mark.timed
async def test_work_has_stopped_before_its_lease_is_anothers(
    server: EmbeddedPostgres, folder: Path
) -> None:
    await asyncio.to_thread(migrate, server.url)
    database = await Database.connect(server.url)
    begun = asyncio.Event()
    stopped_at: list[float] = []

    class Endless:
        async def reconcile(self, _name: str) -> float | None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped_at.append(time.monotonic())
            return None

        async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None: ...

    lease_s = 4.0
    loop = asyncio.create_task(Loop(database, {"x": Endless()}, lease_s=lease_s).run())
    try:
        async with database.transaction() as connection:
            await work.mark(connection, "x:1")
        leased_until = (
            "SELECT extract(epoch FROM leased_until - clock_timestamp())::float FROM work"
        )

        async def left_s() -> float:
            async with database.read() as connection:
                row = await (await connection.execute(leased_until)).fetchone()
            return row[0] if row is not None and row[0] is not None else 0.0

        async with asyncio.timeout(20):
            await begun.wait()  # the lease is in the database before the loop hears of it
        ends_at = time.monotonic() + await left_s()
        with frozen(processes_of(folder)):
            async with asyncio.timeout(2 * lease_s):
                while not stopped_at:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        assert stopped_at[0] < ends_at + lease_s / 3 + 0.5  # it may have been extended once
        assert len(stopped_at) == 1
    finally:
        loop.cancel()
        await asyncio.wait([loop], timeout=10)
        await database.close()
