# SPDX-License-Identifier: Apache-2.0
"""The contract of `AmphoraDriver`, on the fake and on real haproxy behind a real agent."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from colonnade.domain.errors import Rejected, Unreachable
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import (
    AmphoraId,
    ClusterId,
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
from colonnade.domain.lifecycle import State
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Member, Pool
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import Algorithm, ListenerProtocol, PoolProtocol
from colonnade.drivers.amphora.haproxy.driver import HaproxyDriver
from colonnade.drivers.amphora.protocol import AmphoraDriver
from colonnade.protocol.bundle import Interface
from colonnade.runtime.config import Config
from tests.agent_bench import Bench, until
from tests.agent_site import AMPHORA_IP, VIP, VIP_MAC
from tests.fakes.amphora import FakeAmphorae
from tests.fakes.network import FakeNetwork

REFUSED_PORT = 81
CLUSTER = ClusterId(new_id())
INTERFACES = (Interface(mac=VIP_MAC, addresses=(f"{VIP}/24",), gateways=("203.0.113.1",)),)


class Subject(Protocol):
    driver: AmphoraDriver
    amphora: Amphora

    async def notified(self) -> bool: ...


class _Fake:
    def __init__(self) -> None:
        network = FakeNetwork()
        self.amphora = amphora(AmphoraId(new_id()))
        network.amphorae.add(self.amphora.id)
        self.calls: list[str] = []
        driver = FakeAmphorae(network, before=self.calls.append)
        driver.hated_ports = {REFUSED_PORT}
        self.driver: AmphoraDriver = driver

    async def notified(self) -> bool:
        return "amphora.notify" in self.calls


class _Real:
    def __init__(self, bench: Bench) -> None:
        config = Config(state_dir=bench.folder, run_dir=bench.folder, database_url="")
        self._bench = bench
        self.amphora = amphora(AmphoraId(bench.amphora_id))

        async def key_of(_amphora: AmphoraId) -> bytes:
            return bench.key

        self.driver: AmphoraDriver = HaproxyDriver(config, bench.client, key_of)
        self._asked = bench.asked

    async def notified(self) -> bool:
        return self._bench.asked > self._asked


@pytest.fixture(params=["fake", "real"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "fake":
        yield _Fake()
        return
    bench = Bench(tmp_path)
    try:
        await bench.start()
        await until(lambda: _so(bench.asked == 1))
        yield _Real(bench)
    finally:
        await bench.end()


async def test_what_was_applied_is_observed(subject: Subject) -> None:
    assert await subject.driver.apply(subject.amphora, wish(3), INTERFACES) == 3
    assert await subject.driver.apply(subject.amphora, wish(3), INTERFACES) == 3
    seen = await subject.driver.observe(subject.amphora)
    assert (seen.generation, seen.haproxy_running) == (3, True)


async def test_an_older_wish_changes_nothing_and_the_newer_generation_is_told(
    subject: Subject,
) -> None:
    await subject.driver.apply(subject.amphora, wish(5), INTERFACES)
    assert await subject.driver.apply(subject.amphora, wish(4, members=2), INTERFACES) == 5
    assert (await subject.driver.observe(subject.amphora)).generation == 5


async def test_a_wish_that_cannot_be_served_is_rejected_and_the_old_one_serves_on(
    subject: Subject,
) -> None:
    await subject.driver.apply(subject.amphora, wish(1), INTERFACES)
    elsewhere: Sequence[Interface] = [
        msgspec.structs.replace(INTERFACES[0], addresses=("203.0.113.70/24",))
    ]
    with pytest.raises(Rejected):
        await subject.driver.apply(subject.amphora, wish(2, port=REFUSED_PORT), elsewhere)
    seen = await subject.driver.observe(subject.amphora)
    assert (seen.generation, seen.haproxy_running) == (1, True)


async def test_an_amphora_that_is_not_there_is_unreachable(subject: Subject) -> None:
    other = msgspec.structs.replace(subject.amphora, id=AmphoraId(new_id()))
    with pytest.raises(Unreachable):
        await subject.driver.apply(other, wish(1), INTERFACES)
    with pytest.raises(Unreachable):
        await subject.driver.observe(other)


async def test_a_notice_arrives(subject: Subject) -> None:
    await subject.driver.notify(subject.amphora)
    await until(subject.notified)


async def test_nothing_is_said_against_a_plain_tree(subject: Subject) -> None:
    assert list(subject.driver.objections(wish(1).load_balancers[0])) == []


def amphora(amphora_id: AmphoraId) -> Amphora:
    return Amphora(id=amphora_id, state=State.SERVING, lb_network_ip=AMPHORA_IP)


def wish(generation: int, *, members: int = 1, port: int = 80) -> Cluster:
    pool = Pool(
        id=PoolId(new_id()),
        protocol=PoolProtocol.HTTP,
        lb_algorithm=Algorithm.ROUND_ROBIN,
        members=tuple(
            Member(id=MemberId(new_id()), address=f"203.0.113.{11 + n}", protocol_port=8080)
            for n in range(members)
        ),
    )
    listener = Listener(
        id=ListenerId(new_id()),
        protocol=ListenerProtocol.HTTP,
        protocol_port=port,
        default_pool_id=pool.id,
    )
    tree = LoadBalancer(
        id=LoadBalancerId(new_id()),
        project_id=ProjectId("p"),
        cluster_id=CLUSTER,
        vip=Vip(
            address=VIP,
            port_id=PortId(new_id()),
            subnet_id=SubnetId(new_id()),
            network_id=NetworkId(new_id()),
        ),
        provider="amphora",
        listeners=(listener,),
        pools=(pool,),
    )
    return Cluster(id=CLUSTER, generation=generation, load_balancers=(tree,))


async def _so(fact: bool) -> bool:
    return fact
