# SPDX-License-Identifier: Apache-2.0
"""A stream of requests from a host of the lab, and the record of how each went.

One `Visits` is one client process inside; its lines arrive here as they end. Times are seconds
since 1970 on the one clock of this machine.
"""

import asyncio
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Sequence

import msgspec

from colonnade.domain.errors import Unavailable


class Visit(msgspec.Struct, frozen=True):
    """One request. `by` is the answering server; empty when it failed, and `why` says so."""

    began: float
    ended: float
    by: str
    why: str

    @property
    def ok(self) -> bool:
        return self.by != ""


class Visits:
    """Use as an async context manager: requests flow inside it. `within_s`: how long a request may
    take, else what the client takes for long."""

    def __init__(
        self, enter: Sequence[str], url: str, *, rate: float, within_s: float | None = None
    ) -> None:
        self._argv = (
            *enter,
            sys.executable,
            "-m",
            "colonnade.cli.lab.http_tool",
            "load",
            url,
            str(rate),
            *([] if within_s is None else [str(within_s)]),
        )
        self.all: list[Visit] = []
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> "Visits":
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._argv, stdin=pipe, stdout=pipe)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._reader

    def failed(self, *, since: float = 0.0) -> list[Visit]:
        return [v for v in self.all if not v.ok and v.began >= since]

    def shares(self, *, since: float = 0.0) -> Counter[str]:
        return Counter(v.by for v in self.all if v.ok and v.began >= since)

    async def first_ok(
        self, *, since: float, by: str = "", within_s: float = 30.0, what: str = "an answer"
    ) -> Visit:
        """The first good visit that began after `since` (and was served by `by`)."""
        checked = 0
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            for visit in self.all[checked:]:
                if visit.ok and visit.began >= since and by in ("", visit.by):
                    return visit
            checked = len(self.all)
            self._arrived.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                raise Unavailable(f"{what}: not within {within_s:g} s") from None

    def last_by(self, server: str, *, since: float) -> float:
        """When the last request that `server` answered was begun, `since` if none was."""
        return max(
            (v.began for v in self.all if v.by == server and v.began >= since), default=since
        )

    def longest_gap(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Seconds between two answers that ended until then; the first of them may be the last
        before `since`."""
        ends = sorted(visit.ended for visit in self.all if visit.ok and visit.ended <= until)
        before = [at for at in ends if at <= since][-1:]
        times = [*before, *(at for at in ends if at > since)]
        return max((b - a for a, b in itertools.pairwise(times)), default=float("inf"))

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.all.append(msgspec.json.decode(line, type=Visit))
            self._arrived.set()
