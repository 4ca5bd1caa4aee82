# SPDX-License-Identifier: Apache-2.0
"""What a user asked for: a load balancer and all that hangs under it.

Values are checked as they are made and never change, so code that holds one may trust it; not
even `replace` can make a bad one. An edit is a function from a tree to a tree; storing the
difference is somebody else's work. This module reads no clock, database or socket, and has
never heard of amphorae or haproxy.
"""

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address
from typing import Self, TypeVar

import msgspec
from msgspec.structs import replace

from colonnade.domain import limits
from colonnade.domain.errors import Conflict, NotFound, require
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


class ListenerProtocol(StrEnum):
    TCP = "TCP"
    HTTP = "HTTP"
    HTTPS = "HTTPS"
    TERMINATED_HTTPS = "TERMINATED_HTTPS"
    UDP = "UDP"
    SCTP = "SCTP"
    PROMETHEUS = "PROMETHEUS"


class PoolProtocol(StrEnum):
    TCP = "TCP"
    HTTP = "HTTP"
    HTTPS = "HTTPS"
    PROXY = "PROXY"
    PROXYV2 = "PROXYV2"
    UDP = "UDP"
    SCTP = "SCTP"


class Algorithm(StrEnum):
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_CONNECTIONS = "LEAST_CONNECTIONS"
    SOURCE_IP = "SOURCE_IP"
    SOURCE_IP_PORT = "SOURCE_IP_PORT"


class MonitorType(StrEnum):
    HTTP = "HTTP"
    HTTPS = "HTTPS"
    PING = "PING"
    TCP = "TCP"
    TLS_HELLO = "TLS-HELLO"
    UDP_CONNECT = "UDP-CONNECT"
    SCTP = "SCTP"


class PersistenceType(StrEnum):
    SOURCE_IP = "SOURCE_IP"
    HTTP_COOKIE = "HTTP_COOKIE"
    APP_COOKIE = "APP_COOKIE"


# Which pools a listener may use, by the wire contract (B.6).
POOLS_OF_LISTENER: dict[ListenerProtocol, frozenset[PoolProtocol]] = {
    ListenerProtocol.TCP: frozenset(
        {
            PoolProtocol.HTTP,
            PoolProtocol.HTTPS,
            PoolProtocol.PROXY,
            PoolProtocol.PROXYV2,
            PoolProtocol.TCP,
        }
    ),
    ListenerProtocol.HTTP: frozenset({PoolProtocol.HTTP, PoolProtocol.PROXY, PoolProtocol.PROXYV2}),
    ListenerProtocol.HTTPS: frozenset(
        {PoolProtocol.HTTPS, PoolProtocol.PROXY, PoolProtocol.PROXYV2, PoolProtocol.TCP}
    ),
    ListenerProtocol.TERMINATED_HTTPS: frozenset(
        {PoolProtocol.HTTP, PoolProtocol.PROXY, PoolProtocol.PROXYV2}
    ),
    ListenerProtocol.UDP: frozenset({PoolProtocol.UDP}),
    ListenerProtocol.SCTP: frozenset({PoolProtocol.SCTP}),
    ListenerProtocol.PROMETHEUS: frozenset(),
}

HTTP_MONITORS = frozenset({MonitorType.HTTP, MonitorType.HTTPS})
DATAGRAM_POOLS = frozenset({PoolProtocol.UDP, PoolProtocol.SCTP})


class _Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str = ""
    admin_state_up: bool = True
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require("name", len(self.name) <= limits.TEXT_MAX, f"is at most {limits.TEXT_MAX} long")
        require("tags", len(self.tags) <= limits.TAGS_MAX, f"are at most {limits.TAGS_MAX}")
        longest = max((len(tag) for tag in self.tags), default=0)
        require("tags", longest <= limits.TEXT_MAX, f"are at most {limits.TEXT_MAX} long")


class Member(_Node, frozen=True, kw_only=True):
    """A back-end server. Weight 0 drains it: open sessions finish, none start."""

    id: MemberId
    address: str  # IPv4 or IPv6, in its canonical form
    protocol_port: int
    weight: int = 1
    backup: bool = False
    subnet_id: SubnetId | None = None  # None: reached through the default gateway
    monitor_address: str | None = None
    monitor_port: int | None = None

    def __post_init__(self) -> None:
        _Node.__post_init__(self)
        address = ip_address(self.address)
        require("address", not address.is_multicast, "must be unicast")
        require("address", not address.is_unspecified, "must be a real address")
        require(
            "protocol_port",
            1 <= self.protocol_port <= limits.PORT_MAX,
            "must be between 1 and 65535",
        )
        require("weight", 0 <= self.weight <= limits.WEIGHT_MAX, "must be between 0 and 256")
        if self.monitor_address is not None:
            ip_address(self.monitor_address)
        if self.monitor_port is not None:
            require(
                "monitor_port",
                1 <= self.monitor_port <= limits.PORT_MAX,
                "must be between 1 and 65535",
            )

    @property
    def endpoint(self) -> tuple[str, int]:
        return self.address, self.protocol_port


class HealthMonitor(_Node, frozen=True, kw_only=True):
    """How members are checked. `delay` and `timeout` are seconds."""

    id: HealthMonitorId
    type: MonitorType
    delay: int
    timeout: int
    max_retries: int
    max_retries_down: int = 3
    http_method: str | None = None
    url_path: str | None = None
    expected_codes: str | None = None
    http_version: float | None = None
    domain_name: str | None = None

    def __post_init__(self) -> None:
        _Node.__post_init__(self)
        require("delay", self.delay >= 0, "must be 0 or more")
        require("timeout", self.timeout >= 0, "must be 0 or more")
        for field in ("max_retries", "max_retries_down"):
            require(
                field, 1 <= getattr(self, field) <= limits.RETRIES_MAX, "must be between 1 and 10"
            )


class Persistence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: PersistenceType
    cookie_name: str | None = None
    persistence_timeout: int | None = None
    persistence_granularity: str | None = None

    def __post_init__(self) -> None:
        named = self.cookie_name is not None
        require(
            "session_persistence.cookie_name",
            named == (self.type is PersistenceType.APP_COOKIE),
            "goes with APP_COOKIE, and only with it",
        )


class Pool(_Node, frozen=True, kw_only=True):
    """Members that share one balancing rule. No two have the same address and port."""

    id: PoolId
    protocol: PoolProtocol
    lb_algorithm: Algorithm
    description: str = ""
    session_persistence: Persistence | None = None
    members: tuple[Member, ...] = ()
    health_monitor: HealthMonitor | None = None

    def __post_init__(self) -> None:
        _Node.__post_init__(self)
        require("description", len(self.description) <= limits.TEXT_MAX, "is at most 255 long")
        count = len(self.members)
        require("members", count <= limits.MEMBERS_PER_POOL_MAX, "are too many")
        seen: set[tuple[str, int]] = set()
        for member in self.members:
            if member.endpoint in seen:
                raise Conflict(
                    f"Another member on this pool is already using ip {member.address} "
                    f"on protocol_port {member.protocol_port}"
                )
            seen.add(member.endpoint)

    def member(self, member_id: MemberId) -> Member:
        return _only("Member", member_id, (m for m in self.members if m.id == member_id))

    def with_member(self, member: Member) -> Self:
        """Add the member, or replace the one that has its id."""
        return replace(self, members=_put(self.members, member))

    def without_member(self, member_id: MemberId) -> Self:
        self.member(member_id)
        return replace(self, members=tuple(m for m in self.members if m.id != member_id))


class Listener(_Node, frozen=True, kw_only=True):
    """A port on the VIP. `timeout_*` are milliseconds; -1 connections means no limit."""

    id: ListenerId
    protocol: ListenerProtocol
    protocol_port: int
    description: str = ""
    default_pool_id: PoolId | None = None
    connection_limit: int = -1
    insert_headers: dict[str, str] = {}
    timeout_client_data: int = 50_000
    timeout_member_connect: int = 5_000
    timeout_member_data: int = 50_000
    timeout_tcp_inspect: int = 0
    allowed_cidrs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _Node.__post_init__(self)
        require("description", len(self.description) <= limits.TEXT_MAX, "is at most 255 long")
        require(
            "protocol_port",
            1 <= self.protocol_port <= limits.PORT_MAX,
            "must be between 1 and 65535",
        )
        require("connection_limit", self.connection_limit >= -1, "must be -1 or more")
        for field in (
            "timeout_client_data",
            "timeout_member_connect",
            "timeout_member_data",
            "timeout_tcp_inspect",
        ):
            value: int = getattr(self, field)
            require(field, 0 <= value <= limits.TIMEOUT_MS_MAX, "must be between 0 and 2073600000")

    @property
    def transport(self) -> str:
        """The layer-4 protocol; listeners of one transport may not share a port."""
        if self.protocol in (ListenerProtocol.UDP, ListenerProtocol.SCTP):
            return self.protocol.value
        return "TCP"


class Vip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where clients knock: one address on one port of the network service."""

    address: str
    port_id: PortId
    subnet_id: SubnetId
    network_id: NetworkId
    owned: bool = True  # False: the user brought the port, so it is not ours to delete
    qos_policy_id: str | None = None


class LoadBalancer(_Node, frozen=True, kw_only=True):
    """The root of a tree. Pools hang here too: listeners name them by id."""

    id: LoadBalancerId
    project_id: ProjectId
    cluster_id: ClusterId
    vip: Vip
    provider: str  # the name that was asked for: an alias stays an alias
    description: str = ""
    flavor_id: str | None = None
    availability_zone: str | None = None
    listeners: tuple[Listener, ...] = ()
    pools: tuple[Pool, ...] = ()

    def __post_init__(self) -> None:
        _Node.__post_init__(self)
        require("description", len(self.description) <= limits.TEXT_MAX, "is at most 255 long")
        require(
            "listeners",
            len(self.listeners) <= limits.LISTENERS_PER_LOAD_BALANCER_MAX,
            "are too many",
        )
        require("pools", len(self.pools) <= limits.POOLS_PER_LOAD_BALANCER_MAX, "are too many")
        self._check_ports()
        pools = {pool.id: pool for pool in self.pools}
        for listener in self.listeners:
            self._check_default_pool(listener, pools)

    def _check_ports(self) -> None:
        taken: set[tuple[str, int]] = set()
        for listener in self.listeners:
            place = listener.transport, listener.protocol_port
            if place in taken:
                raise Conflict(
                    "Another Listener on this Load Balancer is already using protocol "
                    f"{listener.protocol.value} and protocol_port {listener.protocol_port}"
                )
            taken.add(place)

    def _check_default_pool(self, listener: Listener, pools: dict[PoolId, Pool]) -> None:
        if listener.default_pool_id is None:
            return
        pool = pools.get(listener.default_pool_id)
        if pool is None:
            raise NotFound(f"Pool {listener.default_pool_id} not found.")
        require(
            "default_pool_id",
            pool.protocol in POOLS_OF_LISTENER[listener.protocol],
            f"names a {pool.protocol.value} pool, which cannot serve a "
            f"{listener.protocol.value} listener",
        )

    def listener(self, listener_id: ListenerId) -> Listener:
        return _only("Listener", listener_id, (x for x in self.listeners if x.id == listener_id))

    def pool(self, pool_id: PoolId) -> Pool:
        return _only("Pool", pool_id, (p for p in self.pools if p.id == pool_id))

    def with_listener(self, listener: Listener) -> Self:
        return replace(self, listeners=_put(self.listeners, listener))

    def without_listener(self, listener_id: ListenerId) -> Self:
        self.listener(listener_id)
        return replace(self, listeners=tuple(x for x in self.listeners if x.id != listener_id))

    def with_pool(self, pool: Pool) -> Self:
        return replace(self, pools=_put(self.pools, pool))

    def without_pool(self, pool_id: PoolId) -> Self:
        """Drop the pool; listeners that used it are left without one."""
        self.pool(pool_id)
        return replace(
            self,
            pools=tuple(p for p in self.pools if p.id != pool_id),
            listeners=tuple(
                replace(x, default_pool_id=None) if x.default_pool_id == pool_id else x
                for x in self.listeners
            ),
        )


_Child = TypeVar("_Child", Listener, Pool, Member)
_T = TypeVar("_T")


def _put(nodes: tuple[_Child, ...], node: _Child) -> tuple[_Child, ...]:
    kept = [node if other.id == node.id else other for other in nodes]
    if node not in kept:
        kept.append(node)
    return tuple(kept)


def _only(noun: str, wanted: str, found: Iterator[_T]) -> _T:
    for node in found:
        return node
    raise NotFound(f"{noun} {wanted} not found.")
