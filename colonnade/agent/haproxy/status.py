# SPDX-License-Identifier: Apache-2.0
"""Look at haproxy: statuses when something may have changed, counters from time to time.

Invariant: `report` is what was last seen, and every difference between two looks is told once to
`on_news`. A line in haproxy's log is a reason to look; its text is not read. It knows no network.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec

from colonnade.agent.folder import Folder, write_if_room
from colonnade.agent.haproxy import statistics
from colonnade.agent.haproxy.console import Silent
from colonnade.agent.haproxy.process import Haproxy
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.messages import ServerStatus, StatisticsReport, StatusReport, Trouble

log = logging.getLogger(__name__)
PAUSE_S: Final = 0.05  # between two looks, so that a storm of log lines costs little
SILENT_S_MAX: Final = 3.0  # a haproxy that says nothing for longer does not run
EMPTY: Final = Bundle(generation=0, config="", frame="")


class News(msgspec.Struct, frozen=True):
    report: StatusReport
    changed: tuple[ServerStatus, ...]
    process_changed: bool  # haproxy began or ended


class Watch:
    def __init__(self, folder: Folder, haproxy: Haproxy) -> None:
        self.served: Bundle | None = None
        self.report = StatusReport(generation=0, haproxy_running=False)
        self.on_news: Callable[[News], None] = lambda _news: None
        self.troubles: Callable[[Bundle | None, StatusReport], tuple[Trouble, ...]] = (
            lambda _served, _seen: ()
        )
        self.role: Callable[[], str] = lambda: ""
        self.is_heard: Callable[[], bool] = lambda: False
        self.gave_up: Callable[[], bool] = lambda: False  # haproxy is known not to answer
        self.old_workers_max = 24  # of those that finish after reloads, how many are counted
        self._folder = folder
        self._haproxy = haproxy
        self._wanted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._counting = asyncio.Lock()
        self._counters = _saved_counters(folder)

    def look(self) -> None:
        """Ask for statuses to be read soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Look whenever haproxy logs something or somebody asks. Ends only when cancelled."""
        loop = asyncio.get_running_loop()
        self._folder.log_socket.unlink(missing_ok=True)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _LogLines(self.look),
            local_addr=str(self._folder.log_socket),
            family=socket.AF_UNIX,
        )
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self.refresh()
                await asyncio.sleep(PAUSE_S)
        finally:
            transport.close()

    def ended(self) -> None:
        """haproxy ended: news at once, for it may be back before anybody looks."""
        before = self.report
        self.report = StatusReport(generation=before.generation, haproxy_running=False)
        if before.haproxy_running:
            self.on_news(_news(before, self.report))

    def role_changed(self) -> None:
        """News at once, whatever haproxy does: who holds the VIPs cannot wait for it."""
        before = self.report
        self.report = msgspec.structs.replace(before, role=self.role())
        self.on_news(_news(before, self.report))

    async def refresh(self) -> StatusReport:
        """Read the statuses now, tell `on_news` of differences, and return them."""
        async with self._lock:
            before = self.report
            seen = await self._seen()
            self.report = msgspec.structs.replace(
                seen,
                troubles=self.troubles(self.served, seen),
                role=self.role(),
                is_heard=self.is_heard(),
            )
            if before != self.report:
                self.on_news(_news(before, self.report))
            return self.report

    async def count(self) -> StatisticsReport:
        """Read the counters of all workers, also of those that are finishing."""
        async with self._counting:  # older numbers after newer ones would count twice
            return await self._counted()

    async def _counted(self) -> StatisticsReport:
        self._haproxy.forget_output()  # it grows with every change of a server
        if self._haproxy.is_running:
            try:
                samples = await self._samples()
            except Silent as error:
                log.warning("no statistics: %s", error)
                return self._counters.report(self.served or EMPTY)
        else:
            samples = {}
        counters = self._counters.read(samples)
        if counters != self._counters:
            self._counters = counters
            write_if_room(self._folder.counters, msgspec.json.encode(counters))
        return counters.report(self.served or EMPTY)

    async def _samples(self) -> dict[int, dict[str, statistics.Totals]]:
        console = self._haproxy.console
        samples = {}
        for pid in (await console.workers())[: self.old_workers_max + 1]:
            try:
                answer = await console.ask(statistics.SHOW, worker=f"@!{pid}")
            except Silent:
                continue  # it ended between the two questions
            samples[pid] = statistics.totals(statistics.rows(answer))
        return samples

    async def _seen(self) -> StatusReport:
        served = self.served or EMPTY
        deadline = asyncio.get_running_loop().time() + SILENT_S_MAX
        while self._haproxy.is_running and not self.gave_up():
            try:
                answer = await self._haproxy.console.ask(statistics.SHOW)
                return statistics.status(statistics.rows(answer), served, self.report)
            except Silent as error:
                # While it reloads, the master cannot be reached for a moment.
                if asyncio.get_running_loop().time() > deadline:
                    log.warning("no status: %s", error)
                    break
            await asyncio.sleep(PAUSE_S)
        return StatusReport(generation=served.generation, haproxy_running=False)


def digest(report: StatusReport) -> bytes:
    """What a heartbeat carries of a report: see `protocol.datagram.Heartbeat`."""
    return sha256(msgspec.json.encode(report)).digest()[:16]


def _news(before: StatusReport, now: StatusReport) -> News:
    known = {(s.backend, s.name): s.state for s in before.servers}
    changed = tuple(s for s in now.servers if known.get((s.backend, s.name), "UP") != s.state)
    return News(now, changed, before.haproxy_running != now.haproxy_running)


def _saved_counters(folder: Folder) -> statistics.Counters:
    try:
        return msgspec.json.decode(folder.counters.read_bytes(), type=statistics.Counters)
    except (FileNotFoundError, msgspec.MsgspecError):
        return statistics.Counters()


class _LogLines(asyncio.DatagramProtocol):
    def __init__(self, on_line: Callable[[], None]) -> None:
        self._on_line = on_line

    def datagram_received(self, _data: bytes, _addr: Any) -> None:
        self._on_line()
