# SPDX-License-Identifier: Apache-2.0
"""What a request may say about each noun: the attributes of the wire contract and their types.

Absent is UNSET and null is None; what they mean is in `api/http/decoding.py`. Limits that the
domain checks are not repeated here, except where the contract wants its own words for them.
"""

from enum import StrEnum
from typing import Annotated, Final, TypeAlias
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from colonnade.domain.l7 import FixedResponse, RateLimit, Rewrite, WeightedPool
from colonnade.domain.limits import (
    CIPHERS_MAX,
    INTEGER_MAX,
    PORT_MAX,
    POSITION_MAX,
    PROJECT_ID_MAX,
    TEXT_MAX,
    TIMEOUT_MS_MAX,
    WEIGHT_MAX,
)
from colonnade.domain.listeners import AccessLog
from colonnade.domain.pools import OutlierEjection
from colonnade.domain.vocabulary import (
    Algorithm,
    AlpnProtocol,
    ClientAuthentication,
    CompareType,
    L7Action,
    L7RuleType,
    ListenerProtocol,
    MonitorType,
    PersistenceType,
    PoolProtocol,
    TlsVersion,
)

_Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_MAX)]
_Number: TypeAlias = Annotated[int, Meta(ge=1, le=PORT_MAX)]
_Weight: TypeAlias = Annotated[int, Meta(ge=0, le=WEIGHT_MAX)]
_Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=TIMEOUT_MS_MAX)]
_Integer: TypeAlias = Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
_Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
_Retries: TypeAlias = Annotated[int, Meta(ge=1, le=10)]

# What begins with two slashes names a host.
_URL_PATH: Final = r"^/(?!/)\S*$"
_CODES: Final = r"^[1-5][0-9]{2}( *, *[1-5][0-9]{2})*$(?!\n)|^[1-5][0-9]{2}-[1-5][0-9]{2}$(?!\n)"

OptText: TypeAlias = _Text | UnsetType | None
OptTexts: TypeAlias = list[_Text] | UnsetType | None
OptId: TypeAlias = UUID | UnsetType | None
OptFlag: TypeAlias = bool | UnsetType | None
OptInt: TypeAlias = _Integer | UnsetType | None
OptCiphers: TypeAlias = Annotated[str, Meta(max_length=CIPHERS_MAX)] | UnsetType | None
OptVersions: TypeAlias = list[TlsVersion] | UnsetType | None
OptAlpn: TypeAlias = list[AlpnProtocol] | UnsetType | None
OptTime: TypeAlias = _Milliseconds | UnsetType | None
# Accepted on create; on children it is ignored, for it is the load balancer's.
OptProject: TypeAlias = Annotated[str, Meta(max_length=PROJECT_ID_MAX)] | UnsetType | None


class HttpMethod(StrEnum):
    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    TRACE = "TRACE"
    OPTIONS = "OPTIONS"
    CONNECT = "CONNECT"
    PATCH = "PATCH"


class _Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every noun has."""

    name: OptText = UNSET
    admin_state_up: OptFlag = UNSET
    tags: OptTexts = UNSET


class PersistenceBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: PersistenceType | UnsetType | None = UNSET
    cookie_name: OptText = UNSET
    persistence_timeout: OptInt = UNSET
    persistence_granularity: OptText = UNSET


class MemberUpdate(_Body, frozen=True, kw_only=True):
    weight: _Weight | UnsetType | None = UNSET
    backup: OptFlag = UNSET
    monitor_address: OptText = UNSET
    monitor_port: _Number | UnsetType | None = UNSET


class MemberCreate(MemberUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    address: str
    protocol_port: _Number
    subnet_id: OptId = UNSET
    request_sriov: OptFlag = UNSET


class HealthMonitorUpdate(_Body, frozen=True, kw_only=True):
    delay: _Seconds | UnsetType | None = UNSET
    timeout: _Seconds | UnsetType | None = UNSET
    max_retries: _Retries | UnsetType | None = UNSET
    max_retries_down: _Retries | UnsetType | None = UNSET
    http_method: HttpMethod | UnsetType | None = UNSET
    url_path: Annotated[_Text, Meta(pattern=_URL_PATH)] | UnsetType | None = UNSET
    expected_codes: Annotated[_Text, Meta(pattern=_CODES)] | UnsetType | None = UNSET
    http_version: float | UnsetType | None = UNSET
    domain_name: Annotated[_Text, Meta(min_length=1)] | UnsetType | None = UNSET


class HealthMonitorNested(HealthMonitorUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    type: MonitorType
    delay: _Seconds
    timeout: _Seconds
    max_retries: _Retries


class HealthMonitorCreate(HealthMonitorNested, frozen=True, kw_only=True):
    pool_id: UUID


class _PoolTls(_Body, frozen=True, kw_only=True):
    tls_enabled: OptFlag = UNSET
    tls_container_ref: OptText = UNSET
    ca_tls_container_ref: OptText = UNSET
    crl_container_ref: OptText = UNSET
    tls_ciphers: OptCiphers = UNSET
    tls_versions: OptVersions = UNSET
    alpn_protocols: OptAlpn = UNSET


class PoolUpdate(_PoolTls, frozen=True, kw_only=True):
    description: OptText = UNSET
    lb_algorithm: Algorithm | UnsetType | None = UNSET
    session_persistence: PersistenceBody | UnsetType | None = UNSET
    slow_start: _Seconds | UnsetType | None = UNSET
    drain_seconds: _Seconds | UnsetType | None = UNSET
    panic_threshold: Annotated[int, Meta(ge=0, le=99)] | UnsetType | None = UNSET
    retries: Annotated[int, Meta(ge=0, le=10)] | UnsetType | None = UNSET
    http2: OptFlag = UNSET
    outlier_ejection: OutlierEjection | UnsetType | None = UNSET


class PoolNested(PoolUpdate, frozen=True, kw_only=True):
    """A pool inside of something else; with a name alone it is a reference to another."""

    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    protocol: PoolProtocol | UnsetType | None = UNSET
    members: list[MemberCreate] | UnsetType | None = UNSET
    healthmonitor: HealthMonitorNested | UnsetType | None = UNSET


class PoolCreate(PoolUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    protocol: PoolProtocol
    lb_algorithm: Algorithm
    loadbalancer_id: OptId = UNSET
    listener_id: OptId = UNSET
    members: list[MemberCreate] | UnsetType | None = UNSET
    healthmonitor: HealthMonitorNested | UnsetType | None = UNSET


class _ListenerTls(_Body, frozen=True, kw_only=True):
    default_tls_container_ref: OptText = UNSET
    sni_container_refs: OptTexts = UNSET
    client_ca_tls_container_ref: OptText = UNSET
    client_authentication: ClientAuthentication | UnsetType | None = UNSET
    client_crl_container_ref: OptText = UNSET
    tls_ciphers: OptCiphers = UNSET
    tls_versions: OptVersions = UNSET
    alpn_protocols: OptAlpn = UNSET
    hsts_max_age: _Seconds | UnsetType | None = UNSET
    hsts_include_subdomains: OptFlag = UNSET
    hsts_preload: OptFlag = UNSET


class L7RuleUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    admin_state_up: OptFlag = UNSET
    tags: OptTexts = UNSET
    type: L7RuleType | UnsetType | None = UNSET
    compare_type: CompareType | UnsetType | None = UNSET
    key: OptText = UNSET
    value: OptText = UNSET
    invert: OptFlag = UNSET


class L7RuleCreate(L7RuleUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    type: L7RuleType
    compare_type: CompareType
    value: _Text


class L7PolicyUpdate(_Body, frozen=True, kw_only=True):
    description: OptText = UNSET
    action: L7Action | UnsetType | None = UNSET
    position: Annotated[int, Meta(ge=1, le=POSITION_MAX)] | UnsetType | None = UNSET
    redirect_pool_id: OptId = UNSET
    redirect_url: OptText = UNSET
    redirect_prefix: OptText = UNSET
    redirect_http_code: OptInt = UNSET
    redirect_pools: list[WeightedPool] | UnsetType | None = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET
    fixed_response: FixedResponse | UnsetType | None = UNSET
    rewrite: Rewrite | UnsetType | None = UNSET


class L7PolicyNested(L7PolicyUpdate, frozen=True, kw_only=True):
    """A policy inside of its listener; its pool may come with it, or be referred to by name."""

    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    action: L7Action
    redirect_pool: PoolNested | UnsetType | None = UNSET
    rules: list[L7RuleCreate] | UnsetType | None = UNSET


class L7PolicyCreate(L7PolicyUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    listener_id: UUID
    action: L7Action
    rules: list[L7RuleCreate] | UnsetType | None = UNSET


class ListenerUpdate(_ListenerTls, frozen=True, kw_only=True):
    description: OptText = UNSET
    default_pool_id: OptId = UNSET
    connection_limit: Annotated[int, Meta(ge=-1)] | UnsetType | None = UNSET
    insert_headers: dict[str, str] | UnsetType | None = UNSET
    timeout_client_data: OptTime = UNSET
    timeout_member_connect: OptTime = UNSET
    timeout_member_data: OptTime = UNSET
    timeout_tcp_inspect: OptTime = UNSET
    allowed_cidrs: OptTexts = UNSET
    compression: OptFlag = UNSET
    access_log: AccessLog | UnsetType | None = UNSET


class ListenerNested(ListenerUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    protocol: ListenerProtocol
    protocol_port: _Number
    default_pool: PoolNested | UnsetType | None = UNSET
    l7policies: list[L7PolicyNested] | UnsetType | None = UNSET


class ListenerCreate(ListenerNested, frozen=True, kw_only=True):
    loadbalancer_id: UUID


class LoadBalancerUpdate(_Body, frozen=True, kw_only=True):
    description: OptText = UNSET
    vip_qos_policy_id: OptId = UNSET
    vip_sg_ids: list[UUID] | UnsetType | None = UNSET
    deletion_protection: OptFlag = UNSET
    access_log: AccessLog | UnsetType | None = UNSET


class AdditionalVip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subnet_id: UUID
    ip_address: OptText = UNSET
    port_id: OptId = UNSET


class LoadBalancerCreate(LoadBalancerUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    vip_address: OptText = UNSET
    vip_port_id: OptId = UNSET
    vip_network_id: OptId = UNSET
    vip_subnet_id: OptId = UNSET
    additional_vips: list[AdditionalVip] | UnsetType | None = UNSET
    affinity_group_id: OptId = UNSET
    provider: Annotated[str, Meta(max_length=64)] | UnsetType | None = UNSET
    flavor_id: OptId = UNSET
    availability_zone: OptText = UNSET
    listeners: list[ListenerNested] | UnsetType | None = UNSET
    pools: list[PoolNested] | UnsetType | None = UNSET
