# SPDX-License-Identifier: Apache-2.0
"""Those who wait to have a bundle applied: one at a time, the newest generation first.

Whoever waits looks again when somebody came or left. Nothing is kept of those who left. It knows
neither bundles nor haproxy, only generations.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, TypeAlias

WAITING_MAX: Final = 16
# How long a turn has to be waited for, told whether it is the newest's: 0 when it may begin, None
# until somebody comes or leaves.
Pause: TypeAlias = Callable[[bool], float | None]


class TooMany(Exception):
    """As many as may wait do."""


class ApplyQueue:
    """`lock`: who has it is alone; turns are taken under it."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._waiting: Counter[int] = Counter()
        self._stirred = asyncio.Event()

    @contextlib.asynccontextmanager
    async def turn(self, generation: int, pause: Pause) -> AsyncIterator[None]:
        """Wait for one's turn, and have it. Raises TooMany."""
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
            self._waiting += Counter()  # forget those that nobody waits for
            self._stir()

    async def _look_again(self, within_s: float | None) -> None:
        """Return when somebody came or left, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._stirred.wait()

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()
