# SPDX-License-Identifier: Apache-2.0
"""Work that goes on until the process is told to end: SIGTERM or SIGINT.

Invariant: whatever the work waits for, it ends when told. It knows nothing of what is done.
"""

import asyncio
import signal
import socket
from collections.abc import Coroutine
from typing import Any, Final

AGAIN_S: Final = 2.0  # more than it takes to close what is open


async def until_told(work: Coroutine[Any, Any, None], stop: socket.socket | None = None) -> bool:
    """Whether it was told to end, rather than ended by itself; also by `stop` being readable.
    Raises what the work raises.

    The work is cancelled, and again if it goes on: in Python 3.11 `asyncio.wait_for`, by which
    libraries wait, may swallow a cancellation that comes as what it waits for is there."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    if stop is not None:
        asyncio.get_running_loop().add_reader(stop.fileno(), told.set)
    working = asyncio.create_task(work)
    telling = asyncio.create_task(told.wait())
    try:
        await asyncio.wait({working, telling}, return_when=asyncio.FIRST_COMPLETED)
        while not working.done():
            working.cancel()
            await asyncio.wait({working}, timeout=AGAIN_S)
    finally:
        telling.cancel()
        working.cancel()
    if working.cancelled():
        return True
    working.result()
    return told.is_set()
