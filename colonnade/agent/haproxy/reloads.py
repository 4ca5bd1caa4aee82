# SPDX-License-Identifier: Apache-2.0
"""Reloads of haproxy, few and affordable.

Invariant: two reloads begin at least `Limits.pause_s` apart; the first after a quiet time is not
kept waiting; one that would take more memory than there is, is not begun; not more than
`Limits.old_workers_max` workers finish old connections at a time. The one that carries the least
is ended first, so that clients who only keep a connection for later cost nobody one that is in
use. How old a worker gets is limited by haproxy's file. It knows no bundle.
"""

import asyncio
import logging
import signal
from typing import Final

import msgspec

from colonnade.agent.haproxy import memory, statistics
from colonnade.agent.haproxy.console import Silent
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.watched import send_signal

log = logging.getLogger(__name__)
STOP_S_MAX: Final = 2.0
SHOW_BACKENDS: Final = "show stat -1 2 -1"


class TooLittleMemory(Exception):
    """Nothing was done; it may be asked again when there is more."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    pause_s: float = 1.0
    old_workers_max: int = 24
    memory_reserve_mib: int = 32  # left over for connections, after a reload


class Reloads:
    def __init__(self, haproxy: Haproxy, limits: Limits) -> None:
        self._haproxy = haproxy
        self._limits = limits
        self._begun_at = float("-inf")

    def pause_s(self) -> float:
        """Seconds that the next reload must wait."""
        now = asyncio.get_running_loop().time()
        return max(0.0, self._begun_at + self._limits.pause_s - now)

    async def afford(self, growth: float) -> None:
        """Raises TooLittleMemory. `growth`: how many times as long the file is as the one of
        the running worker."""
        try:
            workers = await self._haproxy.console.workers()
        except Silent:
            return  # not known here: the reload itself will show it
        if not workers:
            return
        need = int(memory.held_bytes(workers[0]) * max(1.0, growth))
        there = memory.available_bytes()
        if need + self._limits.memory_reserve_mib * memory.MIB > there:
            raise TooLittleMemory(
                f"a reload needs about {need // memory.MIB} MiB of memory, and "
                f"{self._limits.memory_reserve_mib} MiB are to be left; the amphora has "
                f"{there // memory.MIB} MiB ({len(workers) - 1} workers finish old connections)"
            )

    async def reload(self) -> str:
        """Load the file anew, in its turn. "" or haproxy's words."""
        await asyncio.sleep(self.pause_s())
        self._begun_at = asyncio.get_running_loop().time()
        objection = await self._haproxy.reload()
        if not objection:
            await self._end_least()
        return objection

    async def old_stopped(self) -> None:
        """Return when no old worker accepts connections any more: for a moment after a reload
        it may, on a port that the new one does not have. Raises Silent."""
        deadline = asyncio.get_running_loop().time() + STOP_S_MAX
        while await self._some_accept():
            if asyncio.get_running_loop().time() > deadline:
                raise Silent("an old worker does not stop to listen")
            await asyncio.sleep(0.01)

    async def _some_accept(self) -> bool:
        console = self._haproxy.console
        for pid in (await console.workers())[1:]:
            try:
                if "\nStopping: 0" in await console.ask("show info", worker=f"@!{pid}"):
                    return True
            except Silent:
                continue  # it ended between the two questions
        return False

    async def _end_least(self) -> None:
        """End as many as are too many: those with the least to do, of equals the oldest."""
        try:
            old = (await self._haproxy.console.workers())[1:]
        except Silent as error:
            log.warning("old workers are not counted: %s", error)
            return
        excess = len(old) - self._limits.old_workers_max
        if excess <= 0:
            return
        carried = [(await self._carried(pid), pid) for pid in reversed(old)]
        for count, pid in sorted(carried, key=lambda one: one[0])[:excess]:
            log.warning("worker %d is ended with %d streams: too many reloads", pid, count)
            send_signal(pid, signal.SIGTERM)

    async def _carried(self, pid: int) -> int:
        """Requests and connections between clients and members; idle clients do not count."""
        try:
            answer = await self._haproxy.console.ask(SHOW_BACKENDS, worker=f"@!{pid}")
        except Silent:
            return 0  # it ended between the two questions
        return sum(int(row["scur"] or 0) for row in statistics.rows(answer))
