# SPDX-License-Identifier: Apache-2.0
"""Pools, their members and how those are checked: what stands behind a listener.

Values are checked as they are made. An edit is a function from a pool to a pool. Nothing here
knows which listener uses a pool.
"""

import re
from collections import Counter
from functools import lru_cache
from typing import Annotated, Final, NoReturn

import msgspec
from msgspec import Meta

from colonnade.domain import limits
from colonnade.domain.addresses import REMEMBERED, canonical, parsed
from colonnade.domain.attributes import Attribute
from colonnade.domain.errors import Conflict, require
from colonnade.domain.ids import HealthMonitorId, MemberId, PoolId, SubnetId
from colonnade.domain.limits import (
    Integer,
    Port,
    Resting,
    Retries,
    Seconds,
    Text,
    Weight,
)
from colonnade.domain.node import Description, Node
from colonnade.domain.tls import Alpn, CipherList, Versions, check_reference, check_tls
from colonnade.domain.vocabulary import (
    DATAGRAM_POOLS,
    Algorithm,
    HttpMethod,
    MonitorType,
    Observed,
    PersistenceType,
    PoolProtocol,
)

# RFC 1123; a label may begin with an underscore (RFC 8552) and the name end with a dot.
_LABEL: Final = r"(?=[^.]{1,63}(?:\.|\Z))_?[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?")
# What begins with two slashes names a host.
_URL_PATH: Final = r"^/(?!/)\S*$"
_CODES: Final = r"^[1-5][0-9]{2}( *, *[1-5][0-9]{2})*$(?!\n)|^[1-5][0-9]{2}-[1-5][0-9]{2}$(?!\n)"
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
    # IPv4 or IPv6, as it was sent.
    address: Annotated[str, Attribute("Its IP address.", fixed=True, is_address=True)]
    protocol_port: Annotated[Port, Attribute("Its port.", option="--port", fixed=True)]
    weight: Annotated[Weight, Attribute("Its share; 0 drains it.")] = 1
    backup: Annotated[bool, Attribute("Serves only when the others are down.")] = False
    subnet_id: Annotated[
        SubnetId | None,
        Attribute(
            "Subnet of its address; without it, the route is used.",
            option="--subnet",
            refers="subnet",
            fixed=True,
        ),
    ] = None
    monitor_address: Annotated[
        Text | None, Attribute("Address for health checks, if another.", is_address=True)
    ] = None
    monitor_port: Annotated[Port | None, Attribute("Port for health checks, if another.")] = None
    request_sriov: Annotated[bool, Attribute("Reach it over SR-IOV.", fixed=True, shown=False)] = (
        False
    )

    def __post_init__(self) -> None:
        Node.__post_init__(self)
        _check_address(self.address)
        if self.monitor_address is not None:
            parsed(self.monitor_address)

    @property
    def endpoint(self) -> tuple[str, int]:
        """What tells it from the others of its pool."""
        return canonical(self.address), self.protocol_port


class HealthMonitor(Node, frozen=True, kw_only=True):
    """How members are checked. `delay` and `timeout` are seconds."""

    id: HealthMonitorId
    type: Annotated[MonitorType, Attribute("How it asks.", fixed=True)]
    delay: Annotated[Seconds, Attribute("Seconds between checks.")]
    timeout: Annotated[Seconds, Attribute("Seconds to answer a check.")]
    max_retries: Annotated[Retries, Attribute("Successful checks until it is up.")]
    max_retries_down: Annotated[Retries, Attribute("Failed checks until it is down.")] = 3
    # Of the types HTTP and HTTPS alone; what those have by default is in `HTTP_DEFAULTS`.
    http_method: Annotated[HttpMethod | None, Attribute()] = None
    url_path: Annotated[
        Annotated[Text, Meta(pattern=_URL_PATH)] | None, Attribute("Path of the request.")
    ] = None
    expected_codes: Annotated[
        Annotated[Text, Meta(pattern=_CODES)] | None,
        Attribute("Status codes: 200, or 200,202, or 200-204."),
    ] = None
    http_version: Annotated[float | None, Attribute("1.0 or 1.1.")] = None
    domain_name: Annotated[
        Annotated[Text, Meta(min_length=1)] | None, Attribute("Host header of the request.")
    ] = None


HTTP_DEFAULTS: Final = {"http_method": HttpMethod.GET, "url_path": "/", "expected_codes": "200"}


class Persistence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Annotated[PersistenceType, Attribute()]
    cookie_name: Annotated[Text | None, Attribute(unset_by_empty=True)] = None
    persistence_timeout: Annotated[Integer | None, Attribute()] = None
    persistence_granularity: Annotated[Text | None, Attribute()] = None

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
    description: Description = ""
    protocol: Annotated[PoolProtocol, Attribute("Protocol of the members.", fixed=True)]
    lb_algorithm: Annotated[Algorithm, Attribute("Who is next.", option="--algorithm")]
    session_persistence: Annotated[
        Persistence | None,
        Attribute("type=SOURCE_IP, or type=APP_COOKIE and cookie_name=NAME."),
    ] = None
    tls_enabled: Annotated[bool, Attribute("Use TLS to members.", option="--tls/--no-tls")] = False
    tls_container_ref: Annotated[
        Text | None,
        Attribute(
            "Our certificate for members: a secret.", option="--certificate", refers="secret"
        ),
    ] = None
    ca_tls_container_ref: Annotated[
        Text | None,
        Attribute("CA of members' certificates: a secret.", option="--ca", refers="secret"),
    ] = None
    crl_container_ref: Annotated[
        Text | None,
        Attribute("Members' revoked certificates: a secret.", option="--crl", refers="secret"),
    ] = None
    tls_ciphers: CipherList = None
    tls_versions: Versions = ()
    alpn_protocols: Alpn = ()
    # Ours.
    slow_start: Annotated[Resting, Attribute("Seconds until a new member has its full share.")] = 0
    drain_seconds: Annotated[Resting, Attribute("Seconds for a removed member to finish.")] = 0
    panic_threshold: Annotated[
        Annotated[int, Meta(ge=0, le=99)], Attribute("Use all members when fewer are up (%).")
    ] = 0
    retries: Annotated[
        Annotated[int, Meta(ge=0, le=10)] | None,
        Attribute("How often a failed request is repeated.", chosen=True),  # on another member
    ] = None
    # Without TLS too, as gRPC servers speak it.
    http2: Annotated[bool, Attribute("Use HTTP/2 to members.")] = False
    outlier_ejection: Annotated[
        OutlierEjection | None, Attribute("errors=10, observe=RESPONSES.")
    ] = None
    members: tuple[Member, ...] = ()
    health_monitor: HealthMonitor | None = None

    def __post_init__(self) -> None:
        Node.__post_init__(self)
        check_tls(self)
        for field in ("tls_container_ref", "ca_tls_container_ref", "crl_container_ref"):
            check_reference(field, getattr(self, field))
        lone = self.crl_container_ref is not None and self.ca_tls_container_ref is None
        require("crl_container_ref", not lone, "needs a ca_tls_container_ref")
        self._check_persistence()
        count = len(self.members)
        require("members", count <= limits.MEMBERS_PER_POOL_MAX, "are too many")
        # As `endpoint`, but fast for a thousand members: an IPv4 address has one spelling.
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
