# SPDX-License-Identifier: Apache-2.0
"""Small trees for tests of what haproxy is given: one for each feature, and random ones.

Ids are numbered, so that golden texts stay the same. Random trees are those that no objection
refuses, with texts as hostile as the domain lets them be.
"""

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

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
from colonnade.domain.limits import INTEGER_MAX
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import COOKIE_NAME, HealthMonitor, Member, Persistence, Pool
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import (
    POOLS_OF_LISTENER,
    Algorithm,
    ListenerProtocol,
    MonitorType,
    PersistenceType,
    PoolProtocol,
)
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import Templates
from colonnade.drivers.amphora.protocol import Severity

TEMPLATES = Templates.load()  # compiled once for all tests of a process

HTTP, TCP, HTTPS = ListenerProtocol.HTTP, ListenerProtocol.TCP, ListenerProtocol.HTTPS


def ident(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def member(number: int, address: str = "", **more: Any) -> Member:
    address = address or f"10.0.0.{number}"
    return Member(id=MemberId(ident(number)), address=address, protocol_port=80, **more)


def monitor(kind: MonitorType, **more: Any) -> HealthMonitor:
    given: dict[str, Any] = {
        "delay": 5,
        "timeout": 3,
        "max_retries": 2,
        "max_retries_down": 4,
    } | more
    return HealthMonitor(id=HealthMonitorId(ident(900)), type=kind, **given)


def pool(number: int = 200, protocol: PoolProtocol = PoolProtocol.HTTP, **more: Any) -> Pool:
    given: dict[str, Any] = {
        "lb_algorithm": Algorithm.ROUND_ROBIN,
        "members": (member(1), member(2)),
    } | more
    return Pool(id=PoolId(ident(number)), protocol=protocol, **given)


def listener(number: int = 100, protocol: ListenerProtocol = HTTP, **more: Any) -> Listener:
    given: dict[str, Any] = {"protocol_port": number, "default_pool_id": PoolId(ident(200))} | more
    return Listener(id=ListenerId(ident(number)), protocol=protocol, **given)


def tree(
    listeners: tuple[Listener, ...],
    pools: tuple[Pool, ...],
    *,
    vip: str = "203.0.113.9",
    number: int = 10,
    **more: Any,
) -> LoadBalancer:
    return LoadBalancer(
        id=LoadBalancerId(ident(number)),
        project_id=ProjectId("p"),
        cluster_id=ClusterId(ident(1)),
        provider="amphora",
        vip=Vip(
            address=vip,
            port_id=PortId(ident(2)),
            subnet_id=SubnetId(ident(3)),
            network_id=NetworkId(ident(4)),
        ),
        listeners=listeners,
        pools=pools,
        **more,
    )


def cluster(*trees: LoadBalancer, **more: Any) -> Cluster:
    return Cluster(id=ClusterId(ident(1)), generation=7, load_balancers=trees, **more)


def web(kind: ListenerProtocol = HTTP, **of_pool: Any) -> Cluster:
    """One listener and one pool that has these."""
    plain = {HTTP: PoolProtocol.HTTP, TCP: PoolProtocol.TCP, HTTPS: PoolProtocol.HTTPS}[kind]
    given = {"protocol": plain} | of_pool
    return cluster(tree((listener(protocol=kind),), (pool(**given),)))


def sticky(kind: PersistenceType, cookie: str | None = None) -> Cluster:
    return web(session_persistence=Persistence(type=kind, cookie_name=cookie))


FEATURES: dict[str, Cluster] = {
    "http": web(),
    "tcp": web(TCP),
    "https-passthrough": web(HTTPS),
    "no-pool-http": cluster(tree((listener(default_pool_id=None),), ())),
    "no-pool-tcp": cluster(tree((listener(protocol=TCP, default_pool_id=None),), ())),
    "no-members": web(members=()),
    "ipv6": cluster(
        tree((listener(),), (pool(members=(member(1, "2001:db8::5"),)),), vip="2001:db8:1::9")
    ),
    "limits-and-timeouts": cluster(
        tree(
            (
                listener(
                    connection_limit=77,
                    timeout_client_data=0,
                    timeout_member_connect=1,
                    timeout_member_data=2_073_600_000,
                    timeout_tcp_inspect=10,
                ),
            ),
            (pool(),),
        )
    ),
    "inserted-headers": cluster(
        tree(
            (
                listener(
                    insert_headers={
                        "X-Forwarded-For": "true",
                        "X-Forwarded-Port": "True",
                        "X-Forwarded-Proto": "true",
                        "X-Real-IP": "false",
                    }
                ),
            ),
            (pool(),),
        )
    ),
    "weights-backup-disabled": web(
        members=(
            member(1, weight=0),
            member(2, weight=256, backup=True),
            member(3, admin_state_up=False),
        )
    ),
    "least-connections": web(lb_algorithm=Algorithm.LEAST_CONNECTIONS),
    "source-ip": web(lb_algorithm=Algorithm.SOURCE_IP),
    "sticky-source": sticky(PersistenceType.SOURCE_IP),
    "sticky-cookie": sticky(PersistenceType.HTTP_COOKIE),
    "sticky-app-cookie": sticky(PersistenceType.APP_COOKIE, "JSESSIONID"),
    "proxy": web(TCP, protocol=PoolProtocol.PROXY),
    "proxy-v2": web(protocol=PoolProtocol.PROXYV2, health_monitor=monitor(MonitorType.TCP)),
    "monitor-http": web(
        health_monitor=monitor(
            MonitorType.HTTP, url_path="/up?x='1'&y=%20", expected_codes="200,204"
        )
    ),
    "monitor-http-1.1": web(
        health_monitor=monitor(
            MonitorType.HTTP, http_method="HEAD", http_version=1.1, domain_name="www.example.org"
        )
    ),
    "monitor-https": web(
        HTTPS, health_monitor=monitor(MonitorType.HTTPS, http_version=1.1, expected_codes="200-299")
    ),
    "monitor-tcp": web(TCP, health_monitor=monitor(MonitorType.TCP, delay=0, timeout=0)),
    "monitor-tls-hello": web(HTTPS, health_monitor=monitor(MonitorType.TLS_HELLO)),
    "monitor-elsewhere": web(
        members=(member(1, monitor_address="10.9.9.9", monitor_port=8080), member(2)),
        health_monitor=monitor(MonitorType.TCP),
    ),
    "monitor-down": web(health_monitor=monitor(MonitorType.TCP, admin_state_up=False)),
    "pool-down": web(admin_state_up=False),
    "listener-down": cluster(tree((listener(100, admin_state_up=False), listener(101)), (pool(),))),
    "shared-pool": cluster(tree((listener(100), listener(101)), (pool(),))),
    "pool-in-two-modes": cluster(tree((listener(100), listener(101, TCP)), (pool(),))),
    "two-load-balancers": cluster(
        tree((listener(101, default_pool_id=PoolId(ident(201))),), (pool(201),), number=11),
        tree((listener(),), (pool(),), vip="203.0.113.8"),
    ),
}

_addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(
    lambda a: not (a.is_multicast or a.is_unspecified)
)
_written = st.one_of(
    _addresses.map(str),
    _addresses.map(str),
    st.sampled_from(["fe80::1%eth0", "fe80::1%x\n    mode http", "fe80::1% check"]),
)
_hostile = st.text(
    alphabet=st.one_of(
        st.sampled_from("\n\r\t\0 '\"\\#$%{}[]();,=&|`~\u2028\u0085é\U0001f600"), st.characters()
    ),
    max_size=255,
)
_paths = st.one_of(
    st.none(),
    _hostile.map(lambda text: "/" + text),
    st.text(alphabet="/abc'\"\\$%#{}&?=;é\u00a0", max_size=40).map(lambda text: "/" + text),
)
_ports = st.integers(1, 65535)

_members = st.builds(
    lambda number, address, **more: Member(id=MemberId(ident(number)), address=address, **more),
    number=st.integers(1, 10**9),
    address=_written,
    protocol_port=_ports,
    name=_hostile,
    weight=st.integers(0, 256),
    backup=st.booleans(),
    admin_state_up=st.booleans(),
    monitor_address=st.none() | _written,
    monitor_port=st.none() | _ports,
)
_monitors = st.builds(
    HealthMonitor,
    id=st.just(HealthMonitorId(ident(900))),
    type=st.sampled_from(
        [MonitorType.HTTP, MonitorType.HTTPS, MonitorType.TCP, MonitorType.TLS_HELLO]
    ),
    name=_hostile,
    delay=st.integers(0, INTEGER_MAX),
    timeout=st.integers(0, INTEGER_MAX),
    max_retries=st.integers(1, 10),
    max_retries_down=st.integers(1, 10),
    url_path=_paths,
    http_method=st.sampled_from([None, "GET", "HEAD", "CONNECT", "OPTIONS"]),
    expected_codes=st.sampled_from([None, "200", "200,301", "200-299", "200\n"]),
    http_version=st.sampled_from([None, 1.0, 1.1]),
    domain_name=st.sampled_from([None, "a", "www.example.org", "x" * 255]) | _hostile,
)
_cookies = (st.text(alphabet="abcZ09!#$%&*+.^_`|~-'", min_size=1, max_size=255) | _hostile).filter(
    lambda name: COOKIE_NAME.fullmatch(name) is not None and name != ""
)
_stickiness = st.one_of(
    st.none(),
    st.sampled_from([PersistenceType.SOURCE_IP, PersistenceType.HTTP_COOKIE]).map(
        lambda kind: Persistence(type=kind)
    ),
    _cookies.map(lambda name: Persistence(type=PersistenceType.APP_COOKIE, cookie_name=name)),
)


@st.composite
def served_trees(draw: st.DrawFn) -> LoadBalancer:
    """A tree that no objection calls incompatible, with user texts of all kinds in it."""
    protocols = draw(st.lists(st.sampled_from([HTTP, TCP, HTTPS]), min_size=1, max_size=3))
    pools, listeners = [], []
    for number, protocol in enumerate(protocols):
        kinds = sorted(POOLS_OF_LISTENER[protocol])
        chosen = draw(st.none() | st.sampled_from(kinds))
        pool_id = PoolId(ident(200 + number)) if chosen is not None else None
        if chosen is not None:
            pools.append(draw(_pool_of(number, chosen)))
        listeners.append(
            listener(
                100 + number,
                protocol,
                default_pool_id=pool_id,
                name=draw(_hostile),
                connection_limit=draw(st.integers(-1, 2**31)),
                timeout_client_data=draw(st.integers(0, 2_073_600_000)),
                insert_headers=draw(_headers) if protocol is HTTP else {},
            )
        )
    made = tree(tuple(listeners), tuple(pools), vip=str(draw(_addresses)), name=draw(_hostile))
    return _without_refused(made)


_headers = st.dictionaries(
    st.sampled_from(["X-Forwarded-For", "X-Forwarded-Port", "X-Real-IP"]),
    st.sampled_from(["true", "false", "True"]),
)


@st.composite
def _pool_of(draw: st.DrawFn, number: int, protocol: PoolProtocol) -> Pool:
    found = draw(st.lists(_members, max_size=4, unique_by=(lambda m: m.id, lambda m: m.endpoint)))
    return pool(
        200 + number,
        protocol,
        name=draw(_hostile),
        members=tuple(found),
        lb_algorithm=draw(
            st.sampled_from(
                [Algorithm.ROUND_ROBIN, Algorithm.LEAST_CONNECTIONS, Algorithm.SOURCE_IP]
            )
        ),
        session_persistence=draw(_stickiness),
        health_monitor=draw(st.none() | _monitors),
    )


def _without_refused(made: LoadBalancer) -> LoadBalancer:
    """Drop the parts that the driver refuses: what is left must be accepted by haproxy."""
    without: dict[str, dict[str, Any]] = {
        "session_persistence": {"session_persistence": None},
        "healthmonitor": {"health_monitor": None},
        "members": {"members": ()},
    }
    for objection in objections(made):
        if objection.severity is Severity.INCOMPATIBLE:
            _, pool_id, part, *_ = objection.path.split("/")
            made = made.with_pool(replace(made.pool(PoolId(pool_id)), **without[part]))
    return made
