# SPDX-License-Identifier: Apache-2.0
"""The real store, on a real PostgreSQL that asks the world what time it is.

In the databases of the world `now()` and `clock_timestamp()` are functions of ours, found before
PostgreSQL's own. All processes share one connection, a transaction at a time, so that a seed gives
the same run again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from colonnade.domain.errors import Unavailable
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.queue.work import CHANNEL
from tests.chaos.loop import Process, here

EPOCH_S: Final = 1_000_000_000.0
CLOCK: Final = (
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog',"
    " current_database()); END $$",
    *(
        f"""CREATE FUNCTION public.{name}() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT coalesce(to_timestamp(nullif(current_setting('world.now', true), '')::float8),
            pg_catalog.{name}()) $$"""
        for name in ("now", "clock_timestamp")
    ),
)


class Store:
    """The one connection, and whose turn it is. `reachable`: whether the database is there."""

    def __init__(self, database: Database, random: Random) -> None:
        self.database = database
        self.random = random
        self.reachable = True
        self.loss = 0.0  # the share of answers that are lost
        self.listeners: dict[asyncio.Event, None] = {}  # in the order in which they came
        self._is_taken = False
        self._waiting: deque[tuple[Process | None, asyncio.Future[None]]] = deque()
        self._told: tuple[Connection, float] | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Connection]:
        process = here()
        await self._take(process)
        try:
            async with self.database.read() as connection:
                await self._tell_time(connection)
                yield connection
        finally:
            self._release(process)

    async def _tell_time(self, connection: Connection) -> None:
        now = asyncio.get_running_loop().time()
        if self._told is None or self._told[0] is not connection:
            connection.add_notify_handler(lambda _notice: self._notify())
            await connection.execute(f"LISTEN {CHANNEL}".encode())
        elif self._told[1] == now:
            return
        await connection.execute(f"SET world.now = {EPOCH_S + now:.6f}".encode())
        self._told = connection, now

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
        async with self._store.turn() as connection, connection.transaction():
            yield connection
        await self._answer(lose)

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Connection]:
        lose = await self._enter()
        async with self._store.turn() as connection:
            async with connection.pipeline(), connection.transaction():
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
        await asyncio.sleep(random.uniform(0.0005, 0.004))
        if self._process.is_dead:
            raise Unavailable("a dead process does nothing")
        if not (self.reachable and self._store.reachable):
            await asyncio.sleep(random.uniform(0.1, 0.5))
            raise Unavailable("the database is not available")
        return random.random() < self._store.loss

    async def _answer(self, lose: bool) -> None:
        if self._process.is_dead or lose:
            raise Unavailable("the answer of the database was lost")
