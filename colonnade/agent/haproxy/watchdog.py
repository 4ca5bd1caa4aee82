# SPDX-License-Identifier: Apache-2.0
"""End an haproxy that runs and does not answer, so that a new one takes its place.

The end of a process is noticed elsewhere. A process that is stopped, or waits for ever, is noticed
here within two seconds. Invariant: one that only lacks processor time, or is loading its file, is
left alone. It knows no bundle, and nobody waits for it.
"""

import asyncio
import logging
from typing import Final

from colonnade.agent.haproxy.console import Silent
from colonnade.agent.haproxy.process import Haproxy

log = logging.getLogger(__name__)
PAUSE_S: Final = 0.8  # between two answers
ANSWER_S_MAX: Final = 0.35
LATE_S: Final = 0.15  # a question that took so much longer says that the agent itself was slow
MISSES_MAX: Final = 3  # one after the other
STOPPED, BUSY = "T", {"R", "D"}  # proc_pid_stat(5): stopped; runs or would; waits for a disk


class Pulse:
    def __init__(self, haproxy: Haproxy) -> None:
        self._haproxy = haproxy

    async def run(self) -> None:
        """Ask for ever. Ends only when cancelled."""
        misses = 0
        while True:
            if not misses:
                await asyncio.sleep(PAUSE_S)
            misses = misses + 1 if await self._missed() else 0
            if misses == MISSES_MAX:
                log.error("haproxy runs and does not answer: it is ended")
                self._haproxy.kill()
                misses = 0

    async def _missed(self) -> bool:
        """Whether haproxy did not answer in time, though it had processor time to do so."""
        if not self._haproxy.is_running:
            return False
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._haproxy.console.ask("show info", within_s=ANSWER_S_MAX)
        except Silent:
            took = loop.time() - began
        else:
            return False
        if not ANSWER_S_MAX <= took < ANSWER_S_MAX + LATE_S:
            return False  # it closed the connection, or we were late ourselves
        states = self._haproxy.states()
        busy = self._haproxy.is_reloading or BUSY & states
        return STOPPED in states or not busy
