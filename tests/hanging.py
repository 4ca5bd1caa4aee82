# SPDX-License-Identifier: Apache-2.0
"""A test that hangs fails, and says what waits for what.

By a signal, not by a thread: tests make namespaces, which only a process of one thread may. Where
nobody of Python is reached any more (a call into C that does not return) it says nothing.
"""

import asyncio
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TextIO

import pytest

# Ten times what the longest takes on a busy machine. `MINUTES` prolongs some tests of chaos.
TEST_S_MAX: Final = 600.0 + 60 * float(os.environ.get("MINUTES", "0"))
AGAIN_S: Final = 10.0  # if the failure reached a task that nobody waits for


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    def over(*_: object) -> NoReturn:
        with item.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            tell(item.nodeid, sys.stderr)
        pytest.fail(f"it hung for {TEST_S_MAX:g} s; what waited is in the output", pytrace=True)

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, TEST_S_MAX, AGAIN_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def tell(name: str, to: TextIO) -> None:
    """The stack of each thread, and of each task of asyncio."""
    print(f"\n{name} hangs", file=to)
    faulthandler.dump_traceback(to, all_threads=True)
    for task in [one for one in gc.get_objects() if isinstance(one, asyncio.Task)]:
        if not task.done():
            task.print_stack(file=to)
