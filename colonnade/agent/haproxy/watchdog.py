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

from colonnade.agent.haproxy.console import Question
from colonnade.agent.haproxy.process import Haproxy

log = logging.getLogger(__name__)
PAUSE_S: Final = 0.8  # between two answers
ANSWER_S_MAX: Final = 0.35
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
    try:
        with Question(haproxy.console.socket) as question:
            await question.wait(answer_s)
            if question.is_over:
                return Silence.NONE
            # Twice, for the answer may go from one process to another just as we look at them.
            found = _why(haproxy, haproxy.states() | haproxy.states())
            return Silence.NONE if question.is_over else found
    except BlockingIOError:
        await asyncio.sleep(answer_s)
        return _why(haproxy, haproxy.states())
    except OSError:  # it is not there: its end is noticed elsewhere
        return Silence.NONE


def _why(haproxy: Haproxy, states: set[str]) -> Silence:
    if STOPPED in states:
        return Silence.STOPPED
    return Silence.NONE if haproxy.is_reloading or BUSY & states else Silence.IDLE
