# SPDX-License-Identifier: Apache-2.0
"""An API that runs, with its database: rounds of requests, and what one of them takes and costs.

Whose API it is, is not known here; it is asked by `Load`, and paid for by two processes and their
children.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from bench.client import Load, connected
from bench.processes import pss_mb, spent_us

Figures = dict[str, float]
Request = Callable[[int], Awaitable[Any]]


class Served:
    def __init__(self, load: Load, api_pid: int, database_pid: int) -> None:
        self.load = load
        self._api_pid, self._database_pid = api_pid, database_pid

    async def round(
        self, requests: int, at_once: int, request: Request, numbers: Iterator[int]
    ) -> Figures:
        left = requests
        took: list[float] = []

        async def client() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                started = time.perf_counter()
                await request(next(numbers))
                took.append(time.perf_counter() - started)

        api, database = spent_us(self._api_pid), spent_us(self._database_pid)
        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(at_once)))
        elapsed = time.perf_counter() - started
        api, database = spent_us(self._api_pid) - api, spent_us(self._database_pid) - database
        took.sort()
        return {
            "per_s": round(requests / elapsed, 1),
            "p50_ms": round(took[len(took) // 2] * 1000, 2),
            "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
            "api_cpu_us": round(api / requests),
            "database_cpu_us": round(database / requests),
        }

    def api_mb(self) -> int:
        return pss_mb(self._api_pid)

    async def fill(self, roots: int) -> None:
        """Make load balancers until there are so many."""

        async def some() -> None:
            while self.load.roots < roots - 8:
                await self.load.root()

        await asyncio.gather(*(some() for _ in range(8)))
        while self.load.roots < roots:
            await self.load.root()


async def answers(port: int, path: str, within_s: float) -> None:
    """Return when the API says 200. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            line = await connected(port)
            status, _ = await line.ask(
                b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
            )
        except OSError:
            await asyncio.sleep(0.02)
            continue
        line.close()
        if status == 200:
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"no API answered on port {port} within {within_s:g} s")


def spent(figures: Figures) -> float:
    """Processor time of one request, in microseconds: API and database."""
    return figures["api_cpu_us"] + figures["database_cpu_us"]


def load_average() -> float:
    return round(os.getloadavg()[0], 2)
