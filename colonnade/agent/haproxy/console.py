# SPDX-License-Identifier: Apache-2.0
"""haproxy's command line, spoken over the socket of its master process.

One command a connection: an answer can then not be taken for another's. Commands for a worker
go through the master too, because the master always means the newest worker, while the
worker's own socket may for a moment still be answered by the one that is leaving.
"""

import asyncio
import contextlib
import re
import select
import socket
from pathlib import Path
from typing import Final

from colonnade.runtime.readiness import readable

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
ANSWER_S_MAX: Final = 5.0
NEWEST: Final = "@1"
_WORKER = re.compile(r"^(\d+)\s+worker\s", re.MULTILINE)
_FORBIDDEN = re.compile(r"[;\n\r\\<]")


class Silent(Exception):
    """haproxy did not answer: it is not there, or stuck."""


class Question:
    """One to haproxy's newest worker, of which only matters whether it is answered.

    The kernel says whether it is: an answer that waits for us has come, however late we look.
    """

    def __init__(self, console: Path) -> None:
        """Raises BlockingIOError when so many ask that nobody else can, and OSError when haproxy is
        not there."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(str(console))
            self._socket.sendall(f"{NEWEST} show version\n".encode())
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> "Question":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    async def wait(self, within_s: float) -> None:
        """Until it is over, but no longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await readable(self.fileno())

    @property
    def is_over(self) -> bool:
        """Whether it is answered by now, or never will be for haproxy closed the connection."""
        asked = select.poll()
        asked.register(self, select.POLLIN)
        return bool(asked.poll(0))


class Console:
    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def ask(
        self, command: str, *, worker: str = NEWEST, within_s: float = ANSWER_S_MAX
    ) -> str:
        """A worker's answer, without the empty lines around it. Raises Silent."""
        assert not _FORBIDDEN.search(command), "one command at a time"
        return (await self._exchange(f"{worker} {command}", within_s)).strip()

    async def give(self, command: str, text: str) -> str:
        """As `ask`, with a text that the command takes. The answer never quotes it."""
        assert not _FORBIDDEN.search(command), "one command at a time"
        lines = "\n".join(line for line in text.splitlines() if line)  # an empty one ends it
        return (await self._exchange(f"{NEWEST} {command} <<\n{lines}\n")).strip()

    async def workers(self) -> list[int]:
        """Process ids of all workers, the newest first; the others are finishing. Raises
        Silent."""
        return [int(pid) for pid in _WORKER.findall(await self._exchange("show proc"))]

    async def reload(self) -> str:
        """Load the file anew. "" when that worked, else haproxy's words. Raises Silent."""
        answer = await self._exchange("reload", within_s=30.0)
        return "" if answer.startswith("Success=1") else answer.strip() or "reload failed"

    async def _exchange(self, line: str, within_s: float = ANSWER_S_MAX) -> str:
        try:
            async with asyncio.timeout(within_s):
                return await self._spoken(line)
        except (OSError, TimeoutError) as error:
            raise Silent(f"haproxy does not answer: {error}") from error

    async def _spoken(self, line: str) -> str:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(line.encode() + b"\n")
            writer.write_eof()
            parts, size = [], 0
            while part := await reader.read(65536):
                parts.append(part)
                size += len(part)
                if size > ANSWER_BYTES_MAX:
                    raise Silent("haproxy's answer does not end")
        finally:
            writer.close()
        return b"".join(parts).decode(errors="replace")


def speakable(text: str) -> bool:
    """Whether a text may be part of a command: it holds nothing that ends or splits one."""
    return _FORBIDDEN.search(text) is None
