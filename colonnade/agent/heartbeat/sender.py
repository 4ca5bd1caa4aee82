# SPDX-License-Identifier: Apache-2.0
"""The amphora's voice over UDP, and the one thing it listens for there: "tasks pending".

Heartbeats go to the known receivers in turn; news go at once and again with the next beats,
because a datagram may be lost. Sequences rise for ever, also over restarts and a clock that is
set back. What is not signed with the amphora's own key, or not newer than the last, is counted
and dropped. It knows no haproxy.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final
from uuid import UUID

import msgspec

from colonnade.agent.folder import Folder, write_if_room
from colonnade.agent.haproxy.status import News, digest
from colonnade.agent.heartbeat import restart_notice
from colonnade.agent.heartbeat.restart_notice import LastHeartbeat, split_address
from colonnade.agent.heartbeat.sequence import Sequence64, read_number
from colonnade.protocol.datagram import (
    EDGES_MAX,
    PAYLOAD_BYTES_MAX,
    STATISTICS_LISTENERS_MAX,
    Datagram,
    Edge,
    Kind,
    Rejected,
    Statistics,
    decode,
    encode,
)
from colonnade.protocol.messages import ServerStatus, StatisticsReport, StatusReport

log = logging.getLogger(__name__)
REPEATS: Final = 2  # beats that carry an edge again
EDGES_KEPT_MAX: Final = 512


class HeartbeatSender(asyncio.DatagramProtocol):
    """One socket: sends to the receivers, hears of tasks."""

    def __init__(self, amphora_id: str, key: bytes, folder: Folder) -> None:
        self.receivers: Sequence[str] = ()
        self.generation: Callable[[], int] = lambda: 0
        self.on_tasks: Callable[[], None] = lambda: None
        self.dropped: Counter[str] = Counter()
        self._amphora = UUID(amphora_id)
        self._key = key
        self._sequence = Sequence64(folder)
        self._heard_path = folder.root / "heard"
        self._heard = read_number(self._heard_path)
        self._folder = folder
        self._last = LastHeartbeat()  # what is on file of it
        self._turn = 0
        self._edges: dict[tuple[str, str], int] = {}  # server -> beats that still repeat it
        self._process_edges = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, _addr: Any) -> None:
        try:
            heard = decode(data, lambda name: self._key if name == self._amphora else None)
        except Rejected as error:
            self._drop(str(error))
            return
        if heard.kind is not Kind.TASKS:
            self._drop("kind")
        elif heard.sequence <= self._heard:
            self._drop("sequence")
        else:
            self._heard = heard.sequence
            write_if_room(self._heard_path, str(self._heard).encode())
            self.on_tasks()

    def error_received(self, exc: Exception) -> None:
        log.debug("udp: %s", exc)  # a receiver that is down; another has the next turn

    def beat(self, report: StatusReport) -> None:
        """One heartbeat, and the recent news again."""
        self._send_heartbeat(report)
        if self._edges or self._process_edges:
            again = {name for name, left in self._edges.items() if left > 0}
            self._send_edges([s for s in report.servers if (s.backend, s.name) in again], report)
            self._edges = {name: left - 1 for name, left in self._edges.items() if left > 1}
            self._process_edges = max(0, self._process_edges - 1)
        self._turn += 1

    def tell(self, news: News) -> None:
        """Send what just changed, at once, and a heartbeat with the new digest."""
        for server in islice(news.changed, EDGES_KEPT_MAX):
            self._edges[server.backend, server.name] = REPEATS
        if news.process_changed:
            self._process_edges = REPEATS
        if news.changed or news.process_changed:
            self._send_edges(news.changed[:EDGES_KEPT_MAX], news.report)
        self._send_heartbeat(news.report)

    def count(self, report: StatisticsReport) -> None:
        """All counters, a few listeners a datagram."""
        rows = [
            (
                one.name,
                one.active_connections,
                one.bytes_in,
                one.bytes_out,
                one.request_errors,
                one.total_connections,
            )
            for one in report.listeners
        ]
        for start in range(0, len(rows), STATISTICS_LISTENERS_MAX):
            some = tuple(rows[start : start + STATISTICS_LISTENERS_MAX])
            self._send(Kind.STATISTICS, msgspec.msgpack.encode(Statistics(some)))

    def _send_heartbeat(self, report: StatusReport) -> None:
        last = LastHeartbeat(
            amphora=self._amphora,
            receivers=tuple(self.receivers),
            generation=self.generation(),
            status=digest(report),
            haproxy_running=report.haproxy_running,
        )
        self._send(Kind.HEARTBEAT, restart_notice.payload(last))
        if last != self._last and restart_notice.remember(last, self._folder):
            self._last = last

    def _send_edges(self, servers: Sequence[ServerStatus], report: StatusReport) -> None:
        running = report.haproxy_running
        told = [(s.backend, s.name, s.state) for s in servers]
        for start in range(0, max(1, len(told)), EDGES_MAX):
            edge = Edge(tuple(told[start : start + EDGES_MAX]), running)
            self._send(Kind.EDGE, msgspec.msgpack.encode(edge))

    def _send(self, kind: Kind, payload: bytes) -> None:
        if self._transport is None or not self.receivers:
            return
        if len(payload) > PAYLOAD_BYTES_MAX:
            log.warning("too long to send: %s", kind.name)
            return
        datagram = Datagram(
            kind=kind,
            amphora=self._amphora,
            sequence=self._sequence.next(),
            generation=self.generation(),
            payload=payload,
        )
        host, port = split_address(self.receivers[self._turn % len(self.receivers)])
        self._transport.sendto(encode(datagram, self._key), (host, port))

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1
        count = self.dropped[reason]
        if count & (count - 1) == 0:  # ever more seldom: a flood must not fill the log
            log.info("dropped a datagram: %s (%d so far)", reason, count)
