# SPDX-License-Identifier: Apache-2.0
"""Listeners: the ports of a load balancer's VIP, and what is done there with a client's traffic.

Values are checked as they are made. Nothing here knows whether a pool that is named is there.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Self, TypeAlias

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from colonnade.domain import limits
from colonnade.domain.attributes import Attribute
from colonnade.domain.errors import Invalid, require
from colonnade.domain.ids import ListenerId, PoolId, is_id
from colonnade.domain.l7 import L7Policy
from colonnade.domain.limits import Milliseconds, Port, Seconds, Text
from colonnade.domain.node import Description, Node
from colonnade.domain.once import once_each_all
from colonnade.domain.tls import Alpn, CipherList, Versions, check_reference, check_tls
from colonnade.domain.vocabulary import (
    HTTP_LISTENERS,
    INSERTED_HEADERS,
    INSERTED_TLS_HEADERS,
    ClientAuthentication,
    ListenerProtocol,
    LogFormat,
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


Logged: TypeAlias = Annotated[
    AccessLog | None, Attribute("format=JSON, target=LOGTARGET.", refers="logtarget")
]


def packed(policies: Iterable[L7Policy]) -> tuple[L7Policy, ...]:
    """The policies in this order, numbered from 1."""
    return tuple(
        policy if policy.position == place else replace(policy, position=place)
        for place, policy in enumerate(policies, start=1)
    )


def placed(policies: Iterable[L7Policy], policy: L7Policy) -> tuple[L7Policy, ...]:
    """The policies with this one at its position, or last without one. It replaces the policy that
    has its id. All are numbered anew from 1."""
    others = [other for other in policies if other.id != policy.id]
    others.insert(policy.position - 1, policy)
    return packed(others)


class Listener(Node, frozen=True, kw_only=True, weakref=True):
    """A port on the VIP. `timeout_*` are milliseconds; -1 connections means no limit."""

    id: ListenerId
    description: Description = ""
    protocol: Annotated[ListenerProtocol, Attribute("Protocol of the clients.", fixed=True)]
    protocol_port: Annotated[
        Port, Attribute("Port that clients connect to.", option="--port", fixed=True)
    ]
    default_pool_id: Annotated[
        PoolId | None,
        Attribute(
            "Pool for requests that no L7 policy decides.", option="--default-pool", refers="pool"
        ),
    ] = None
    connection_limit: Annotated[Annotated[int, Meta(ge=-1)], Attribute("-1: none.")] = -1
    insert_headers: Annotated[
        dict[str, str],
        Attribute(
            "Header to add for members: X-Forwarded-For=true; repeat.", option="--insert-header"
        ),
    ] = msgspec.field(default_factory=dict)
    allowed_cidrs: Annotated[
        tuple[Text, ...],
        Attribute("Who may connect; repeat.", option="--allowed-cidr", null_when_empty=True),
    ] = ()
    timeout_client_data: Annotated[Milliseconds, Attribute("Milliseconds.")] = 50_000
    timeout_member_connect: Annotated[Milliseconds, Attribute("Milliseconds.")] = 5_000
    timeout_member_data: Annotated[Milliseconds, Attribute("Milliseconds.")] = 50_000
    timeout_tcp_inspect: Annotated[Milliseconds, Attribute("Milliseconds.")] = 0
    default_tls_container_ref: Annotated[
        Text | None,
        Attribute("Certificate and key: a secret.", option="--certificate", refers="secret"),
    ] = None
    sni_container_refs: Annotated[
        tuple[Text, ...],
        Attribute(
            "One more certificate, chosen by SNI; repeat.",
            option="--sni-certificate",
            refers="secret",
        ),
    ] = ()
    client_ca_tls_container_ref: Annotated[
        Text | None,
        Attribute("CA of client certificates: a secret.", option="--client-ca", refers="secret"),
    ] = None
    client_authentication: Annotated[
        ClientAuthentication, Attribute("Whether clients show a certificate.")
    ] = ClientAuthentication.NONE
    client_crl_container_ref: Annotated[
        Text | None,
        Attribute("Revoked client certificates: a secret.", option="--client-crl", refers="secret"),
    ] = None
    tls_ciphers: CipherList = None
    tls_versions: Versions = ()
    alpn_protocols: Alpn = ()
    hsts_max_age: Annotated[Seconds | None, Attribute("Seconds.")] = None
    hsts_include_subdomains: Annotated[bool, Attribute()] = False
    hsts_preload: Annotated[bool, Attribute()] = False
    # Ours.
    compression: Annotated[bool, Attribute("Compress answers.")] = False
    access_log: Logged = None
    l7policies: tuple[L7Policy, ...] = ()  # in the order of their positions

    def __post_init__(self) -> None:
        Node.__post_init__(self)
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
        in_order = all(p.position == n for n, p in enumerate(self.l7policies, start=1))
        assert in_order, "positions are packed; use with_policy"

    @property
    def pool_ids(self) -> frozenset[PoolId]:
        """The pools that requests may go to."""
        return frozenset(pool_id for _, pool_id in self.named_pools)

    @property
    def named_pools(self) -> tuple[tuple[str, PoolId], ...]:
        """Each pool with the attribute that names it, once for each pair; the listener's own come
        first."""
        return _named_pools(self)

    def with_policy(self, policy: L7Policy) -> Self:
        return replace(self, l7policies=placed(self.l7policies, policy))

    def with_policies(self, policies: Iterable[L7Policy]) -> Self:
        """These policies and no others, in this order."""
        return replace(self, l7policies=packed(policies))

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
