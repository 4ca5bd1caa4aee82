# SPDX-License-Identifier: Apache-2.0
"""The socket that haproxy's access logs arrive on: datagrams into the spool.

A datagram is the listener's id, a space and the line, as the rendered `log-format` says it;
whatever else haproxy says there ("Proxy started") is none and is passed over. Nothing a client
sends can come before the id. haproxy never waits for us: what is not read in time is lost and
traffic goes on. Knows no target.
"""

import asyncio
import logging
import re
import socket
from pathlib import Path
from typing import Final

from colonnade.agent.logs.spool import Spool

log = logging.getLogger(__name__)
LINE_BYTES_MAX: Final = 65536
BATCH: Final = 256  # datagrams taken before anything else has its turn
QUEUE: Final = 4096  # datagrams that wait for us; the kernel's own limit is 10
_QUEUE_FILE: Final = Path("/proc/sys/net/unix/max_dgram_qlen")
_LISTENER: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Collector:
    """Collects from when it is made until it is closed. Needs a running loop."""

    def __init__(self, path: Path, spool: Spool) -> None:
        self._spool = spool
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        path.chmod(0o600)
        asyncio.get_running_loop().add_reader(self._socket, self._take)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._take()
        self._socket.close()

    def _take(self) -> None:
        found: dict[bytes, list[bytes]] = {}
        for _ in range(BATCH):
            try:
                datagram = self._socket.recv(LINE_BYTES_MAX)
            except BlockingIOError:
                break
            listener, _, line = datagram.partition(b" ")
            if _LISTENER.fullmatch(listener):
                found.setdefault(listener, []).append(line.rstrip(b"\n").replace(b"\n", b" "))
        for listener, lines in found.items():
            self._spool.append(listener.decode(), lines)


def widen_queue() -> None:
    """For sockets made from now on in this network namespace."""
    try:
        _QUEUE_FILE.write_text(f"{QUEUE}\n")
    except OSError as error:
        log.info("bursts of requests may lose log lines: %s", error)
