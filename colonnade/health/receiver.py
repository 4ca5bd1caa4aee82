# SPDX-License-Identifier: Apache-2.0
"""Datagrams in: each is proven, fresh and of a known kind, or counted by reason and dropped.

The receiver never answers. The hot path touches memory only; work that needs the database or the
network is left to the audience of accepted datagrams. The receiver tells how many datagrams the
kernel dropped because the buffer was full: the judgement of silence must know that an amphora may
have spoken unheard. This module knows no status and no row.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from ipaddress import ip_address
from typing import Final, Protocol

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
    open_datagram,
)
from colonnade.runtime.clock import Clock

log = structlog.get_logger()

BURST: Final = 500  # datagrams taken before other tasks get their turn
GATHER_S: Final = 0.005  # after a burst: being woken for a datagram costs more than taking it
BUFFER_BYTES: Final = 4 * 1024 * 1024
SO_MEMINFO: Final = 55  # Linux, asm-generic/socket.h
MEMINFO: Final = struct.Struct("9I")  # linux/sock_diag.h
DROPS: Final = 8  # the last of these numbers
COUNT_MAX: Final = 2**63 - 1  # a bigint of the store
REPORT_S: Final = 60.0
BUFFERED_MAX: Final = 2 * BUFFER_BYTES // 512  # more than fit: the kernel counts 768 for each

# Nested too deeply, and text that is none, are not msgspec's own kind of error.
ILL_FORMED: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

_heartbeat = msgspec.msgpack.Decoder(Heartbeat)
_edge = msgspec.msgpack.Decoder(Edge)
_statistics = msgspec.msgpack.Decoder(Statistics)


class Audience(Protocol):
    """Takes accepted datagrams. Its methods must return at once."""

    def heartbeat(self, sender: Sender, generation: int, beat: Heartbeat) -> None:
        """`sender.sequence` is the datagram's."""

    def edge(self, sender: Sender, generation: int, edge: Edge) -> None: ...

    def statistics(self, sender: Sender, statistics: Statistics) -> None: ...


class Receiver:
    def __init__(self, senders: Senders, audience: Audience, clock: Clock) -> None:
        self.rejected: Counter[str] = Counter()
        self.accepted = 0
        self.heard_at = float("-inf")  # when a datagram was last accepted, from anyone
        self.open: list[Listening] = []
        self._senders = senders
        self._audience = audience
        self._clock = clock
        self._reported: Counter[str] = Counter()

    def accept(self, datagram: bytes) -> None:
        """Take one datagram, or count it."""
        try:
            kind, name, sequence, generation, payload = open_datagram(
                datagram, self._senders.key_of
            )
        except Rejected as reason:
            self.rejected[str(reason)] += 1
            return
        except Unknown as unknown:
            if not self._senders.hold(unknown.name, datagram):
                self.rejected["unknown"] += 1
            return
        sender = self._senders.known[name]
        if sequence <= sender.sequence:
            self.rejected["replayed"] += 1
            return
        if sequence > COUNT_MAX or generation > COUNT_MAX:
            self.rejected["range"] += 1
            return
        sender.sequence = sequence
        sender.heard_at = self.heard_at = self._clock.monotonic()
        try:
            match kind:
                case Kind.HEARTBEAT:
                    self._audience.heartbeat(sender, generation, _heartbeat.decode(payload))
                case Kind.EDGE:
                    self._audience.edge(sender, generation, _edge.decode(payload))
                case Kind.STATISTICS:
                    self._audience.statistics(sender, _statistics.decode(payload))
                case _:
                    self.rejected["kind"] += 1
                    return
        except ILL_FORMED:
            self.rejected["payload"] += 1
            return
        self.accepted += 1

    def listen(
        self, address: str, port: int, *, shared: bool = False, buffer_bytes: int = BUFFER_BYTES
    ) -> "Listening":
        """Receive on this address from now on. `shared`: other processes may open it with `shared`
        too. Raises OSError."""
        family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            _enlarge(sock, buffer_bytes)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((address, port))
        except OSError:
            sock.close()
            raise
        return Listening(sock, self)

    def catch_up(self) -> None:
        """Take what waits in the buffers now."""
        for listening in self.open:
            listening.take(BUFFERED_MAX)

    def dropped(self) -> int:
        """Datagrams that the kernel had no room for, since the sockets were opened."""
        return sum(listening.dropped() for listening in self.open)

    def knows_everyone(self) -> bool:
        """False: an amphora may be taken for a stranger."""
        return self._senders.is_complete

    async def report(self) -> None:
        """For ever: what was rejected, to the log."""
        while True:
            await self._clock.sleep(REPORT_S)
            since = self.rejected - self._reported
            self._reported = self.rejected.copy()
            if since:
                log.warning("datagrams rejected", seconds=REPORT_S, **since)


class Listening:
    """An open socket of the receiver. Whoever opened it closes it. Under load it takes datagrams in
    bursts, instead of being woken for each."""

    def __init__(self, sock: socket.socket, receiver: Receiver) -> None:
        self._sock = sock
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.Handle | None = None
        self.address, self.port = sock.getsockname()[:2]
        receiver.open.append(self)
        self._wait()

    def take(self, most: int) -> int:
        """Hand over waiting datagrams, at most so many. Returns their number."""
        accept, receive = self._receiver.accept, self._sock.recv
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while taken < most:
                # One byte more than is allowed, so that too long a datagram is seen to be.
                accept(receive(DATAGRAM_BYTES_MAX + 1))
                taken += 1
        return taken

    def dropped(self) -> int:
        told = self._sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
        return int(MEMINFO.unpack(told)[DROPS])

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._receiver.open.remove(self)
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _wait(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._woken)

    def _woken(self) -> None:
        self._loop.remove_reader(self._sock)
        self._again()

    def _again(self) -> None:
        taken = 0
        try:
            taken = self.take(BURST)
        finally:  # also after a bug, which must not stop the receiver from listening
            if taken == BURST:
                self._pause = self._loop.call_soon(self._again)
            elif taken:
                self._pause = self._loop.call_later(GATHER_S, self._again)
            else:
                self._wait()


def _enlarge(sock: socket.socket, wanted: int) -> None:
    """As large a buffer as the machine gives; `net.core.rmem_max` bounds it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
    # The kernel reports twice what it gave.
    given = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    if given < wanted:
        log.warning("small receive buffer: raise net.core.rmem_max", bytes=given, wanted=wanted)
