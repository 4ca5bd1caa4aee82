# SPDX-License-Identifier: Apache-2.0
"""The objects of answers as types, for the OpenAPI document.

Answers themselves are made in `shown.py` and `trees.py`; tests hold each answer against its type,
to the last key. Nothing is decoded or encoded with these while the API serves.
"""

from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from colonnade.domain.l7 import FixedResponse, RateLimit, Rewrite, WeightedPool
from colonnade.domain.listeners import AccessLog
from colonnade.domain.pools import OutlierEjection, Persistence
from colonnade.domain.status import Operating, Provisioning
from colonnade.domain.vocabulary import (
    Algorithm,
    AlpnProtocol,
    ClientAuthentication,
    CompareType,
    L7Action,
    L7RuleType,
    ListenerProtocol,
    MonitorType,
    PoolProtocol,
    TlsVersion,
)

Id: TypeAlias = Annotated[str, Meta(description="A UUID in lower case with dashes")]
SAMPLE_ID = "6f1de8a5-1b4c-4a63-9a1e-0d7c5ab1c0de"
Time: TypeAlias = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$")]


class Link(Struct, forbid_unknown_fields=True):
    rel: Literal["next", "previous"]
    href: str


class Named(Struct, forbid_unknown_fields=True):
    id: Id


class Failure(Struct, forbid_unknown_fields=True):
    """Why an object is in ERROR, and when that is tried again."""

    code: str
    message: str
    at: Time
    retry_at: Time | None


class Facts(Struct, forbid_unknown_fields=True, kw_only=True):
    """What every object has."""

    id: Id
    admin_state_up: bool
    tags: list[str]
    project_id: str
    tenant_id: str
    provisioning_status: Provisioning
    operating_status: Operating
    created_at: Time
    updated_at: Time | None
    last_error: Failure | None


class Watched(Facts, kw_only=True):
    """What amphorae report on."""

    operating_status_reason: str
    operating_status_since: Time | None


class AdditionalVipObject(Struct, forbid_unknown_fields=True):
    subnet_id: Id
    ip_address: str
    port_id: Id


class _LoadBalancer(Watched, kw_only=True):
    name: str
    description: str
    vip_address: str
    vip_port_id: Id
    vip_subnet_id: Id
    vip_network_id: Id
    vip_qos_policy_id: Id | None
    vip_vnic_type: Literal["normal", "direct"]
    vip_sg_ids: list[Id]
    additional_vips: list[AdditionalVipObject]
    provider: str
    flavor_id: Id | None
    availability_zone: str | None
    deletion_protection: bool
    affinity_group_id: Id | None
    access_log: AccessLog | None
    issues: list[str]


class LoadBalancerObject(_LoadBalancer, kw_only=True):
    listeners: list[Named]
    pools: list[Named]


class TlsFacts(Watched, kw_only=True):
    name: str
    description: str
    tls_ciphers: str | None
    tls_versions: list[TlsVersion] | None
    alpn_protocols: list[AlpnProtocol] | None
    issues: list[str]


class _Listener(TlsFacts, kw_only=True):
    protocol: ListenerProtocol
    protocol_port: int
    connection_limit: int
    default_pool_id: Id | None
    insert_headers: dict[str, str]
    timeout_client_data: int
    timeout_member_connect: int
    timeout_member_data: int
    timeout_tcp_inspect: int
    allowed_cidrs: list[str] | None
    default_tls_container_ref: str | None
    sni_container_refs: list[str]
    client_ca_tls_container_ref: str | None
    client_authentication: ClientAuthentication
    client_crl_container_ref: str | None
    hsts_max_age: int | None
    hsts_include_subdomains: bool
    hsts_preload: bool
    compression: bool
    access_log: AccessLog | None
    loadbalancers: list[Named]


class ListenerObject(_Listener, kw_only=True):
    l7policies: list[Named]


class _Pool(TlsFacts, kw_only=True):
    protocol: PoolProtocol
    lb_algorithm: Algorithm
    session_persistence: Persistence | None
    healthmonitor_id: Id | None
    tls_enabled: bool
    tls_container_ref: str | None
    ca_tls_container_ref: str | None
    crl_container_ref: str | None
    slow_start: int
    drain_seconds: int
    panic_threshold: int
    retries: int | None
    http2: bool
    outlier_ejection: OutlierEjection | None
    loadbalancers: list[Named]
    listeners: list[Named]


class PoolObject(_Pool, kw_only=True):
    members: list[Named]


class MemberObject(Watched, kw_only=True):
    name: str
    address: str
    protocol_port: int
    weight: int
    backup: bool
    subnet_id: Id | None
    monitor_address: str | None
    monitor_port: int | None
    vnic_type: Literal["normal", "direct"]


class HealthMonitorObject(Watched, kw_only=True):
    name: str
    type: MonitorType
    delay: int
    timeout: int
    max_retries: int
    max_retries_down: int
    http_method: str | None
    url_path: str | None
    expected_codes: str | None
    http_version: float | None
    domain_name: str | None
    pools: list[Named]


class _L7Policy(Facts, kw_only=True):
    name: str
    description: str
    listener_id: Id
    action: L7Action
    position: int
    redirect_pool_id: Id | None
    redirect_url: str | None
    redirect_prefix: str | None
    redirect_http_code: int | None
    redirect_pools: list[WeightedPool]
    rate_limit: RateLimit | None
    fixed_response: FixedResponse | None
    rewrite: Rewrite | None


class L7PolicyObject(_L7Policy, kw_only=True):
    rules: list[Named]


class L7RuleObject(Facts, kw_only=True):
    type: L7RuleType
    compare_type: CompareType
    key: str | None
    value: str
    invert: bool


class WholePool(_Pool, kw_only=True):
    members: list[MemberObject]
    healthmonitor: HealthMonitorObject | None


class WholePolicy(_L7Policy, kw_only=True):
    rules: list[L7RuleObject]
    redirect_pool: WholePool | None


class WholeListener(_Listener, kw_only=True):
    l7policies: list[WholePolicy]
    default_pool: WholePool | None


class WholeLoadBalancer(_LoadBalancer, kw_only=True):
    """A load balancer with every child fully shown."""

    listeners: list[WholeListener]
    pools: list[WholePool]


class Statistics(Struct, forbid_unknown_fields=True):
    active_connections: int
    bytes_in: int
    bytes_out: int
    request_errors: int
    total_connections: int


class _Status(Struct, forbid_unknown_fields=True, kw_only=True):
    id: Id
    name: str
    operating_status: Operating
    provisioning_status: Provisioning


class MonitorStatus(_Status, kw_only=True):
    type: MonitorType


class MemberStatus(_Status, kw_only=True):
    address: str
    protocol_port: int


class PoolStatus(_Status, kw_only=True):
    health_monitor: dict[str, Any]  # a MonitorStatus, or empty when the pool has none
    members: list[MemberStatus]


class ListenerStatus(_Status, kw_only=True):
    pools: list[PoolStatus]


class LoadBalancerStatus(_Status, kw_only=True):
    listeners: list[ListenerStatus]


class LoadBalancerStatuses(Struct, forbid_unknown_fields=True):
    loadbalancer: LoadBalancerStatus


@cache
def wrapped(word: str, kind: Any) -> Any:
    """The type of an answer with one object under its word."""
    return msgspec.defstruct(f"Answer_{word}_{_name(kind)}", [(word, kind)])


@cache
def listed(word: str, kind: Any, links: str | None = "") -> Any:
    """The type of a list with its links; `links` None: it has none."""
    fields: list[Any] = [(word, list[kind])]
    if links is not None:
        fields.append((links or f"{word}_links", list[Link]))
    return msgspec.defstruct(f"List_{word}", fields)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", "object"))
