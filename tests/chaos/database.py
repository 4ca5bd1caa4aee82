# SPDX-License-Identifier: Apache-2.0
"""The real store, on a real PostgreSQL that asks the world what time it is.

In the databases of the world `now()` and `clock_timestamp()` are functions of ours, found before
PostgreSQL's own. All processes share one connection, a transaction at a time, so that a seed gives
the same run again; and so do the runs of one worker, one after the other.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final

from psycopg.pq import ExecStatus
from psycopg.waiting import wait

from colonnade.domain.errors import Unavailable
from colonnade.store.postgres.database import PREPARE_AFTER, BoundedConnection, Connection
from colonnade.store.postgres.database import _prepare as configure
from colonnade.store.queue.work import CHANNEL
from tests.chaos.loop import STUCK_S, Process, here
from tests.database import EMPTY

EPOCH_S: Final = 1_000_000_000.0
SLOW_S: Final = 0.1, 2.9  # longer, and nobody waits any more
PREPARED_MAX: Final = 1000
SETTINGS: Final = {
    "search_path": "public, pg_catalog",  # our clock before PostgreSQL's own
    "world.now": f"{EPOCH_S:.0f}",
    # Half of PostgreSQL's time went into plans for tables that are small and always the same.
    "plan_cache_mode": "force_generic_plan",
}
# Keys that are due at the same time are leased in the order of their rows. Those would go into the
# holes that earlier runs have left; so a seed gives the same run again, alone or after thousands.
NEW_ROWS_IN_ORDER: Final = b"VACUUM (INDEX_CLEANUP ON, TRUNCATE ON) work"
CLOCK: Final = (
    *(
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {name} = {value}', current_database());"
        " END $$"
        for name, value in SETTINGS.items()
    ),
    # So plain that the planner puts it in place of the call.
    *(
        f"""CREATE FUNCTION public.{name}() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT to_timestamp(current_setting('world.now')::float8) $$"""
        for name in ("now", "clock_timestamp")
    ),
)


class _Connection(BoundedConnection):
    """Nothing else happens while it waits for an answer: no time passes in the world meanwhile,
    so whatever happens then may as well happen before or after."""

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        bound_s = STUCK_S if timeout is None else timeout
        return wait(gen, self.pgconn.socket, interval=interval, timeout=bound_s)


class Line:
    """The one connection to a database of `CLOCK`, for one run after the other: what PostgreSQL
    has read and planned for one serves the next."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: _Connection | None = None
        self._notified: Callable[[], None] = _nobody

    async def fresh(self, notified: Callable[[], None]) -> Connection:
        """With all tables empty. `notified`: called for each NOTIFY."""
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = await _Connection.connect(self._url, autocommit=True)
            connection.prepare_threshold = PREPARE_AFTER
            connection.prepared_max = PREPARED_MAX
            connection.add_notify_handler(lambda _notice: self._notified())
            await configure(connection)
            await connection.execute(f"LISTEN {CHANNEL}".encode())
        self._notified = _nobody
        await connection.execute(EMPTY.encode())
        await connection.execute(NEW_ROWS_IN_ORDER)
        self._notified = notified
        return connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.pgconn.finish()


def _nobody() -> None:
    """Nobody listens."""


class Store:
    """The one connection, and whose turn it is. `reachable`: whether the database is there."""

    def __init__(self, line: Line, random: Random) -> None:
        self.random = random
        self.reachable = True
        self.loss = 0.0  # the share of answers that are lost
        self.slow = 0.0  # the share of requests that take seconds
        self.listeners: dict[asyncio.Event, None] = {}  # in the order in which they came
        self._line = line
        self._connection: Connection | None = None
        self._is_taken = False
        self._waiting: deque[tuple[Process | None, asyncio.Future[None]]] = deque()
        self._told = -1.0

    async def begin(self) -> None:
        self._connection = await self._line.fresh(self._notify)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Connection]:
        """Each statement for itself."""
        async with self._turn() as connection:
            self._begin(connection, b"")
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self._turn() as connection:
            self._begin(connection, b"BEGIN")
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Connection]:
        async with self._turn() as connection:
            self._begin(connection, b"")
            async with connection.pipeline(), connection.transaction():
                yield connection

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Connection]:
        process = here()
        await self._take(process)
        try:
            assert self._connection is not None
            yield self._connection
        finally:
            self._release(process)

    def _begin(self, connection: Connection, further: bytes) -> None:
        """Say what time it is, and with it what needs no answer of its own."""
        now = asyncio.get_running_loop().time()
        told = b"" if now == self._told else f"SET world.now = {EPOCH_S + now:.6f};".encode()
        self._told = now
        if told or further:
            result = connection.pgconn.exec_(told + further)
            assert result.status == ExecStatus.COMMAND_OK, result.error_message

    async def _take(self, process: Process | None) -> None:
        if self._is_taken:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            place = (process, future)
            self._waiting.append(place)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():  # it had just become its turn
                    self._release(process)
                elif place in self._waiting:
                    self._waiting.remove(place)
                raise
            return
        self._is_taken = True
        if process is not None:
            process.enter()

    def _release(self, process: Process | None) -> None:
        self._is_taken = False
        self.next()
        if process is not None:
            process.leave()

    def next(self) -> None:
        """Those that are stopped are passed over."""
        if self._is_taken:
            return
        for place in self._waiting:
            process, future = place
            if not future.done() and (process is None or not process.is_stopped):
                self._waiting.remove(place)
                self._is_taken = True
                if process is not None:
                    process.enter()
                future.set_result(None)
                return

    def _notify(self) -> None:
        """A NOTIFY, passed on to whoever listens. Some are lost: they only wake early."""
        if self.random.random() >= self.loss:
            for event in self.listeners:
                event.set()


class WorldDatabase:
    """What reconcilers, receivers and handlers use of `Database`, as one process sees it."""

    def __init__(self, store: Store, process: Process) -> None:
        self._store = store
        self._process = process
        self.reachable = True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        lose = await self._enter()
        async with self._store.transaction() as connection:
            yield connection
        await self._answer(lose)

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Connection]:
        lose = await self._enter()
        async with self._store.pipeline() as connection:
            yield connection
        await self._answer(lose)

    @asynccontextmanager
    async def read(self, *, answer_s: float = 0) -> AsyncIterator[Connection]:
        lose = await self._enter()
        async with self._store.turn() as connection:
            yield connection
        await self._answer(lose)

    async def listen(self, channel: str) -> AsyncGenerator[str, None]:
        event = asyncio.Event()
        self._store.listeners[event] = None
        try:
            while True:
                yield ""
                await event.wait()
                event.clear()
        finally:
            self._store.listeners.pop(event, None)

    async def _enter(self) -> bool:
        """True when the answer is to be lost."""
        random = self._store.random
        is_slow = self._store.slow and random.random() < self._store.slow
        await asyncio.sleep(random.uniform(*SLOW_S) if is_slow else random.uniform(0.0005, 0.004))
        if self._process.is_dead:
            raise Unavailable("a dead process does nothing")
        if not (self.reachable and self._store.reachable):
            await asyncio.sleep(random.uniform(0.1, 0.5))
            raise Unavailable("the database is not available")
        return random.random() < self._store.loss

    async def _answer(self, lose: bool) -> None:
        if self._process.is_dead or lose:
            raise Unavailable("the answer of the database was lost")
