# SPDX-License-Identifier: Apache-2.0
"""Drivers as processes reach them: over wires that delay, lose and repeat.

A request does its work in the world, not in the process that sent it: it does so when that one has
given up waiting, was stopped, or is dead. What is late may come after what was sent later.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from colonnade.domain.errors import Unavailable, Unreachable
from tests.chaos.loop import Process, outside

PATIENCE_S: Final = 6.0  # of a client, for an answer
LATE_S: Final = 25.0


class Weather:
    """How wires are now. Each is the share of calls that it happens to."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.refused = 0.0
        self.lost = 0.0  # requests that never come
        self.unanswered = 0.0  # requests that did their work, and nobody hears of it
        self.late = 0.0  # requests that come when nobody waits any more
        self.repeated = 0.0
        self.away: set[str] = set()  # services that nobody reaches
        self.on_their_way = 0  # requests that nobody waits for, and that will come

    def clear(self) -> None:
        self.refused = self.lost = self.unanswered = self.late = self.repeated = 0.0
        self.away.clear()


class Link:
    """Any driver, as one process reaches it. `service`: compute, network or amphora."""

    def __init__(self, service: str, driver: object, process: Process, weather: Weather) -> None:
        self.router, self.cloud = self, None  # of a network
        self._service = service
        self._driver = driver
        self._process = process
        self._weather = weather

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._driver, name)

        async def call(*arguments: Any) -> Any:
            return await self._call(f"{self._service}.{name}", method, arguments)

        return call

    async def _call(
        self, name: str, method: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]
    ) -> Any:
        weather, random = self._weather, self._weather.random
        if self._process.is_dead:
            raise Unavailable("a dead process does nothing")
        if self._service in weather.away:
            await asyncio.sleep(random.uniform(0.01, 3))
            raise Unreachable(f"{name}: no answer")
        delay_s = random.uniform(0.001, 0.03)
        chance = random.random()
        for share in ("refused", "lost", "unanswered", "late", "repeated"):
            chance -= getattr(weather, share)
            if chance < 0:
                return await self._badly(share, name, method, arguments)
        return await self._answered(outside(_after(delay_s, method, arguments)), name)

    async def _badly(
        self, how: str, name: str, method: Callable[..., Awaitable[Any]], arguments: Any
    ) -> Any:
        random = self._weather.random
        if how == "repeated":
            self._later(random.uniform(0.1, LATE_S), method, arguments)
            return await self._answered(outside(_after(0.01, method, arguments)), name)
        if how == "late":
            self._later(random.uniform(PATIENCE_S, LATE_S), method, arguments)
        elif how == "unanswered":
            self._later(0.01, method, arguments)
        await asyncio.sleep(0.01 if how == "refused" else PATIENCE_S)
        raise Unreachable(f"{name}: {how}")

    def _later(self, delay_s: float, method: Callable[..., Awaitable[Any]], arguments: Any) -> None:
        """Nobody hears what becomes of it."""

        async def come() -> None:
            try:
                await _after(delay_s, method, arguments)
            except Exception:  # noqa: BLE001 - it is heard by nobody
                return
            finally:
                self._weather.on_their_way -= 1

        self._weather.on_their_way += 1
        outside(come())

    async def _answered(self, request: asyncio.Task[Any], name: str) -> Any:
        done, _ = await asyncio.wait([request], timeout=PATIENCE_S)
        if not done:
            raise Unreachable(f"{name}: no answer")
        if self._process.is_dead:
            raise Unavailable("a dead process hears nothing")
        return request.result()


async def _after(delay_s: float, method: Callable[..., Awaitable[Any]], arguments: Any) -> Any:
    await asyncio.sleep(delay_s)
    return await method(*arguments)
