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

from colonnade.domain.errors import Unavailable
from colonnade.store.database import Database
from colonnade.store.embedded import EmbeddedPostgres
from colonnade.store.migrations import migrate
from tests.database import Databases


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


async def test_data_outlives_a_restart(folder: Path) -> None:
    for expected in (0, 1):
        server = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
        await server.start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            found = connection.execute("SELECT count(*) FROM kept").fetchone()
            connection.execute("INSERT INTO kept VALUES (1)")
        await server.stop()
        assert found == (expected,)


async def test_only_our_user_may_enter_its_folders(server: EmbeddedPostgres, folder: Path) -> None:
    for place in (folder / "state/postgres", folder / "run"):
        assert place.stat().st_mode & 0o077 == 0


async def test_it_ends_when_its_parent_is_killed(folder: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from colonnade.store.embedded import EmbeddedPostgres\n"
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


def test_many_processes_may_migrate_at_once_and_again(databases: Databases) -> None:
    with databases.fresh() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        program = "import sys; from colonnade.store.migrations import migrate; migrate(sys.argv[1])"
        crowd = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(3)]
        assert [process.wait() for process in crowd] == [0, 0, 0]
        migrate(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM work").fetchone() == (0,)
