# SPDX-License-Identifier: Apache-2.0
"""Several processes that do the same work: forked, watched, started again, ended together.

They share what was loaded before the fork; each listens for itself (SO_REUSEPORT). Each watches one
socket that only this process holds open: it closes when this process ends, even when it is killed,
and then the workers end. What they do is not known here.
"""

import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from colonnade.runtime import sd_notify

PAUSE_MIN_S: Final = 0.2
PAUSE_MAX_S: Final = 10.0
STEADY_S: Final = 30.0
STOP_S: Final = 8.0
_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})

log = structlog.get_logger()

Work = Callable[[int, socket.socket], None]


def run_workers(number: int, work: Work) -> None:
    """Run `work` in so many processes until SIGTERM or SIGINT. It is told which of them it is, from
    0 on, and must return when the socket that it is given becomes readable. Call before any thread
    is started."""
    sd_notify.share(number)
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    ours, theirs = socket.socketpair()
    try:
        gc.freeze()  # else each collection copies what is shared
        workers = [
            _Worker(partial(_run_as, work, n), (ours, theirs), old_mask) for n in range(number)
        ]
        while not _told_to_stop(workers):
            for worker in workers:
                worker.keep()
        ours.close()
        _end(workers)
    finally:
        ours.close()
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)


def _run_as(work: Work, number: int, stop: socket.socket) -> None:
    sd_notify.of_worker(number)
    work(number, stop)


class _Worker:
    def __init__(
        self,
        work: Callable[[socket.socket], None],
        ends: tuple[socket.socket, socket.socket],
        mask: set[signal.Signals] | set[int],
    ) -> None:
        self._work = work
        self._ours, self._theirs = ends
        self._mask = mask
        self._pause_s = PAUSE_MIN_S
        self._since = 0.0
        self.pid = 0  # 0: it does not run
        self.due = 0.0

    def keep(self) -> None:
        """Start it when it does not run and has paused for long enough."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG) != (0, 0):
            steady = time.monotonic() - self._since > STEADY_S
            self._pause_s = PAUSE_MIN_S if steady else min(self._pause_s * 2, PAUSE_MAX_S)
            self.due = time.monotonic() + self._pause_s
            log.warning("worker ended", worker=self.pid, again_in_s=self._pause_s)
            self.pid = 0
        if not self.pid and self.due <= time.monotonic():
            self._since = time.monotonic()
            self.pid = os.fork() or self._run()

    def _run(self) -> int:
        """The child's whole life. Nothing of the parent's may run in it afterwards."""
        code = 1
        try:
            self._ours.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._work(self._theirs)
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the parent's stack is not to see it
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
        return code


def _told_to_stop(workers: list[_Worker]) -> bool:
    """Wait until something happens: a signal, or the end of a pause. True: stop."""
    waiting = [worker.due for worker in workers if not worker.pid]
    wait_s = max(0.0, min(waiting) - time.monotonic()) if waiting else PAUSE_MAX_S
    found = signal.sigtimedwait(_SIGNALS, wait_s)
    return found is not None and found.si_signo != signal.SIGCHLD


def _end(workers: list[_Worker]) -> None:
    """Wait until all have ended, and kill those that take too long."""
    until = time.monotonic() + STOP_S
    left = [worker.pid for worker in workers if worker.pid]
    while left:
        left = [pid for pid in left if os.waitpid(pid, os.WNOHANG) == (0, 0)]
        if left and time.monotonic() >= until:
            for pid in left:
                log.warning("worker would not stop", worker=pid)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            return
        if left:
            signal.sigtimedwait({signal.SIGCHLD}, max(0.0, until - time.monotonic()))
