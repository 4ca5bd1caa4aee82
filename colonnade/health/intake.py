# SPDX-License-Identifier: Apache-2.0
"""What accepted datagrams mean for the store: batches, statuses at once, statistics.

Heartbeats and counters wait for the next flush and only the newest of each is kept, so memory is
bounded by the number of amphorae and listeners. A change of members is written as it comes. After
a heartbeat with a new digest the amphora is asked for its whole status, after a datagram of
counters for all that it counts. One amphora is worked on by one worker at a time. A failure loses
nothing: the next heartbeat brings the digest again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter

from colonnade.domain.errors import ColonnadeError, Unavailable
from colonnade.domain.fleet import Amphora, Role
from colonnade.domain.ids import AmphoraId, ListenerId
from colonnade.domain.lifecycle import ANSWERING
from colonnade.domain.operating import Facts
from colonnade.drivers.amphora import answers
from colonnade.health.haproxy_states import facts_of_edge, facts_of_report, traffic_of_report
from colonnade.health.senders import Sender
from colonnade.protocol.datagram import RECEIVERS_MAX, Edge, Heartbeat, Statistics
from colonnade.protocol.messages import StatisticsReport, StatusReport
from colonnade.runtime.clock import Clock
from colonnade.store.fleet import amphora_rows, pairs, troubles
from colonnade.store.postgres.database import ILL_VALUED, Connection, Database
from colonnade.store.reports import statistics, statuses, traffic
from colonnade.store.trees.records import Statistics as Counters

log = structlog.get_logger()

WORKERS: Final = 16
WRITERS: Final = 2  # workers that write at once: flush and judgement need connections too
EDGE_SERVERS_MAX: Final = 2000  # of one amphora, while it waits for a worker
LISTENERS_MAX: Final = 20_000
DROPPED: Final = Counter("colonnade_health_refused_rows", "Rows that the store refused")
T = TypeVar("T")
COUNTS_S: Final = 8.0  # between two questions for all counters; news of them comes every 10 s


class Agents(Protocol):
    async def status(self, address: str, amphora_id: str) -> StatusReport:
        """Raises Unreachable."""

    async def statistics(self, address: str, amphora_id: str) -> StatisticsReport:
        """Raises Unreachable."""


class _Chores:
    """What is still to be done about one amphora."""

    __slots__ = ("counts", "digest", "generation", "running", "sender", "sequence", "servers")

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.servers: dict[tuple[str, str], str] = {}
        self.running = True
        self.generation = 0
        self.sequence: int | None = None  # of the newest edge, None when there is none
        self.digest = b""  # of a status not yet asked for
        self.counts = False  # whether all counters are to be asked for


class Intake:
    """The audience of a `Receiver`. Its methods for datagrams return at once."""

    def __init__(self, database: Database, agents: Agents, clock: Clock) -> None:
        self._database = database
        self._agents = agents
        self._clock = clock
        self._beats: dict[AmphoraId, Sender] = {}
        self._newcomers: dict[AmphoraId, Sender] = {}
        self._counted: dict[tuple[AmphoraId, UUID], statistics.Counted] = {}
        self._chores: dict[AmphoraId, _Chores] = {}
        self._queue: asyncio.Queue[AmphoraId] = asyncio.Queue()
        self._busy: set[AmphoraId] = set()
        self._writing = asyncio.Semaphore(WRITERS)
        self.newcomer = asyncio.Event()  # somebody spoke for the first time: flush soon

    def heartbeat(self, sender: Sender, generation: int, beat: Heartbeat) -> None:
        sender.generation = generation
        sender.load = beat.load
        sender.receivers = beat.receivers
        self._beats[sender.id] = sender
        if not sender.is_greeted:
            self._newcomers[sender.id] = sender
            self.newcomer.set()
        if beat.status != sender.status:
            sender.status = beat.status
            self._chores_of(sender).digest = beat.status

    def edge(self, sender: Sender, generation: int, edge: Edge) -> None:
        chores = self._chores_of(sender)
        if len(chores.servers) + len(edge.servers) <= EDGE_SERVERS_MAX:
            chores.servers.update({(pool, name): state for pool, name, state in edge.servers})
        chores.running = edge.haproxy_running
        chores.generation = generation
        chores.sequence = sender.sequence

    def statistics(self, sender: Sender, told: Statistics) -> None:
        now = self._clock.monotonic()
        if now - sender.counted_at >= COUNTS_S:
            sender.counted_at = now
            self._chores_of(sender).counts = True
        for name, active, bytes_in, bytes_out, errors, total in told.listeners:
            listener = _uuid(name)
            if listener is None:
                continue
            if len(self._counted) >= LISTENERS_MAX and (sender.id, listener) not in self._counted:
                continue
            self._counted[sender.id, listener] = statistics.Counted(
                amphora_id=sender.id,
                listener_id=ListenerId(str(listener)),
                counters=Counters(
                    active_connections=answers.count(active),
                    bytes_in=answers.count(bytes_in),
                    bytes_out=answers.count(bytes_out),
                    request_errors=answers.count(errors),
                    total_connections=answers.count(total),
                ),
            )

    async def flush(self) -> None:
        """Write what has gathered. Raises Unavailable, and then keeps it for the next time."""
        beats, self._beats = self._beats, {}
        counted, self._counted = self._counted, {}
        self.newcomer.clear()
        newcomers, self._newcomers = self._newcomers, {}
        try:
            await self._written(amphora_rows.record_heartbeats, self._rows(beats.values()))
            await self._written(amphora_rows.first_heartbeat, sorted(newcomers))
            await self._written(statistics.record, list(counted.values()))
        except Unavailable:
            self._beats = beats | self._beats
            self._counted = counted | self._counted
            self._newcomers = newcomers | self._newcomers
            raise
        for sender in newcomers.values():
            sender.is_greeted = True

    async def _written(
        self, record: Callable[[Connection, Sequence[T]], Awaitable[None]], rows: Sequence[T]
    ) -> None:
        """Record all rows together. A row that the store refuses is dropped and counted, and the
        others are written without it."""
        if not rows:
            return
        try:
            async with self._database.transaction() as connection:
                await record(connection, rows)
        except ILL_VALUED as error:
            if len(rows) > 1:
                half = len(rows) // 2
                await self._written(record, rows[:half])
                await self._written(record, rows[half:])
                return
            DROPPED.inc()
            log.error("a row is refused and dropped", row=repr(rows[0]), reason=str(error))

    async def work(self) -> None:
        """For ever, in several tasks: statuses, one amphora at a time."""
        while True:
            amphora = await self._queue.get()
            chores = self._chores.pop(amphora)
            self._busy.add(amphora)
            try:
                await self._attend(amphora, chores)
            except ColonnadeError as error:
                chores.sender.status = b""  # forgotten: the next heartbeat is news again
                log.info("status not taken", amphora=amphora, reason=str(error))
            except Exception:
                chores.sender.status = b""
                log.exception("status not understood", amphora=amphora)
            finally:
                self._busy.discard(amphora)
                if amphora in self._chores:
                    self._queue.put_nowait(amphora)

    async def _attend(self, amphora_id: AmphoraId, chores: _Chores) -> None:
        if chores.sequence is not None:
            facts = facts_of_edge(chores.generation, chores.running, chores.servers)
            await self._record(amphora_id, facts, chores.sequence)
        if not chores.digest and not chores.counts:
            return
        async with self._writing, self._database.read() as connection:
            amphora = await amphora_rows.amphora(connection, amphora_id)
        if amphora is None or amphora.state not in ANSWERING:
            return
        assert amphora.lb_network_ip is not None, "a serving amphora has an address"
        if chores.digest:
            report = await self._agents.status(amphora.lb_network_ip, amphora_id)
            await self._record_role(amphora, report.role)
            is_heard = await self._record(amphora_id, facts_of_report(report), None)
            if not is_heard and report.role != Role.BACKUP:
                chores.sender.status = b""  # not its turn yet: the next heartbeat is news again
            told = [(trouble.kind, trouble.text) for trouble in report.troubles]
            async with self._writing, self._database.transaction() as connection:
                await troubles.record(connection, amphora_id, told)
        if chores.counts:
            counted = await self._agents.statistics(amphora.lb_network_ip, amphora_id)
            listeners, members = traffic_of_report(counted)
            async with self._writing, self._database.transaction() as connection:
                await traffic.record(connection, amphora_id, listeners, members)

    async def _record_role(self, amphora: Amphora, said: str) -> None:
        """First of all: of a pair, only the half that holds the VIPs is heard on the rest."""
        if amphora.role == said or not said:
            return
        async with self._writing, self._database.transaction() as connection:
            if await pairs.record_role(connection, amphora.id, said):
                log.info("role changed", amphora=amphora.id, role=said)

    async def _record(self, amphora_id: AmphoraId, facts: Facts, sequence: int | None) -> bool:
        """False: the amphora does not speak for its cluster now."""
        async with self._writing, self._database.transaction() as connection:
            changes = await statuses.record(connection, amphora_id, facts, sequence=sequence)
        if changes:
            log.info("statuses changed", amphora=amphora_id, objects=len(changes))
        return changes is not None

    def _rows(self, senders: Iterable[Sender]) -> list[amphora_rows.Heartbeat]:
        now = self._clock.monotonic()
        return [
            amphora_rows.Heartbeat(
                amphora_id=sender.id,
                sequence=sender.sequence,
                generation=sender.generation,
                load=answers.real(sender.load),
                age_s=now - sender.heard_at,
                receivers=min(max(sender.receivers, 0), RECEIVERS_MAX),
            )
            for sender in senders
        ]

    def _chores_of(self, sender: Sender) -> _Chores:
        chores = self._chores.get(sender.id)
        if chores is None:
            chores = self._chores[sender.id] = _Chores(sender)
            if sender.id not in self._busy:
                self._queue.put_nowait(sender.id)
        return chores


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
