# SPDX-License-Identifier: Apache-2.0
"""Listeners: the ports of a load balancer's VIP, and what is done there with a client's traffic.

Values are checked as they are made. Nothing here knows whether a pool that is named is there.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Self

import msgspec
from msgspec.structs import replace

from colonnade.domain import limits
from colonnade.domain.errors import Invalid, require
from colonnade.domain.ids import L7PolicyId, ListenerId, PoolId, is_id
from colonnade.domain.l7 import L7Policy
from colonnade.domain.node import Node, only
from colonnade.domain.once import once_each_all
from colonnade.domain.tls import check_reference, check_tls
from colonnade.domain.vocabulary import (
    HTTP_LISTENERS,
    INSERTED_HEADERS,
    INSERTED_TLS_HEADERS,
    AlpnProtocol,
    ClientAuthentication,
    ListenerProtocol,
    LogFormat,
    TlsVersion,
)

REFERENCES: Final = (
    "default_tls_container_ref",
    "client_ca_tls_container_ref",
    "client_crl_container_ref",
)


class AccessLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line for each request or connection, in this format, to this log target. Without a
    target: none, whatever the load balancer says."""

    format: LogFormat = LogFormat.JSON
    target_id: str | None = None

    def __post_init__(self) -> None:
        known = self.target_id is None or is_id(self.target_id)
        require("access_log.target_id", known, "must be the id of a log target")


class Listener(Node, frozen=True, kw_only=True, weakref=True):
    """A port on the VIP. `timeout_*` are milliseconds; -1 connections means no limit."""

    id: ListenerId
    protocol: ListenerProtocol
    protocol_port: int
    description: str = ""
    default_pool_id: PoolId | None = None
    connection_limit: int = -1
    insert_headers: dict[str, str] = msgspec.field(default_factory=dict)
    timeout_client_data: int = 50_000
    timeout_member_connect: int = 5_000
    timeout_member_data: int = 50_000
    timeout_tcp_inspect: int = 0
    allowed_cidrs: tuple[str, ...] = ()
    default_tls_container_ref: str | None = None
    sni_container_refs: tuple[str, ...] = ()
    client_ca_tls_container_ref: str | None = None
    client_authentication: ClientAuthentication = ClientAuthentication.NONE
    client_crl_container_ref: str | None = None
    tls_ciphers: str | None = None
    tls_versions: tuple[TlsVersion, ...] = ()
    alpn_protocols: tuple[AlpnProtocol, ...] = ()
    hsts_max_age: int | None = None
    hsts_include_subdomains: bool = False
    hsts_preload: bool = False
    l7policies: tuple[L7Policy, ...] = ()  # in the order of their positions
    # Ours.
    compression: bool = False
    access_log: AccessLog | None = None

    def __post_init__(self) -> None:
        Node.__post_init__(self)
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
        count = len(self.allowed_cidrs)
        require("allowed_cidrs", count <= limits.ALLOWED_CIDRS_MAX, "are too many")
        self._check_tls()
        self._check_headers()
        self._check_policies()

    def _check_tls(self) -> None:
        check_tls(self)
        for field in REFERENCES:
            check_reference(field, getattr(self, field))
        for reference in self.sni_container_refs:
            check_reference("sni_container_refs", reference)
        require(
            "sni_container_refs", len(self.sni_container_refs) <= limits.SNI_MAX, "are too many"
        )
        ends_tls = self.protocol is ListenerProtocol.TERMINATED_HTTPS
        serves = self.default_tls_container_ref is not None or bool(self.sni_container_refs)
        if ends_tls and not serves:
            raise Invalid(
                "An SNI or default certificate container reference must be provided with "
                "TERMINATED_HTTPS listeners.",
                field="default_tls_container_ref",
            )
        may = ends_tls or self.protocol is ListenerProtocol.PROMETHEUS
        for field in (*REFERENCES, "sni_container_refs"):
            unset = not getattr(self, field)
            require(field, may or unset, "goes with TERMINATED_HTTPS listeners alone")
        for field in ("client_ca_tls_container_ref", "client_crl_container_ref"):
            require(field, serves or getattr(self, field) is None, "needs a server certificate")
        has_ca = self.client_ca_tls_container_ref is not None
        lone = self.client_crl_container_ref is not None and not has_ca
        require("client_crl_container_ref", not lone, "needs a client_ca_tls_container_ref")
        asks = self.client_authentication is not ClientAuthentication.NONE
        require("client_authentication", has_ca or not asks, "needs a client_ca_tls_container_ref")
        self._check_hsts(ends_tls)

    def _check_hsts(self, ends_tls: bool) -> None:
        on = self.hsts_max_age is not None
        require("hsts_max_age", ends_tls or not on, "goes with TERMINATED_HTTPS listeners alone")
        require("hsts_max_age", (self.hsts_max_age or 0) >= 0, "must be 0 or more")
        for field in ("hsts_include_subdomains", "hsts_preload"):
            require(field, on or not getattr(self, field), "needs hsts_max_age")

    def _check_headers(self) -> None:
        if not self.insert_headers:
            return
        if self.protocol not in HTTP_LISTENERS:
            raise Invalid(
                f"insert_headers is not a valid option for a {self.protocol.value} listener"
            )
        ends_tls = self.protocol is ListenerProtocol.TERMINATED_HTTPS
        known = (*INSERTED_HEADERS, *(INSERTED_TLS_HEADERS if ends_tls else ()))
        for header, value in self.insert_headers.items():
            if header not in known:
                raise Invalid(f"{header} is not a valid option for insert_headers")
            if value.lower() not in ("true", "false"):
                raise Invalid(f"{value} is not a valid option for {header} in insert_headers")

    def _check_policies(self) -> None:
        count = len(self.l7policies)
        require("l7policies", count <= limits.POLICIES_PER_LISTENER_MAX, "are too many")
        childless = self.protocol is ListenerProtocol.PROMETHEUS
        if childless and (self.l7policies or self.default_pool_id is not None):
            raise Invalid("Protocol PROMETHEUS listeners can not have child objects.")
        packed = all(p.position == n for n, p in enumerate(self.l7policies, start=1))
        assert packed, "positions are packed; use with_policy"

    @property
    def pool_ids(self) -> frozenset[PoolId]:
        """The pools that requests may go to."""
        return frozenset(pool_id for _, pool_id in self.named_pools)

    @property
    def named_pools(self) -> tuple[tuple[str, PoolId], ...]:
        """Each with the attribute that names it: of the listener itself first, each pair once."""
        return _named_pools(self)

    def policy(self, policy_id: L7PolicyId) -> L7Policy:
        return only("L7 Policy", policy_id, (p for p in self.l7policies if p.id == policy_id))

    def with_policy(self, policy: L7Policy) -> Self:
        """Put the policy at its position, or last; it replaces the one that has its id. The others
        make room, and all are numbered anew from 1."""
        others = [p for p in self.l7policies if p.id != policy.id]
        others.insert(policy.position - 1, policy)
        return self.with_policies(others)

    def without_policy(self, policy_id: L7PolicyId) -> Self:
        self.policy(policy_id)
        return self.with_policies(p for p in self.l7policies if p.id != policy_id)

    def with_policies(self, policies: Iterable[L7Policy]) -> Self:
        """These policies and no others, in this order."""
        packed = tuple(
            policy if policy.position == place else replace(policy, position=place)
            for place, policy in enumerate(policies, start=1)
        )
        return replace(self, l7policies=packed)

    @property
    def transport(self) -> str:
        """The layer-4 protocol; listeners of one transport may not share a port."""
        if self.protocol in (ListenerProtocol.UDP, ListenerProtocol.SCTP):
            return self.protocol.value
        return "TCP"


@once_each_all
def _named_pools(listener: Listener) -> Iterator[tuple[str, PoolId]]:
    if listener.default_pool_id is not None:
        yield "default_pool_id", listener.default_pool_id
    named = (pool_id for policy in listener.l7policies for pool_id in policy.pool_ids)
    yield from (("redirect_pool_id", pool_id) for pool_id in dict.fromkeys(named))
