# SPDX-License-Identifier: Apache-2.0
"""Pools, their members and how those are checked: what stands behind a listener.

Values are checked as they are made. An edit is a function from a pool to a pool. Nothing here
knows which listener uses a pool.
"""

from ipaddress import ip_address
from typing import Self

import msgspec
from msgspec.structs import replace

from colonnade.domain import limits
from colonnade.domain.errors import Conflict, require
from colonnade.domain.ids import HealthMonitorId, MemberId, PoolId, SubnetId
from colonnade.domain.node import Node, only, put
from colonnade.domain.vocabulary import Algorithm, MonitorType, PersistenceType, PoolProtocol


class Member(Node, frozen=True, kw_only=True):
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
        Node.__post_init__(self)
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


class HealthMonitor(Node, frozen=True, kw_only=True):
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
        Node.__post_init__(self)
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


class Pool(Node, frozen=True, kw_only=True):
    """Members that share one balancing rule. No two have the same address and port."""

    id: PoolId
    protocol: PoolProtocol
    lb_algorithm: Algorithm
    description: str = ""
    session_persistence: Persistence | None = None
    members: tuple[Member, ...] = ()
    health_monitor: HealthMonitor | None = None

    def __post_init__(self) -> None:
        Node.__post_init__(self)
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
        return only("Member", member_id, (m for m in self.members if m.id == member_id))

    def with_member(self, member: Member) -> Self:
        """Add the member, or replace the one that has its id."""
        return replace(self, members=put(self.members, member))

    def without_member(self, member_id: MemberId) -> Self:
        self.member(member_id)
        return replace(self, members=tuple(m for m in self.members if m.id != member_id))
