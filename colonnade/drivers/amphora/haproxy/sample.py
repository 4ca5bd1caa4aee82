# SPDX-License-Identifier: Apache-2.0
"""A cluster that has every feature once: what templates are tried out with as they are loaded.

It is never sent anywhere. A new branch in a template needs a new value here. Addresses are those
that RFC 5737 and RFC 3849 set aside for examples.
"""

from typing import Final

from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import (
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
)
from colonnade.domain.listeners import AccessLog, Listener
from colonnade.domain.ordering import CHALLENGE_PORT, Challenge
from colonnade.domain.pools import HealthMonitor, Member, Persistence, Pool
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import (
    Algorithm,
    ListenerProtocol,
    MonitorType,
    PersistenceType,
    PoolProtocol,
)
from colonnade.drivers.amphora.haproxy.sample_policies import ALONE, POLICIES, POOLS

HEADERS: Final = ("X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto")


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def _member(number: int, address: str, **more: object) -> Member:
    return Member(id=MemberId(_id(number)), address=address, protocol_port=80, **more)  # type: ignore[arg-type]


def _monitor(number: int, kind: MonitorType, **more: object) -> HealthMonitor:
    return HealthMonitor(
        id=HealthMonitorId(_id(number)),
        type=kind,
        delay=5,
        timeout=3,
        max_retries=2,
        **more,  # type: ignore[arg-type]
    )


_POOLS: Final = (
    Pool(
        id=PoolId(_id(20)),
        protocol=PoolProtocol.HTTP,
        lb_algorithm=Algorithm.ROUND_ROBIN,
        session_persistence=Persistence(type=PersistenceType.HTTP_COOKIE),
        members=(
            _member(30, "192.0.2.10", weight=2),
            _member(31, "2001:db8::10", backup=True, admin_state_up=False),
        ),
        health_monitor=_monitor(
            40, MonitorType.HTTP, http_version=1.1, domain_name="example.org", url_path="/healthy"
        ),
    ),
    Pool(
        id=PoolId(_id(21)),
        protocol=PoolProtocol.PROXY,
        lb_algorithm=Algorithm.LEAST_CONNECTIONS,
        session_persistence=Persistence(type=PersistenceType.APP_COOKIE, cookie_name="session"),
        members=(_member(32, "192.0.2.11", monitor_address="192.0.2.12", monitor_port=8080),),
        health_monitor=_monitor(41, MonitorType.HTTPS, expected_codes="200-204"),
    ),
    Pool(
        id=PoolId(_id(22)),
        protocol=PoolProtocol.PROXYV2,
        lb_algorithm=Algorithm.SOURCE_IP,
        session_persistence=Persistence(type=PersistenceType.SOURCE_IP),
        members=(_member(33, "192.0.2.13"),),
        health_monitor=_monitor(42, MonitorType.TLS_HELLO),
    ),
)


def _listener(
    number: int, protocol: ListenerProtocol, pool: int | None, port: int = 0, **more: object
) -> Listener:
    return Listener(
        id=ListenerId(_id(number)),
        protocol=protocol,
        protocol_port=port or 8000 + number,
        default_pool_id=PoolId(_id(pool)) if pool is not None else None,
        **more,  # type: ignore[arg-type]
    )


SAMPLE: Final = Cluster(
    id=ClusterId(_id(1)),
    generation=1,
    challenge=Challenge(thumbprint="sample", host_names=("www.example.com",)),
    load_balancers=(
        LoadBalancer(
            id=LoadBalancerId(_id(2)),
            project_id=ProjectId("sample"),
            cluster_id=ClusterId(_id(1)),
            provider="amphora",
            vip=Vip(
                address="192.0.2.1",
                port_id=PortId(_id(3)),
                subnet_id=SubnetId(_id(4)),
                network_id=NetworkId(_id(5)),
            ),
            additional_vips=(
                Vip(
                    address="2001:db8::1",
                    port_id=PortId(_id(7)),
                    subnet_id=SubnetId(_id(8)),
                    network_id=NetworkId(_id(5)),
                ),
            ),
            listeners=(
                _listener(
                    10,
                    ListenerProtocol.HTTP,
                    20,
                    connection_limit=1000,
                    insert_headers=dict.fromkeys(HEADERS, "true"),
                ),
                _listener(11, ListenerProtocol.HTTP, 21, access_log=AccessLog(target_id=_id(6))),
                _listener(12, ListenerProtocol.TCP, 22, timeout_tcp_inspect=100),
                _listener(13, ListenerProtocol.HTTPS, None),
                _listener(14, ListenerProtocol.HTTP, None),
                _listener(15, ListenerProtocol.HTTP, 23, l7policies=POLICIES, compression=True),
                _listener(16, ListenerProtocol.HTTP, None, l7policies=ALONE),
                _listener(17, ListenerProtocol.TCP, 23),
                _listener(18, ListenerProtocol.PROMETHEUS, None),
                _listener(19, ListenerProtocol.HTTP, 20, port=CHALLENGE_PORT),
            ),
            pools=(*_POOLS, *POOLS),
        ),
    ),
)
