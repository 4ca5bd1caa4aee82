# SPDX-License-Identifier: Apache-2.0
"""End an haproxy that runs and does not answer, so that a new one takes its place.

The end of a process is noticed elsewhere. A process that is stopped, or waits for ever, is noticed
here within two seconds. Invariant: one that only lacks processor time, or is loading its file, is
left alone. It knows no bundle, and nobody waits for it.
"""

import asyncio
import logging
from enum import Enum
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
            missed = await silence(self._haproxy, ANSWER_S_MAX) is not Silence.NONE
            misses = misses + 1 if missed else 0
            if misses == MISSES_MAX:
                log.error("haproxy runs and does not answer: it is ended")
                self._haproxy.kill()
                misses = 0


class Silence(Enum):
    """Why haproxy did not answer."""

    NONE = "it answered, or could not be expected to"
    IDLE = "it waits for something else"
    STOPPED = "it is stopped"


async def silence(haproxy: Haproxy, answer_s: float) -> Silence:
    """Whether haproxy did not answer in that time, though it had processor time to do so."""
    if not haproxy.is_running:
        return Silence.NONE
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        await haproxy.console.ask("show info", within_s=answer_s)
    except Silent:
        took = loop.time() - began
    else:
        return Silence.NONE
    states = haproxy.states()
    if STOPPED in states:
        return Silence.STOPPED  # also where so many have asked that it lets nobody ask any more
    if not answer_s <= took < answer_s + LATE_S:
        return Silence.NONE  # it closed the connection, or we were late ourselves
    busy = haproxy.is_reloading or BUSY & states
    return Silence.NONE if busy else Silence.IDLE
