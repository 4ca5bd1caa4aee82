# SPDX-License-Identifier: Apache-2.0
"""Long-lived processes that outlive the agent: their end is noticed at once, whoever started them.

It knows neither haproxy nor keepalived.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable


class Watched:
    """A process, child or not, whose end is noticed at once."""

    def __init__(
        self, pid: int, on_end: Callable[[], None], child: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        self._child = child
        self._on_end = on_end
        self._handle = os.pidfd_open(pid)
        self._over = asyncio.Event()
        self.pid = pid
        asyncio.get_running_loop().add_reader(self._handle, self._is_over)

    def kill(self) -> None:
        send_signal(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        send_signal(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(2.0):
                await self._over.wait()
        except TimeoutError:
            self.kill()
            await self._over.wait()

    def _is_over(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        if self._child is not None:
            self._child.wait()
        self._over.set()
        self._on_end()


def send_signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
