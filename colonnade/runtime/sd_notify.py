# SPDX-License-Identifier: Apache-2.0
"""Tell the service manager that this process serves, and that its event loop is alive.

The datagrams of sd_notify(3), to the socket that `NOTIFY_SOCKET` names; without one nothing is
said. The event loop itself says `WATCHDOG=1`, so a loop that hangs says nothing and is replaced. Of
several workers none says it unless all of them are alive. Nothing that is started from here
inherits the variables. It knows no process by name.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Final

import structlog

from colonnade.runtime.shared_cells import Cells

BEATS: Final = 3  # in the time after which the manager thinks that we hang
BEAT_S: Final = 5.0  # where no manager watches

log = structlog.get_logger()


class _Worker:
    """Which of how many workers this process is, and when each was alive last."""

    beats = Cells(1, 1)
    number = 0


def share(workers: int) -> None:
    """Call before the workers are forked."""
    _Worker.beats = Cells(1, workers)


def of_worker(number: int) -> None:
    _Worker.number = number
    _Worker.beats.row(number)[0] = 0.0  # it stands in the place of one that ended


@contextlib.asynccontextmanager
async def telling() -> AsyncIterator[None]:
    """This process serves while the context lasts."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    limit_s = float(os.environ.pop("WATCHDOG_USEC", "0")) / 1e6
    os.environ.pop("WATCHDOG_PID", "")  # of another pid namespace, maybe
    if not address:
        yield
        return
    beating = asyncio.create_task(_beat(address, limit_s))
    try:
        yield
    finally:
        beating.cancel()


async def _beat(address: str, limit_s: float) -> None:
    is_ready = False
    while True:
        now = time.monotonic()
        _Worker.beats.row(_Worker.number)[0] = now
        if _all_since(now - limit_s if limit_s and is_ready else 0.0):
            _say(address, "WATCHDOG=1" if is_ready else "READY=1\nWATCHDOG=1")
            is_ready = True
        await asyncio.sleep(limit_s / BEATS if limit_s else BEAT_S)


def _all_since(moment: float) -> bool:
    return all(beat > moment for beat in _Worker.beats.each())


def _say(address: str, text: str) -> None:
    """A manager that is busy or gone is no reason to end, or to wait."""
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
        try:
            sending.sendto(text.encode(), name)
        except OSError as error:
            log.warning("the service manager does not hear us", error=str(error))
