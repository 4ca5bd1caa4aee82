# SPDX-License-Identifier: Apache-2.0
"""Processes that stand still for a while. One that ends of itself meanwhile is no fault."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator


@contextlib.contextmanager
def frozen(pids: Iterable[int]) -> Iterator[None]:
    """Stop them (SIGSTOP), and let them go on at the end.

    A backend of PostgreSQL may end between the listing and the stop, and is gone for good as soon
    as its parent goes on.
    """
    stopped = [pid for pid in pids if _is_told(pid, signal.SIGSTOP)]
    try:
        yield
    finally:
        for pid in stopped:
            _is_told(pid, signal.SIGCONT)


def _is_told(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
