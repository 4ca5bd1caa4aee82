# SPDX-License-Identifier: Apache-2.0
"""Objects as answers: every attribute of the wire contract, from one record.

Attributes that nothing serves yet answer what the contract says of them when they are unset.
`issues` is ours: what the object lacks to be served, in words. Nothing is decided here except
that what is switched off is OFFLINE.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from colonnade.api.words import for_users
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.status import Operating, Provisioning
from colonnade.domain.tree import LoadBalancer
from colonnade.store.records import Record
from colonnade.store.rows import HEALTH_MONITORS, LISTENERS, LOAD_BALANCERS, MEMBERS, POOLS, Table

Shown = dict[str, Any]


def show(table: Table, record: Record[Any]) -> Shown:
    shown: Shown = _SHOWS[table.name](record)
    return shown


def operating(record: Record[Any]) -> Operating:
    return record.operating if record.value.admin_state_up else Operating.OFFLINE


def monitor_operating(record: Record[HealthMonitor]) -> Operating:
    """A monitor does its work once it is served; nobody reports on it apart from that."""
    works = record.provisioning is Provisioning.ACTIVE and record.value.admin_state_up
    return Operating.ONLINE if works else Operating.OFFLINE


def ids(found: Sequence[str]) -> list[Shown]:
    return [{"id": one} for one in found] if found else []


def time(at: datetime | None) -> str | None:
    """In UTC, without zone and fraction."""
    if at is None:
        return None
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="seconds")[:19]


def _facts(record: Record[Any]) -> Shown:
    value = record.value
    return {
        "id": value.id,
        "name": value.name,
        "admin_state_up": value.admin_state_up,
        "tags": value.tags,
        "project_id": record.project_id,
        "tenant_id": record.project_id,
        "provisioning_status": record.provisioning,
        "operating_status": operating(record),
        "created_at": time(record.created_at),
        "updated_at": time(record.updated_at),
    }


def _issues(record: Record[Any]) -> list[str]:
    return [issue.reason for issue in record.issues] if record.issues else []


def _load_balancer(record: Record[LoadBalancer]) -> Shown:
    value, vip = record.value, record.value.vip
    failure = (for_users(record.last_error),) if record.last_error is not None else ()
    return _facts(record) | {
        "description": value.description,
        "vip_address": vip.address,
        "vip_port_id": vip.port_id,
        "vip_subnet_id": vip.subnet_id,
        "vip_network_id": vip.network_id,
        "vip_qos_policy_id": vip.qos_policy_id,
        "vip_vnic_type": "normal",
        "vip_sg_ids": [],
        "additional_vips": [],
        "provider": value.provider,
        "flavor_id": value.flavor_id,
        "availability_zone": value.availability_zone,
        "listeners": ids(record.listener_ids),
        "pools": ids(record.pool_ids),
        "issues": [*failure, *_issues(record)],
    }


def _listener(record: Record[Listener]) -> Shown:
    value = record.value
    return _facts(record) | {
        "description": value.description,
        "protocol": value.protocol.value,
        "protocol_port": value.protocol_port,
        "connection_limit": value.connection_limit,
        "default_pool_id": value.default_pool_id,
        "insert_headers": value.insert_headers,
        "timeout_client_data": value.timeout_client_data,
        "timeout_member_connect": value.timeout_member_connect,
        "timeout_member_data": value.timeout_member_data,
        "timeout_tcp_inspect": value.timeout_tcp_inspect,
        "allowed_cidrs": value.allowed_cidrs or None,
        "default_tls_container_ref": None,
        "sni_container_refs": [],
        "client_ca_tls_container_ref": None,
        "client_authentication": "NONE",
        "client_crl_container_ref": None,
        "tls_ciphers": None,
        "tls_versions": None,
        "alpn_protocols": None,
        "hsts_max_age": None,
        "hsts_include_subdomains": False,
        "hsts_preload": False,
        "l7policies": [],
        "loadbalancers": ids([record.load_balancer_id]),
        "issues": _issues(record),
    }


def _pool(record: Record[Pool]) -> Shown:
    value = record.value
    return _facts(record) | {
        "description": value.description,
        "protocol": value.protocol.value,
        "lb_algorithm": value.lb_algorithm.value,
        "session_persistence": value.session_persistence,
        "healthmonitor_id": record.health_monitor_id,
        "tls_enabled": False,
        "tls_container_ref": None,
        "ca_tls_container_ref": None,
        "crl_container_ref": None,
        "tls_ciphers": None,
        "tls_versions": None,
        "alpn_protocols": None,
        "loadbalancers": ids([record.load_balancer_id]),
        "listeners": ids(record.listener_ids),
        "members": ids(record.member_ids),
        "issues": _issues(record),
    }


def _member(record: Record[Member]) -> Shown:
    value = record.value
    return _facts(record) | {
        "address": value.address,
        "protocol_port": value.protocol_port,
        "weight": value.weight,
        "backup": value.backup,
        "subnet_id": value.subnet_id,
        "monitor_address": value.monitor_address,
        "monitor_port": value.monitor_port,
        "vnic_type": "normal",
    }


def _health_monitor(record: Record[HealthMonitor]) -> Shown:
    value = record.value
    return _facts(record) | {
        "operating_status": monitor_operating(record),
        "type": value.type.value,
        "delay": value.delay,
        "timeout": value.timeout,
        "max_retries": value.max_retries,
        "max_retries_down": value.max_retries_down,
        "http_method": value.http_method,
        "url_path": value.url_path,
        "expected_codes": value.expected_codes,
        "http_version": value.http_version,
        "domain_name": value.domain_name,
        "pools": ids([record.pool_id] if record.pool_id is not None else []),
    }


_SHOWS: dict[str, Any] = {
    LOAD_BALANCERS.name: _load_balancer,
    LISTENERS.name: _listener,
    POOLS.name: _pool,
    MEMBERS.name: _member,
    HEALTH_MONITORS.name: _health_monitor,
}
