# SPDX-License-Identifier: Apache-2.0
"""The health process on loopback, with a real database and real datagrams.

Amphorae are sockets with keys of their own; their status is asked of an object in memory that
answers what a test gave it, since mutual TLS has its own suite.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import psycopg
import pytest
import pytest_asyncio
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from colonnade.domain.errors import Unavailable, Unreachable
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import (
    AmphoraId,
    ClusterId,
    HealthMonitorId,
    L7PolicyId,
    ListenerId,
    LoadBalancerId,
    MemberId,
    NetworkId,
    PoolId,
    PortId,
    ProjectId,
    SubnetId,
    new_id,
)
from colonnade.domain.l7 import L7Policy, WeightedPool
from colonnade.domain.lifecycle import State
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.shape import LISTENERS, LOAD_BALANCERS
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import (
    Algorithm,
    L7Action,
    ListenerProtocol,
    MonitorType,
    PoolProtocol,
)
from colonnade.drivers.secrets.database import Seal
from colonnade.health.process import Health, Keys
from colonnade.protocol.datagram import (
    Datagram,
    Edge,
    Heartbeat,
    Kind,
    Statistics,
    encode,
)
from colonnade.protocol.messages import (
    ListenerStatistics,
    ListenerStatus,
    MemberStatistics,
    ServerStatus,
    StatisticsReport,
    StatusReport,
)
from colonnade.runtime.config import Heartbeats
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.reports import traffic
from colonnade.store.trees import wishes
from colonnade.store.trees.records import statistics

ALLOWED = Heartbeats(stale_s=0.8, spare_stale_s=30, boot_s=30)


async def until(fact: Callable[[], Awaitable[bool]], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not await fact():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


class Agents:
    """Answers for every amphora with the report that was set, or not at all."""

    def __init__(self) -> None:
        self.reports: dict[str, StatusReport] = {}
        self.counters: dict[str, StatisticsReport] = {}
        self.asked = 0

    async def status(self, address: str, amphora_id: str) -> StatusReport:
        self.asked += 1
        if amphora_id not in self.reports:
            raise Unreachable("nobody there")
        return self.reports[amphora_id]

    async def statistics(self, address: str, amphora_id: str) -> StatisticsReport:
        if amphora_id not in self.counters:
            raise Unreachable("nobody there")
        return self.counters[amphora_id]


class Speaker:
    """An amphora's mouth."""

    def __init__(self, amphora_id: str, key: bytes, port: int) -> None:
        self.id = amphora_id
        self.key = key
        self.sequence = 0
        self.generation = 1
        self.status = b"0" * 16
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))

    def send(self, datagram: bytes) -> bytes:
        self._socket.send(datagram)
        return datagram

    def make(self, kind: Kind, payload: object, *, key: bytes | None = None) -> bytes:
        self.sequence += 1
        body = payload if isinstance(payload, bytes) else msgspec.msgpack.encode(payload)
        return encode(
            Datagram(
                kind=kind,
                amphora=UUID(self.id),
                sequence=self.sequence,
                generation=self.generation,
                payload=body,
            ),
            key or self.key,
        )

    def beat(self) -> bytes:
        beat = Heartbeat(status=self.status, load=0.5, haproxy_running=True)
        return self.send(self.make(Kind.HEARTBEAT, beat))

    def edge(self, *servers: tuple[str, str, str]) -> bytes:
        return self.send(self.make(Kind.EDGE, Edge(servers=servers, haproxy_running=True)))

    def close(self) -> None:
        self._socket.close()


class Nothing:
    """A provider with nothing to say."""

    def lacks(self, tree: LoadBalancer) -> list[tuple[str, str]]:
        return []

    def settles_at_once(self, provider: str) -> bool:
        return False

    def reads_secrets(self, provider: str) -> bool:
        return False


class Bench:
    """A health process, a database and the amphorae that a test makes."""

    def __init__(self, database: Database, port: int, health: Health, agents: Agents) -> None:
        self.database = database
        self.agents = agents
        self.health = health
        self.port = port
        self.speakers: list[Speaker] = []

    def speaker(self, amphora_id: str, key: bytes) -> Speaker:
        self.speakers.append(Speaker(amphora_id, key, self.port))
        return self.speakers[-1]

    async def amphora(self) -> Speaker:
        """A booting amphora."""
        amphora_id, key = AmphoraId(new_id()), os.urandom(32)
        async with self.database.transaction() as connection:
            sealed = SEAL.seal(key, amphora_id)
            await amphora_rows.insert(
                connection, Amphora(id=amphora_id, state=State.BOOTING), sealed
            )
        return self.speaker(amphora_id, key)

    async def serving(self, tree: LoadBalancer) -> Speaker:
        """An amphora that serves the tree at generation 1."""
        await wishes.create(self.database, tree, Nothing())
        speaker = await self.amphora()
        async with self.database.transaction() as connection:
            await connection.execute(
                "UPDATE amphorae SET state = 'SERVING', cluster_id = %s, applied = 1,"
                " lb_network_ip = '198.18.0.9' WHERE id = %s",
                [tree.cluster_id, speaker.id],
            )
        return speaker

    async def one(self, query: str, *values: object) -> object:
        async with self.database.read() as connection:
            cursor = await connection.execute(query.encode(), values)
            row = await cursor.fetchone()
        return None if row is None else row[0]

    async def state(self, speaker: Speaker) -> object:
        return await self.one("SELECT state FROM amphorae WHERE id = %s", speaker.id)

    async def status(self, table: str, object_id: str) -> object:
        return await self.one(f"SELECT operating_status FROM {table} WHERE id = %s", object_id)


SEAL = Seal(os.urandom(32))


@pytest_asyncio.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    agents = Agents()
    health = Health(database, Keys(database, SEAL), agents, ALLOWED)
    health.round_s = ALLOWED.stale_s / 4
    async with health.listening("127.0.0.1", 0) as listening:
        bench = Bench(database, listening.port, health, agents)
        yield bench
        for speaker in bench.speakers:
            speaker.close()


def web() -> LoadBalancer:
    """A load balancer with one HTTP listener, a monitored pool and two members."""
    pool_id = PoolId(new_id())
    members = tuple(
        Member(id=MemberId(new_id()), address=f"10.0.0.{n}", protocol_port=80) for n in (1, 2)
    )
    monitor = HealthMonitor(
        id=HealthMonitorId(new_id()), type=MonitorType.TCP, delay=1, timeout=1, max_retries=1
    )
    return LoadBalancer(
        id=LoadBalancerId(new_id()),
        project_id=ProjectId("p"),
        cluster_id=ClusterId(new_id()),
        provider="amphora",
        vip=Vip(
            address="203.0.113.9",
            port_id=PortId(new_id()),
            subnet_id=SubnetId(new_id()),
            network_id=NetworkId(new_id()),
        ),
        listeners=(
            Listener(
                id=ListenerId(new_id()),
                protocol=ListenerProtocol.HTTP,
                protocol_port=80,
                default_pool_id=pool_id,
            ),
        ),
        pools=(
            Pool(
                id=pool_id,
                protocol=PoolProtocol.HTTP,
                lb_algorithm=Algorithm.ROUND_ROBIN,
                members=members,
                health_monitor=monitor,
            ),
        ),
    )


def report_of(tree: LoadBalancer, *states: str) -> StatusReport:
    (pool,) = tree.pools
    return StatusReport(
        generation=1,
        haproxy_running=True,
        listeners=tuple(ListenerStatus(name=x.id, state="OPEN") for x in tree.listeners),
        servers=tuple(
            ServerStatus(backend=pool.id, name=member.id, state=state)
            for member, state in zip(pool.members, states, strict=True)
        ),
    )


async def test_a_first_heartbeat_makes_a_booting_amphora_a_spare(bench: Bench) -> None:
    speaker = await bench.amphora()
    speaker.beat()

    async def is_spare() -> bool:
        return await bench.state(speaker) == "SPARE"

    await until(is_spare)
    assert await bench.one("SELECT load FROM heartbeats WHERE amphora_id = %s", speaker.id) == 0.5


def by_policy(tree: LoadBalancer, *, shared: bool) -> LoadBalancer:
    """The same, with the pool reached through an L7 policy alone."""
    (listener,), (pool,) = tree.listeners, tree.pools
    policy = L7Policy(
        id=L7PolicyId(new_id()),
        action=L7Action.REDIRECT_TO_POOL,
        redirect_pool_id=None if shared else pool.id,
        redirect_pools=(WeightedPool(pool_id=pool.id),) if shared else (),
    )
    return tree.with_listener(replace(listener, default_pool_id=None).with_policy(policy))


@pytest.mark.parametrize("used", ["by default", "by a policy", "by a policy with weights"])
async def test_a_new_digest_brings_the_statuses_of_the_whole_tree(bench: Bench, used: str) -> None:
    tree = web() if used == "by default" else by_policy(web(), shared=used.endswith("weights"))
    speaker = await bench.serving(tree)
    bench.agents.reports[speaker.id] = report_of(tree, "UP", "DOWN")
    speaker.beat()
    first, second = tree.pools[0].members

    async def is_known() -> bool:
        return await bench.status("load_balancers", tree.id) == "DEGRADED"

    await until(is_known)
    assert await bench.status("members", first.id) == "ONLINE"
    assert await bench.status("members", second.id) == "ERROR"
    assert await bench.status("pools", tree.pools[0].id) == "DEGRADED"
    assert await bench.status("listeners", tree.listeners[0].id) == "ONLINE"
    asked = bench.agents.asked
    speaker.beat()
    await accepted(bench, 2)
    assert bench.agents.asked == asked, "a digest that is known needs no question"


async def test_an_edge_is_in_the_database_at_once_with_its_events(bench: Bench) -> None:
    tree = web()
    speaker = await bench.serving(tree)
    (pool,) = tree.pools
    first, second = pool.members
    speaker.edge((pool.id, first.id, "UP"), (f"{pool.id}:x", second.id, "UP"))

    async def is_online() -> bool:
        return await bench.status("load_balancers", tree.id) == "ONLINE"

    await until(is_online)
    speaker.edge((pool.id, first.id, "DOWN"), (pool.id, second.id, "DOWN"))

    async def is_down() -> bool:
        return await bench.status("load_balancers", tree.id) == "ERROR"

    await until(is_down)
    told = await bench.one(
        "SELECT message FROM events WHERE object_id = %s ORDER BY id DESC LIMIT 1", first.id
    )
    assert told == "ONLINE -> ERROR"


async def test_an_amphora_speaks_for_its_own_cluster_only(bench: Bench) -> None:
    mine, others = web(), web()
    speaker = await bench.serving(mine)
    other = await bench.serving(others)
    listener, member = others.listeners[0].id, others.pools[0].members[0].id
    speaker.edge((others.pools[0].id, member, "DOWN"))
    speaker.send(speaker.make(Kind.STATISTICS, Statistics(listeners=((listener, 1, 2, 3, 4, 5),))))
    speaker.edge((mine.pools[0].id, mine.pools[0].members[0].id, "UP"))
    other.beat()

    async def is_mine_taken() -> bool:
        return await bench.status("members", mine.pools[0].members[0].id) == "ONLINE"

    await until(is_mine_taken)
    await bench.health.intake.flush()
    assert await bench.status("members", member) == "OFFLINE"
    assert await bench.one("SELECT count(*) FROM statistics") == 0


async def test_counters_are_summed_and_never_go_back(bench: Bench) -> None:
    tree = web()
    speaker = await bench.serving(tree)
    listener = tree.listeners[0].id
    for count, counters in enumerate(((3, 100, 200, 1, 10), (1, 50, 300, 1, 12)), 1):
        told = Statistics(listeners=((listener, *counters), ("not an id", 1, 1, 1, 1, 1)))
        speaker.send(speaker.make(Kind.STATISTICS, told))
        await accepted(bench, count)
        await bench.health.intake.flush()
    async with bench.database.read() as connection:
        found = await statistics(connection, LISTENERS, listener)
        assert found == await statistics(connection, LOAD_BALANCERS, tree.id)
    assert (found.active_connections, found.bytes_in, found.bytes_out) == (1, 100, 300)
    assert (found.request_errors, found.total_connections) == (1, 12)


async def test_all_that_is_counted_is_asked_for_and_summed(bench: Bench) -> None:
    tree = web()
    listener, pool = tree.listeners[0].id, tree.pools[0]
    one, others = await bench.serving(tree), web()
    other = await bench.amphora()
    foreign = await bench.serving(others)
    async with bench.database.transaction() as connection:
        await connection.execute(
            "UPDATE amphorae SET state = 'SERVING', cluster_id = %s, lb_network_ip = '198.18.0.8'"
            " WHERE id = %s",
            [tree.cluster_id, other.id],
        )

    def counted(total: int, ms: int, backends: tuple[str, ...] = (pool.id,)) -> StatisticsReport:
        five = {"bytes_in": 2 * total, "bytes_out": 3 * total, "request_errors": 0}
        now = {"active_connections": 1, "total_connections": total, "requests": total}
        return StatisticsReport(
            listeners=(
                ListenerStatistics(name=listener, responses_2xx=total, **five, **now),
                ListenerStatistics(name="no id", **five, **now),
            ),
            members=tuple(
                MemberStatistics(
                    backend=name, name=pool.members[0].id, queued=1, response_ms=ms, **now
                )
                for name in backends
            ),
        )

    async def told(speaker: Speaker, report: StatisticsReport) -> None:
        bench.agents.counters[speaker.id] = report
        known = bench.health.senders.known

        async def is_known() -> bool:
            speaker.beat()
            return UUID(speaker.id).bytes in known

        await until(is_known)
        known[UUID(speaker.id).bytes].counted_at = float("-inf")  # as if 10 s were over
        speaker.send(speaker.make(Kind.STATISTICS, Statistics(listeners=())))

    async def seen() -> tuple[list[int], list[int]]:
        async with bench.database.read() as connection:
            listeners, members = await traffic.of_load_balancer(connection, tree.id)
        (web_traffic,) = [found.traffic for found in listeners]
        by_id = {found.id: found.traffic for found in members}
        first = by_id[pool.members[0].id]
        return (
            [web_traffic.requests, web_traffic.responses_2xx, web_traffic.active_connections],
            [first.requests, first.queued, first.response_ms],
        )

    async def settled(expected: tuple[list[int], list[int]]) -> None:
        async def so() -> bool:
            for speaker in (one, other, foreign):
                speaker.beat()
            return await seen() == expected

        await until(so)

    for speaker in (one, other, foreign):
        bench.agents.reports[speaker.id] = StatusReport(generation=1, haproxy_running=True)
    assert await seen() == ([0, 0, 0], [0, 0, 0])
    await told(one, counted(10, 5))
    await settled(([10, 10, 1], [10, 1, 5]))
    # Two backends of one pool, on another amphora.
    await told(other, counted(30, 7, (f"{pool.id}:x", f"{pool.id}:y")))
    await settled(([40, 40, 2], [70, 3, 7]))
    await told(one, counted(4, 25))  # back is not possible; what is of now is taken
    await told(foreign, counted(1000, 1))  # not its cluster
    await settled(([40, 40, 2], [70, 3, 10]))
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM amphorae WHERE id = %s", [other.id])
        await connection.execute(
            "UPDATE listener_traffic SET at = at - interval '1 hour' WHERE amphora_id = %s",
            [other.id],
        )
        now = datetime.now(UTC)
        day = await traffic.series(connection, tree.id, now - timedelta(minutes=5), now)
        later = await traffic.series(connection, tree.id, now + timedelta(minutes=5), now)
    assert (await seen())[0] == [40, 40, 1]  # what it counted stays, what it held does not
    assert day.step_s == 10
    assert day.points[listener][-1].traffic.requests == 40
    assert 1 <= len(day.points[listener]) <= 2
    assert later.points == {}


async def test_a_day_of_a_listener_is_a_ring(bench: Bench) -> None:
    tree = web()
    await bench.serving(tree)
    listener = tree.listeners[0].id
    names = traffic.ListenerTraffic.__struct_fields__
    async with bench.database.transaction() as connection:
        await connection.execute(
            f"INSERT INTO listener_series (listener_id, slot, at, {', '.join(names)})"
            f" SELECT %s, n, now() - n * interval '10 seconds', {', '.join(['n'] * len(names))}"
            " FROM generate_series(0, 8639) n".encode(),
            [listener],
        )
        for _ in range(3):
            await connection.execute(
                "INSERT INTO listeners (id, load_balancer_id, project_id, body, created, changed)"
                " SELECT gen_random_uuid(), load_balancer_id, project_id, body, 1, 1"
                " FROM listeners WHERE id = %s",
                [listener],
            )
        now = datetime.now(UTC)
        long_ago = now - timedelta(days=30)
        whole = await traffic.series(connection, tree.id, long_ago, now)
    # Four listeners' days are more than one answer holds: every second point is told.
    assert whole.step_s == 20
    assert 4310 <= len(whole.points[listener]) <= 4320
    times = [point.at for point in whole.points[listener]]
    assert times == sorted(times)


async def test_bad_datagrams_are_counted_and_change_nothing(bench: Bench) -> None:
    speaker = await bench.amphora()
    speaker.sequence = 10
    good = speaker.beat()
    await accepted(bench, 1)
    stranger = bench.speaker(new_id(), speaker.key)
    beat = Heartbeat(status=b"1" * 16, load=1.0, haproxy_running=True)
    speaker.send(good)  # replayed
    speaker.send(good[:-1])  # truncated: its tag is not where it is looked for
    speaker.send(good[:40])
    speaker.send(b"x" * 1201)
    speaker.send(b"CL\x02" + good[3:])
    speaker.send(speaker.make(Kind.HEARTBEAT, beat, key=b"f" * 32))  # forged
    speaker.send(speaker.make(Kind.HEARTBEAT, b"\xc1 nonsense"))
    speaker.send(speaker.make(Kind.TASKS, b""))
    stranger.beat()

    async def are_counted() -> bool:
        if bench.health.receiver.rejected["unknown"] == 0:
            stranger.beat()
        return sum(bench.health.receiver.rejected.values()) >= 9

    await until(are_counted)
    rejected = bench.health.receiver.rejected
    assert rejected["replayed"] == 1
    assert rejected["size"] == 2
    assert rejected["format"] == 1
    assert rejected["tag"] == 2
    assert rejected["payload"] == 1
    assert rejected["kind"] == 1
    assert rejected["unknown"] >= 1
    assert bench.health.receiver.accepted == 1


async def test_a_stolen_key_speaks_for_its_own_amphora_alone(bench: Bench) -> None:
    stolen, victim = await bench.amphora(), await bench.amphora()
    stolen.beat()
    victim.beat()
    await accepted(bench, 2)
    thief = bench.speaker(victim.id, stolen.key)
    thief.sequence = 1000
    thief.beat()

    async def is_refused() -> bool:
        return bench.health.receiver.rejected["tag"] == 1

    await until(is_refused)
    victim.beat()
    await accepted(bench, 3)


async def test_a_flood_of_strangers_stays_bounded_and_a_friend_is_heard(bench: Bench) -> None:
    speaker = await bench.amphora()
    speaker.beat()
    await accepted(bench, 1)
    for _ in range(3000):
        forged = Datagram(
            kind=Kind.HEARTBEAT, amphora=UUID(new_id()), sequence=1, generation=1, payload=b""
        )
        bench.health.receiver.accept(encode(forged, b"k" * 32))
    assert bench.health.receiver.rejected["unknown"] == 2000, "1000 may wait, no more"
    speaker.beat()
    await accepted(bench, 2)


async def test_a_silent_amphora_is_failed_and_its_cluster_is_work(bench: Bench) -> None:
    tree = web()
    speaker = await bench.serving(tree)
    speaker.beat()

    async def is_failed() -> bool:
        return await bench.state(speaker) == "FAILED"

    await until(is_failed)
    key = f"cluster:{tree.cluster_id}"
    assert await bench.one("SELECT key FROM work WHERE key = %s", key) == key


async def test_a_database_outage_fails_nobody_and_is_caught_up_with(
    bench: Bench, database_url: str
) -> None:
    speaker, quiet = await bench.serving(web()), await bench.serving(web())
    quiet.beat()
    speaker.beat()
    await accepted(bench, 2)

    async def written() -> int:
        found = await bench.one(
            "SELECT coalesce(max(sequence), 0) FROM heartbeats WHERE amphora_id = %s", speaker.id
        )
        assert isinstance(found, int)
        return found

    async def is_written() -> bool:
        return await written() == 1

    await until(is_written)
    reopened_at = time.monotonic() + 2 * ALLOWED.stale_s

    async def is_time_to_reopen() -> bool:
        speaker.beat()
        return time.monotonic() > reopened_at

    with closed(database_url):
        # Longer than the silence that is allowed, with nobody silent.
        await until(is_time_to_reopen)

    heard = speaker.sequence

    async def beat_on() -> None:
        # From now on silence counts again, also while this test waits for its own connection.
        # Whoever was failed for the outage stays failed.
        while True:
            speaker.beat()
            quiet.beat()
            await asyncio.sleep(ALLOWED.stale_s / 20)

    async def is_caught_up() -> bool:
        try:
            return await written() >= heard
        except Unavailable:
            return False

    beating = asyncio.create_task(beat_on())
    await until(is_caught_up)
    assert await bench.state(speaker) == "SERVING"
    assert await bench.state(quiet) == "SERVING"
    beating.cancel()


async def test_the_process_is_listed_while_it_runs(database: Database) -> None:
    health = Health(database, Keys(database, SEAL), Agents(), ALLOWED)
    async with health.listening("127.0.0.1", 0) as listening:

        async def is_listed() -> bool:
            async with database.read() as connection:
                cursor = await connection.execute("SELECT address FROM daemons")
                return await cursor.fetchall() == [(f"127.0.0.1:{listening.port}",)]

        await until(is_listed)
    async with database.read() as connection:
        cursor = await connection.execute("SELECT count(*) FROM daemons")
        assert await cursor.fetchone() == (0,)


@contextmanager
def closed(url: str) -> Iterator[None]:
    """The database takes no connection and has none."""
    name = conninfo_to_dict(url)["dbname"]
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as admin:
        try:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def accepted(bench: Bench, count: int) -> None:
    async def are_accepted() -> bool:
        return bench.health.receiver.accepted >= count

    await until(are_accepted)
