# SPDX-License-Identifier: Apache-2.0
"""The queue of callers with a bundle to apply: one at a time, the newest generation first.

A waiting caller looks again when another comes or leaves. Nothing is kept of callers that left.
The queue knows neither bundles nor haproxy, only generations.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, TypeAlias

WAITING_MAX: Final = 16
# Given whether the caller has the newest generation: seconds to wait for its turn, 0 when it may
# begin, None for a wait until another caller comes or leaves.
Pause: TypeAlias = Callable[[bool], float | None]


class TooMany(Exception):
    """The queue is full."""


class ApplyQueue:
    """`lock` is held during each turn, so that two never overlap."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._waiting: Counter[int] = Counter()
        self._stirred = asyncio.Event()

    @contextlib.asynccontextmanager
    async def turn(self, generation: int, pause: Pause) -> AsyncIterator[None]:
        """Wait for a turn, and hold it inside the context. Raises TooMany."""
        with self._be_waiting(generation):
            while True:
                async with self._lock:
                    pause_s = pause(generation >= max(self._waiting))
                    if pause_s == 0:
                        yield
                        return
                await self._look_again(pause_s)

    @contextlib.contextmanager
    def _be_waiting(self, generation: int) -> Iterator[None]:
        if self._waiting.total() >= WAITING_MAX:
            raise TooMany(f"{WAITING_MAX} changes wait already")
        self._waiting[generation] += 1
        self._stir()
        try:
            yield
        finally:
            self._waiting[generation] -= 1
            self._waiting += Counter()  # drop generations with a count of 0
            self._stir()

    async def _look_again(self, within_s: float | None) -> None:
        """Return when a caller came or left, or when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._stirred.wait()

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()
