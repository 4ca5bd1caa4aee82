# SPDX-License-Identifier: Apache-2.0
"""Numbers every call that a controller makes, to a driver or to the store, and fails one of them.

A call may be refused, lose its answer after it did its work, or be where its controller is
killed: then nothing of that controller does anything any more, not even tidy up.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

from colonnade.domain.errors import Unavailable, Unreachable
from colonnade.store.postgres.database import Connection, Database


class Fault(Enum):
    REFUSED = "the call fails and did nothing"
    LOST = "the call did its work and its answer is lost"
    KILLED = "the controller is killed at the call"


class Faults:
    """Numbers the calls of one controller and fails the one that was chosen."""

    def __init__(self) -> None:
        self.calls = 0
        self.names: list[str] = []
        self.struck = 0
        self.dead = asyncio.Event()
        self._at: int | None = None
        self._fault = Fault.REFUSED

    def plan(self, at: int, fault: Fault) -> None:
        """The call `at`, counted from now."""
        self.struck, self.names = 0, []
        self._at, self._fault = self.calls + at, fault

    async def enter(self, name: str) -> bool:
        """True when the answer of this call must be lost."""
        if self.dead.is_set():
            raise Unavailable("a dead controller does nothing")
        self.calls += 1
        self.names.append(name)
        if self.calls != self._at:
            return False
        self.struck += 1
        if self._fault is Fault.KILLED:
            self.dead.set()
            await asyncio.Event().wait()
        if self._fault is Fault.REFUSED:
            raise Unreachable(f"{name} was made to fail")
        return True


class Watched:
    """Any driver, with each of its calls numbered."""

    def __init__(self, driver: object, faults: Faults) -> None:
        # Of a network: what it has besides.
        self.router = self if getattr(driver, "router", None) is not None else None
        cloud = getattr(driver, "cloud", None)
        self.cloud = Watched(cloud, faults) if cloud is not None else None
        self._driver = driver
        self._faults = faults

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._driver, name)

        async def call(*arguments: Any) -> Any:
            lose = await self._faults.enter(name)
            result = await method(*arguments)
            if lose:
                raise Unreachable(f"the answer of {name} was lost")
            return result

        return call


class WatchedDatabase:
    """The part of `Database` that reconcilers use, with each use numbered."""

    def __init__(self, database: Database, faults: Faults) -> None:
        self._database = database
        self._faults = faults

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        lose = await self._faults.enter("transaction")
        async with self._database.transaction() as connection:
            yield connection
        if lose:
            raise Unavailable("the answer of a commit was lost")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        lose = await self._faults.enter("read")
        async with self._database.read() as connection:
            yield connection
        if lose:
            raise Unavailable("the answer of a statement was lost")
