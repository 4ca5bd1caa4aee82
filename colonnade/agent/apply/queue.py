# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is, of those who wait to have a bundle served: that of the newest.

Whoever waits looks again when somebody came or left. Nothing is kept of those who left. It knows
neither bundles nor haproxy, only generations.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

WAITING_MAX: Final = 16


class TooMany(Exception):
    """As many as may wait do."""


class ApplyQueue:
    def __init__(self) -> None:
        self._waiting: Counter[int] = Counter()
        self._stirred = asyncio.Event()

    @contextlib.contextmanager
    def waiting(self, generation: int) -> Iterator[None]:
        """Be one of those who wait. Raises TooMany."""
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

    def is_newest(self, generation: int) -> bool:
        return generation >= max(self._waiting, default=generation)

    async def look_again(self, within_s: float | None) -> None:
        """Return when somebody came or left, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._stirred.wait()

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()
