# SPDX-License-Identifier: Apache-2.0
"""The loop on a real work table: waking, leases, and the three kinds of failure."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from colonnade.controller.loop import Loop, slowly_s, soon_s, together
from colonnade.domain.errors import Broken, ColonnadeError, Invalid, Unavailable
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work


class Script:
    """A reconciler that does what each pass is told to, and remembers."""

    def __init__(self, *passes: Exception | float | None) -> None:
        self.passes = list(passes)
        self.names: list[str] = []
        self.recorded: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.cancelled = 0

    async def reconcile(self, name: str) -> float | None:
        self.names.append(name)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        result = self.passes.pop(0) if self.passes else None
        if isinstance(result, Exception):
            raise result
        return result

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        self.recorded.append(error.public)


@asynccontextmanager
async def running(
    database: Database, script: Script, *, at_once: int = 8, lease_s: float = 15
) -> AsyncIterator[None]:
    loop = Loop(database, {"cluster": script}, at_once=at_once, lease_s=lease_s)
    loop.parting_s = 0.1
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def mark(database: Database, name: str = "a") -> None:
    async with database.transaction() as connection:
        await work.mark(connection, f"cluster:{name}")


async def row(database: Database) -> tuple[int, bool, float] | None:
    """Attempts, whether leased, seconds until due."""
    async with database.read() as connection:
        cursor = await connection.execute(
            """SELECT attempts, leased_by IS NOT NULL,
                extract(epoch FROM due_at - clock_timestamp())::float FROM work"""
        )
        found = await cursor.fetchone()
    return None if found is None else (found[0], found[1], found[2])


async def until_given_back(database: Database) -> tuple[int, bool, float] | None:
    async with asyncio.timeout(5):
        while (found := await row(database)) is not None and found[1]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_a_mark_wakes_it_at_once(database: Database) -> None:
    script = Script()
    async with running(database, script):
        await mark(database, "first")
        await until(lambda: script.names == ["first"])
        await mark(database, "second")
        async with asyncio.timeout(1):  # far below the sweep
            await until(lambda: script.names == ["first", "second"])
        assert await until_given_back(database) is None


async def test_a_later_look_comes_in_time(database: Database) -> None:
    script = Script(0.05)
    async with running(database, script):
        await mark(database)
        async with asyncio.timeout(2):
            await until(lambda: len(script.names) == 2)


async def test_what_is_unavailable_is_tried_again_soon(database: Database) -> None:
    script = Script(Unavailable("not yet"), Unavailable("not yet"))
    async with running(database, script):
        await mark(database)
        async with asyncio.timeout(3):
            await until(lambda: len(script.names) == 3)
    assert script.recorded == []


@pytest.mark.parametrize("error", [Broken("haproxy said no"), Invalid("no such thing")])
async def test_what_is_broken_is_recorded_and_tried_again_slowly(
    database: Database, error: ColonnadeError
) -> None:
    script = Script(error)
    async with running(database, script):
        await mark(database)
        await until(lambda: script.recorded == [error.public])
        found = await until_given_back(database)
    assert found is not None
    assert found[0] == 1
    assert found[2] > 5


async def test_a_bug_in_one_key_does_not_stop_the_others(database: Database) -> None:
    script = Script(ZeroDivisionError("a bug"))
    async with running(database, script):
        await mark(database, "first")
        await until(lambda: script.names == ["first"])
        await mark(database, "second")
        await until(lambda: script.names == ["first", "second"])
    assert script.recorded == []


async def test_a_mark_during_the_work_is_one_more_pass(database: Database) -> None:
    script = Script()
    script.may_end.clear()
    async with running(database, script):
        await mark(database)
        await until(lambda: len(script.names) == 1)
        await mark(database)
        await mark(database)
        script.may_end.set()
        await until(lambda: len(script.names) == 2)
        assert await until_given_back(database) is None


async def test_a_long_pass_keeps_its_lease(database: Database) -> None:
    script = Script()
    script.may_end.clear()
    async with running(database, script, lease_s=0.3), running(database, script, lease_s=0.3):
        await mark(database)
        await until(lambda: len(script.names) == 1)
        beginning = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > beginning + 1)
        assert script.names == ["a"]
        script.may_end.set()
        assert await until_given_back(database) is None


async def test_whoever_lost_the_lease_stops(database: Database) -> None:
    script = Script()
    script.may_end.clear()
    async with running(database, script, lease_s=0.3):
        await mark(database)
        await until(lambda: len(script.names) == 1)
        async with database.read() as connection:
            await connection.execute("UPDATE work SET leased_by = gen_random_uuid()")
        await until(lambda: script.cancelled == 1)


async def test_an_ending_controller_gives_its_leases_back(database: Database) -> None:
    script = Script()
    script.may_end.clear()
    async with running(database, script):
        await mark(database)
        await until(lambda: len(script.names) == 1)
    found = await row(database)
    assert found is not None
    assert found[:2] == (0, False)
    assert found[2] <= 0


async def test_no_more_than_so_many_at_once(database: Database) -> None:
    script = Script()
    script.may_end.clear()
    for number in range(5):
        await mark(database, str(number))
    async with running(database, script, at_once=2):
        await until(lambda: len(script.names) == 2)
        script.may_end.set()
        await until(lambda: len(script.names) == 5)


async def test_the_worst_of_several_failures_is_raised_after_all_ended() -> None:
    ended = []

    async def end(error: Exception | None) -> None:
        ended.append(error)
        if error is not None:
            raise error

    broken = Broken("b")
    with pytest.raises(Broken):
        await together(end(Unavailable("u")), end(broken), end(None))
    assert len(ended) == 3
    with pytest.raises(ZeroDivisionError):
        await together(end(broken), end(ZeroDivisionError()), end(Unavailable("u")))


def test_pauses_grow_to_a_limit() -> None:
    assert all(soon_s(attempts) <= 10 and slowly_s(attempts) <= 300 for attempts in range(100))
    assert soon_s(0) <= 0.2 < soon_s(3)


class Hanging(Script):
    """Keys whose name begins with "bad" hang until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.let_go = asyncio.Event()

    async def reconcile(self, name: str) -> float | None:
        self.begun.append(name)
        if name.startswith("bad"):
            await self.let_go.wait()
            raise Unavailable("it hung")
        return None


async def test_keys_that_failed_of_late_hold_up_at_most_half_of_the_places(
    database: Database,
) -> None:
    script = Hanging()
    async with database.transaction() as connection:
        for number in range(8):
            await work.mark(connection, f"cluster:bad{number}")
        await connection.execute("UPDATE work SET attempts = 3")
    async with running(database, script, at_once=4):
        await until(lambda: len(script.begun) == 2)
        for number in range(6):
            await mark(database, f"good{number}")
        await until(lambda: sum(name.startswith("good") for name in script.begun) == 6)
        assert sum(name.startswith("bad") for name in script.begun) == 2
        script.let_go.set()
        await until(lambda: len({name for name in script.begun if "bad" in name}) == 8)


async def test_a_failure_that_cannot_be_recorded_gives_the_key_back(database: Database) -> None:
    class Mute(Script):
        async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
            raise ValueError("A string literal cannot contain NUL (0x00) characters.")

    script = Mute(Broken("haproxy said \0"))
    async with running(database, script):
        await mark(database)
        await until(lambda: script.names == ["a"])
        attempts, leased, due_s = await until_given_back(database) or (0, True, 0.0)
        assert (attempts, leased) == (1, False)
        assert due_s > 5
