# SPDX-License-Identifier: Apache-2.0
"""Pools, their members and how those are checked: what stands behind a listener.

Values are checked as they are made. An edit is a function from a pool to a pool. Nothing here
knows which listener uses a pool.
"""

import re
from collections import Counter
from functools import lru_cache
from typing import Final, NoReturn, Self

import msgspec
from msgspec.structs import replace

from colonnade.domain import limits
from colonnade.domain.addresses import REMEMBERED, canonical, parsed
from colonnade.domain.errors import Conflict, require
from colonnade.domain.ids import HealthMonitorId, MemberId, PoolId, SubnetId
from colonnade.domain.node import Node, only, put
from colonnade.domain.tls import check_reference, check_tls
from colonnade.domain.vocabulary import (
    DATAGRAM_POOLS,
    Algorithm,
    AlpnProtocol,
    MonitorType,
    Observed,
    PersistenceType,
    PoolProtocol,
    TlsVersion,
)

# RFC 1123; a label may begin with an underscore (RFC 8552) and the name end with a dot.
_LABEL: Final = r"(?=[^.]{1,63}(?:\.|\Z))_?[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?")
COOKIE_NAME: Final = re.compile(r"[^\s,;\\\x00-\x20\x7f]*")  # contract (B.6)


@lru_cache(REMEMBERED)
def _check_address(text: str) -> None:
    """Remembered, for whoever edits a pool of a thousand members makes all of them anew."""
    address = parsed(text)
    require("address", not address.is_multicast, "must be unicast")
    require("address", not address.is_unspecified, "must be a real address")


def is_host_name(text: str) -> bool:
    return _HOST_NAME.fullmatch(text) is not None


class Member(Node, frozen=True, kw_only=True):
    """A back-end server. Weight 0 drains it: open sessions finish, none start."""

    id: MemberId
    address: str  # IPv4 or IPv6, as it was sent
    protocol_port: int
    weight: int = 1
    backup: bool = False
    subnet_id: SubnetId | None = None  # None: reached through the default gateway
    monitor_address: str | None = None
    monitor_port: int | None = None
    request_sriov: bool = False

    def __post_init__(self) -> None:
        Node.__post_init__(self)
        _check_address(self.address)
        require(
            "protocol_port",
            1 <= self.protocol_port <= limits.PORT_MAX,
            "must be between 1 and 65535",
        )
        require("weight", 0 <= self.weight <= limits.WEIGHT_MAX, "must be between 0 and 256")
        if self.monitor_address is not None:
            parsed(self.monitor_address)
        if self.monitor_port is not None:
            require(
                "monitor_port",
                1 <= self.monitor_port <= limits.PORT_MAX,
                "must be between 1 and 65535",
            )

    @property
    def endpoint(self) -> tuple[str, int]:
        """What tells it from the others of its pool."""
        return canonical(self.address), self.protocol_port


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
        fits = COOKIE_NAME.fullmatch(self.cookie_name or "") is not None
        require(
            "session_persistence.cookie_name",
            fits and len(self.cookie_name or "") <= limits.TEXT_MAX,
            "has characters that the name of a cookie cannot have",
        )


class OutlierEjection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A member that fails `errors` times in a row in real traffic counts as down until its health
    monitor finds it up again."""

    errors: int = 10
    observe: Observed = Observed.RESPONSES

    def __post_init__(self) -> None:
        require("outlier_ejection.errors", 1 <= self.errors <= 1000, "must be between 1 and 1000")


class Pool(Node, frozen=True, kw_only=True, weakref=True):
    """Members that share one balancing rule. No two have the same address and port."""

    id: PoolId
    protocol: PoolProtocol
    lb_algorithm: Algorithm
    description: str = ""
    session_persistence: Persistence | None = None
    tls_enabled: bool = False  # TLS to the members
    tls_container_ref: str | None = None  # our own certificate, shown to members
    ca_tls_container_ref: str | None = None
    crl_container_ref: str | None = None
    tls_ciphers: str | None = None
    tls_versions: tuple[TlsVersion, ...] = ()
    alpn_protocols: tuple[AlpnProtocol, ...] = ()
    members: tuple[Member, ...] = ()
    health_monitor: HealthMonitor | None = None
    # Ours. Seconds, per cent, and how often a failed request is tried on another member.
    slow_start: int = 0
    drain_seconds: int = 0
    panic_threshold: int = 0
    retries: int | None = None
    http2: bool = False  # cleartext HTTP/2 to the members, as gRPC servers speak it
    outlier_ejection: OutlierEjection | None = None

    def __post_init__(self) -> None:
        Node.__post_init__(self)
        require("description", len(self.description) <= limits.TEXT_MAX, "is at most 255 long")
        check_tls(self)
        for field in ("tls_container_ref", "ca_tls_container_ref", "crl_container_ref"):
            check_reference(field, getattr(self, field))
        lone = self.crl_container_ref is not None and self.ca_tls_container_ref is None
        require("crl_container_ref", not lone, "needs a ca_tls_container_ref")
        for field, most in (("slow_start", 3600), ("drain_seconds", 3600), ("panic_threshold", 99)):
            require(field, 0 <= getattr(self, field) <= most, f"must be between 0 and {most}")
        require("retries", 0 <= (self.retries or 0) <= 10, "must be between 0 and 10")
        self._check_persistence()
        count = len(self.members)
        require("members", count <= limits.MEMBERS_PER_POOL_MAX, "are too many")
        # As `endpoint`, but of a thousand: an IPv4 address has one spelling.
        places = {
            (m.address if ":" not in m.address else canonical(m.address), m.protocol_port)
            for m in self.members
        }
        if len(places) != count:
            self._refuse_twins()

    def _refuse_twins(self) -> NoReturn:
        times = Counter(member.endpoint for member in self.members)
        ((address, port), _), *_ = times.most_common(1)
        raise Conflict(
            f"Another member on this pool is already using ip {address} on protocol_port {port}"
        )

    def _check_persistence(self) -> None:
        wish = self.session_persistence
        if wish is None:
            return
        datagrams = self.protocol in DATAGRAM_POOLS
        fits = not datagrams or wish.type is PersistenceType.SOURCE_IP
        require("session_persistence.type", fits, "must be SOURCE_IP for UDP and SCTP pools")
        for field in ("persistence_timeout", "persistence_granularity"):
            fits = datagrams or getattr(wish, field) is None
            require(f"session_persistence.{field}", fits, "goes with UDP and SCTP pools alone")

    def member(self, member_id: MemberId) -> Member:
        return only("Member", member_id, (m for m in self.members if m.id == member_id))

    def with_member(self, member: Member) -> Self:
        """Add the member, or replace the one that has its id."""
        return replace(self, members=put(self.members, member))

    def without_member(self, member_id: MemberId) -> Self:
        self.member(member_id)
        return replace(self, members=tuple(m for m in self.members if m.id != member_id))
