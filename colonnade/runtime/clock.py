# SPDX-License-Identifier: Apache-2.0
"""Time, passed in at the rim so that tests can hold it. Seconds everywhere."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def loop_time() -> float:
    """Seconds that never go back, of the same clock as the timers of the running event loop:
    what is measured with one and waited for with the other fits together."""
    return asyncio.get_running_loop().time()
