# SPDX-License-Identifier: Apache-2.0
"""Objects as answers: every attribute of the wire contract, from one record.

`issues` is ours: what the object lacks to be served, in words. Nothing is decided here except
that what is switched off is OFFLINE.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from colonnade.api.http.user_messages import for_users
from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.status import Operating, Provisioning
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.tables import (
    HEALTH_MONITORS,
    L7POLICIES,
    L7RULES,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    POOLS,
    Table,
)
from colonnade.store.trees.records import Record

Shown = dict[str, Any]


def show(table: Table, record: Record[Any]) -> Shown:
    shown: Shown = _SHOWS[table.name](record)
    return shown


def operating(record: Record[Any]) -> Operating:
    """What nothing serves stays as it was made, as the peer's own noop leaves it."""
    is_told = record.value.admin_state_up or record.is_noop
    return record.operating if is_told else Operating.OFFLINE


def quiet_operating(record: Record[Any]) -> Operating:
    """Of what nobody reports on: it does its work once it is served."""
    works = record.provisioning is Provisioning.ACTIVE and record.value.admin_state_up
    return Operating.ONLINE if works else Operating.OFFLINE


def monitor_operating(record: Record[HealthMonitor]) -> Operating:
    """A monitor works once it is served, unless an amphora has said that its pool is not used."""
    is_off = record.operating_since is not None and record.operating is Operating.OFFLINE
    return Operating.OFFLINE if is_off else quiet_operating(record)


def _watched(record: Record[Any]) -> Shown:
    """The facts of what amphorae report on."""
    return _facts(record) | _health(record)


def _health(record: Record[Any]) -> Shown:
    """Why the operating status is what it is, and since when. Of ours."""
    is_told = operating(record) is record.operating
    return {
        "operating_status_reason": record.operating_reason if is_told else "",
        "operating_status_since": time(record.operating_since),
    }


def ids(found: Sequence[str]) -> list[Shown]:
    return [{"id": one} for one in found] if found else []


def time(at: datetime | None) -> str | None:
    """In UTC, without zone and fraction."""
    if at is None:
        return None
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="seconds")[:19]


def _updated_at(record: Record[Any]) -> datetime | None:
    """None in the answer to a create; with the peer, being served is the first update, and suites
    read a time there."""
    if record.updated_at is not None or record.is_new:
        return record.updated_at
    waits = record.provisioning is Provisioning.PENDING_CREATE
    return None if waits else record.created_at


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
        "updated_at": time(_updated_at(record)),
        "last_error": _last_error(record),
    }


def _last_error(record: Record[Any]) -> Shown | None:
    """Why it is in ERROR. An error of another change says nothing of this object."""
    error = record.last_error
    if error is None or record.provisioning is not Provisioning.ERROR:
        return None
    return {
        "code": error.code,
        "message": for_users(error.message),
        "at": time(error.at),
        "retry_at": time(error.retry_at),
    }


def _tls(value: Listener | Pool) -> Shown:
    return {
        "tls_ciphers": value.tls_ciphers,
        "tls_versions": value.tls_versions or None,
        "alpn_protocols": value.alpn_protocols or None,
    }


def _issues(record: Record[Any]) -> list[str]:
    return [issue.reason for issue in record.issues] if record.issues else []


def _trouble(record: Record[Any]) -> list[str]:
    """What the amphora says is wrong with it now, as one more issue."""
    if record.operating not in (Operating.ERROR, Operating.DEGRADED):
        return []
    shown = _health(record)
    reason, since = shown["operating_status_reason"], shown["operating_status_since"]
    return [f"{reason} (since {since.replace('T', ' ')} UTC)"] if reason and since else []


def _load_balancer(record: Record[LoadBalancer]) -> Shown:
    value, vip = record.value, record.value.vip
    return _watched(record) | {
        "description": value.description,
        "vip_address": vip.address,
        "vip_port_id": vip.port_id,
        "vip_subnet_id": vip.subnet_id,
        "vip_network_id": vip.network_id,
        "vip_qos_policy_id": vip.qos_policy_id,
        "vip_vnic_type": "normal",
        "vip_sg_ids": vip.sg_ids,
        "additional_vips": [
            {"subnet_id": x.subnet_id, "ip_address": x.address, "port_id": x.port_id}
            for x in value.additional_vips
        ],
        "provider": value.provider,
        "flavor_id": value.flavor_id,
        "availability_zone": value.availability_zone,
        "deletion_protection": value.deletion_protection,
        "affinity_group_id": value.affinity_group_id,
        "access_log": value.access_log,
        "listeners": ids(record.listener_ids),
        "pools": ids(record.pool_ids),
        "issues": _issues(record),
    }


def _listener(record: Record[Listener]) -> Shown:
    value = record.value
    return (
        _watched(record)
        | _tls(value)
        | {
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
            "default_tls_container_ref": value.default_tls_container_ref,
            "sni_container_refs": value.sni_container_refs,
            "client_ca_tls_container_ref": value.client_ca_tls_container_ref,
            "client_authentication": value.client_authentication.value,
            "client_crl_container_ref": value.client_crl_container_ref,
            "hsts_max_age": value.hsts_max_age,
            "hsts_include_subdomains": value.hsts_include_subdomains,
            "hsts_preload": value.hsts_preload,
            "l7policies": ids(record.policy_ids),
            "compression": value.compression,
            "access_log": value.access_log,
            "loadbalancers": ids([record.load_balancer_id]),
            "issues": _issues(record),
        }
    )


def _pool(record: Record[Pool]) -> Shown:
    value = record.value
    return (
        _watched(record)
        | _tls(value)
        | {
            "description": value.description,
            "protocol": value.protocol.value,
            "lb_algorithm": value.lb_algorithm.value,
            "session_persistence": value.session_persistence,
            "healthmonitor_id": record.health_monitor_id,
            "tls_enabled": value.tls_enabled,
            "tls_container_ref": value.tls_container_ref,
            "ca_tls_container_ref": value.ca_tls_container_ref,
            "crl_container_ref": value.crl_container_ref,
            "slow_start": value.slow_start,
            "drain_seconds": value.drain_seconds,
            "panic_threshold": value.panic_threshold,
            "retries": value.retries,
            "http2": value.http2,
            "outlier_ejection": value.outlier_ejection,
            "loadbalancers": ids([record.load_balancer_id]),
            "listeners": ids(record.listener_ids),
            "members": ids(record.member_ids),
            "issues": _issues(record) + _trouble(record),
        }
    )


def _member(record: Record[Member]) -> Shown:
    value = record.value
    return _watched(record) | {
        "address": value.address,
        "protocol_port": value.protocol_port,
        "weight": value.weight,
        "backup": value.backup,
        "subnet_id": value.subnet_id,
        "monitor_address": value.monitor_address,
        "monitor_port": value.monitor_port,
        "vnic_type": "direct" if value.request_sriov else "normal",
    }


def _health_monitor(record: Record[HealthMonitor]) -> Shown:
    value = record.value
    status = monitor_operating(record)
    return _watched(record) | {
        "operating_status": status,
        "operating_status_reason": record.operating_reason if status is record.operating else "",
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
        "pools": ids([record.parent_id] if record.parent_id is not None else []),
    }


def _l7policy(record: Record[L7Policy]) -> Shown:
    value = record.value
    return _facts(record) | {
        "operating_status": quiet_operating(record),
        "description": value.description,
        "listener_id": record.parent_id,
        "action": value.action.value,
        "position": value.position,
        "redirect_pool_id": value.redirect_pool_id,
        "redirect_url": value.redirect_url,
        "redirect_prefix": value.redirect_prefix,
        "redirect_http_code": value.redirect_http_code,
        "redirect_pools": value.redirect_pools,
        "rate_limit": value.rate_limit,
        "fixed_response": value.fixed_response,
        "rewrite": value.rewrite,
        "rules": ids(record.rule_ids),
    }


def _l7rule(record: Record[L7Rule]) -> Shown:
    value = record.value
    shown = _facts(record) | {
        "operating_status": quiet_operating(record),
        "type": value.type.value,
        "compare_type": value.compare_type.value,
        "key": value.key,
        "value": value.value,
        "invert": value.invert,
    }
    del shown["name"]
    return shown


_SHOWS: dict[str, Any] = {
    LOAD_BALANCERS.name: _load_balancer,
    LISTENERS.name: _listener,
    POOLS.name: _pool,
    MEMBERS.name: _member,
    HEALTH_MONITORS.name: _health_monitor,
    L7POLICIES.name: _l7policy,
    L7RULES.name: _l7rule,
}
