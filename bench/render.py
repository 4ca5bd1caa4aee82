# SPDX-License-Identifier: Apache-2.0
"""What the controller and the receiver compute, without any network: one core, one process.

1000 members behind 10 listeners become a bundle, a change of one member becomes a plan, and
heartbeats of 1000 amphorae go through the receiver's whole hot path, up to what waits for the
next flush to the database.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from uuid import UUID, uuid4

import msgspec

from bench.results import Figures
from colonnade.domain.errors import Unreachable
from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import (
    AmphoraId,
    ClusterId,
    HealthMonitorId,
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
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.shape import MEMBERS
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import Algorithm, ListenerProtocol, MonitorType, PoolProtocol
from colonnade.domain.walking import without_child
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import Templates, render
from colonnade.health.intake import Intake
from colonnade.health.receiver import Receiver
from colonnade.health.senders import Sender, Senders
from colonnade.protocol.bundle import plan_change
from colonnade.protocol.datagram import Datagram, Heartbeat, Kind, encode
from colonnade.protocol.messages import StatisticsReport, StatusReport
from colonnade.runtime.clock import SystemClock
from colonnade.store.postgres.database import Database

LISTENERS, MEMBERS_EACH, TIMES = 10, 100, 15
AMPHORAE, BEATS_EACH = 1000, 100

GOALS = {"heartbeats_per_s": ">= 21300 (200x Octavia's 107 a core)"}


async def measure() -> Figures:
    return _rendering() | _heartbeats()


def _rendering() -> Figures:
    began = time.perf_counter()
    templates = Templates.load()
    load_ms = (time.perf_counter() - began) * 1000
    tree = _tree()
    wanted = Cluster(id=tree.cluster_id, generation=2, load_balancers=(tree,))
    pool = tree.pools[0]
    fewer = tree.with_pool(without_child(pool, MEMBERS, pool.members[0].id))
    present = render(msgspec.structs.replace(wanted, load_balancers=(fewer,)), (), templates)
    bundle = render(wanted, (), templates)
    change = plan_change(present, bundle)
    assert len(change.added) == 1 and not change.reload, "the plan must be one runtime change"
    return {
        "templates_load_ms": round(load_ms, 1),
        "render_1000_members_ms": _median_ms(lambda: render(wanted, (), templates)),
        "objections_1000_members_ms": _median_ms(lambda: objections(tree)),
        "plan_change_1000_members_ms": _median_ms(lambda: plan_change(present, bundle)),
        "encode_1000_members_ms": _median_ms(lambda: msgspec.json.encode(bundle)),
        "bundle_1000_members_kb": round(len(msgspec.json.encode(bundle)) / 1000, 1),
    }


def _median_ms(compute: Callable[[], object]) -> float:
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        compute()
        took.append((time.perf_counter() - began) * 1000)
    return round(median(took), 2)


def _tree() -> LoadBalancer:
    pools, listeners = [], []
    for number in range(LISTENERS):
        members = tuple(
            Member(
                id=MemberId(new_id()),
                address=f"10.1.{number}.{last + 1}",
                protocol_port=80,
                name=f"member {last} of pool {number}",
            )
            for last in range(MEMBERS_EACH)
        )
        monitor = HealthMonitor(
            id=HealthMonitorId(new_id()),
            type=MonitorType.HTTP,
            delay=5,
            timeout=3,
            max_retries=2,
            max_retries_down=2,
            url_path="/health",
        )
        pool = Pool(
            id=PoolId(new_id()),
            protocol=PoolProtocol.HTTP,
            lb_algorithm=Algorithm.ROUND_ROBIN,
            members=members,
            health_monitor=monitor,
        )
        pools.append(pool)
        listeners.append(
            Listener(
                id=ListenerId(new_id()),
                protocol=ListenerProtocol.HTTP,
                protocol_port=8000 + number,
                default_pool_id=pool.id,
            )
        )
    return LoadBalancer(
        id=LoadBalancerId(new_id()),
        project_id=ProjectId("bench"),
        cluster_id=ClusterId(new_id()),
        provider="amphora",
        vip=Vip(
            address="203.0.113.9",
            port_id=PortId(new_id()),
            subnet_id=SubnetId(new_id()),
            network_id=NetworkId(new_id()),
        ),
        listeners=tuple(listeners),
        pools=tuple(pools),
    )


class _NobodyToAsk:
    """No status is asked for here: each heartbeat carries a digest that is known."""

    async def status(self, address: str, amphora_id: str) -> StatusReport:
        raise Unreachable(f"{amphora_id} at {address} is not there")

    async def statistics(self, address: str, amphora_id: str) -> StatisticsReport:
        raise Unreachable(f"{amphora_id} at {address} is not there")


def _heartbeats() -> Figures:
    clock = SystemClock()
    senders = Senders(_NoKeys(), clock)
    # Never opened: what is measured ends where a flush would begin.
    intake = Intake(Database("dbname=never"), _NobodyToAsk(), clock)
    receiver = Receiver(senders, intake, clock)
    status = secrets.token_bytes(16)
    keys = {uuid4(): secrets.token_bytes(32) for _ in range(AMPHORAE)}
    for amphora, key in keys.items():
        sender = senders.known[amphora.bytes] = Sender(AmphoraId(str(amphora)), key, 0)
        sender.status, sender.is_greeted = status, True
    payload = msgspec.msgpack.encode(Heartbeat(status=status, load=0.5, haproxy_running=True))
    datagrams = [
        _datagram(amphora, sequence, payload, key)
        for sequence in range(1, BEATS_EACH + 1)
        for amphora, key in keys.items()
    ]
    began = time.perf_counter()
    for datagram in datagrams:
        receiver.accept(datagram)
    took = time.perf_counter() - began
    assert receiver.accepted == len(datagrams), receiver.rejected
    return {
        "heartbeats_per_s": round(len(datagrams) / took),
        "heartbeat_bytes": len(datagrams[0]),
    }


def _datagram(amphora: UUID, sequence: int, payload: bytes, key: bytes) -> bytes:
    heartbeat = Datagram(
        kind=Kind.HEARTBEAT, amphora=amphora, sequence=sequence, generation=1, payload=payload
    )
    return encode(heartbeat, key)


class _NoKeys:
    """All are known already."""

    async def __call__(self, amphorae: Sequence[UUID]) -> Mapping[UUID, tuple[bytes, int]]:
        raise Unreachable(f"{len(amphorae)} amphorae were to be known already")

    async def names(self) -> Sequence[UUID]:
        return []


if __name__ == "__main__":
    print(asyncio.run(measure()))
