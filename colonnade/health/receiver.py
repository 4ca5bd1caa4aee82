# SPDX-License-Identifier: Apache-2.0
"""Datagrams in: each is proven, fresh and of a known kind, or counted by reason and dropped.

Nothing is ever answered. The hot path touches memory only; whatever needs the database or the
network is left to those who are handed the accepted datagram. Knows no status and no row.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from ipaddress import ip_address
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from colonnade.health.senders import Sender, Senders, Unknown
from colonnade.protocol.datagram import (
    DATAGRAM_BYTES_MAX,
    Edge,
    Heartbeat,
    Kind,
    Rejected,
    Statistics,
    decode,
)
from colonnade.runtime.clock import Clock

log = structlog.get_logger()

BURST: Final = 200  # datagrams taken before others get their turn
BUFFER_BYTES: Final = 4 * 1024 * 1024
COUNT_MAX: Final = 2**63 - 1  # a bigint of the store
REPORT_S: Final = 60.0

_heartbeat = msgspec.msgpack.Decoder(Heartbeat)
_edge = msgspec.msgpack.Decoder(Edge)
_statistics = msgspec.msgpack.Decoder(Statistics)


class Audience(Protocol):
    """Who is told of accepted datagrams. Must return at once."""

    def heartbeat(self, amphora: UUID, sender: Sender, generation: int, beat: Heartbeat) -> None:
        """`sender.sequence` is the datagram's."""

    def edge(self, amphora: UUID, sender: Sender, generation: int, edge: Edge) -> None: ...

    def statistics(self, amphora: UUID, sender: Sender, statistics: Statistics) -> None: ...


class Receiver:
    def __init__(self, senders: Senders, audience: Audience, clock: Clock) -> None:
        self.rejected: Counter[str] = Counter()
        self.accepted = 0
        self._senders = senders
        self._audience = audience
        self._clock = clock
        self._reported: Counter[str] = Counter()

    def accept(self, datagram: bytes) -> None:
        """Take one datagram, or count it."""
        try:
            found = decode(datagram, self._senders.key_of)
        except Rejected as reason:
            self._reject(str(reason))
            return
        except Unknown as unknown:
            if not self._senders.hold(unknown.amphora, datagram):
                self._reject("unknown")
            return
        sender = self._senders.known[found.amphora]
        if found.sequence <= sender.sequence:
            self._reject("replayed")
            return
        if found.sequence > COUNT_MAX or found.generation > COUNT_MAX:
            self._reject("range")
            return
        sender.sequence = found.sequence
        sender.seen_at = self._clock.monotonic()
        try:
            match found.kind:
                case Kind.HEARTBEAT:
                    beat = _heartbeat.decode(found.payload)
                    self._audience.heartbeat(found.amphora, sender, found.generation, beat)
                case Kind.EDGE:
                    edge = _edge.decode(found.payload)
                    self._audience.edge(found.amphora, sender, found.generation, edge)
                case Kind.STATISTICS:
                    told = _statistics.decode(found.payload)
                    self._audience.statistics(found.amphora, sender, told)
                case _:
                    self._reject("kind")
                    return
        except msgspec.MsgspecError:
            self._reject("payload")
            return
        self.accepted += 1

    def listen(self, address: str, port: int) -> "Listening":
        """Receive on this address from now on. Raises OSError."""
        family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            sock.bind((address, port))
        except OSError:
            sock.close()
            raise
        asyncio.get_running_loop().add_reader(sock, self._drain, sock)
        return Listening(sock)

    async def report(self) -> None:
        """For ever: what was rejected, to the log."""
        while True:
            await self._clock.sleep(REPORT_S)
            since = self.rejected - self._reported
            self._reported = self.rejected.copy()
            if since:
                log.warning("datagrams rejected", seconds=REPORT_S, **since)

    def _drain(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(BURST):
                # One byte more than is allowed, so that too long a datagram is seen to be.
                self.accept(sock.recv(DATAGRAM_BYTES_MAX + 1))

    def _reject(self, reason: str) -> None:
        self.rejected[reason] += 1


class Listening:
    """An open socket of the receiver; to be closed by who opened it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.address, self.port = sock.getsockname()[:2]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
