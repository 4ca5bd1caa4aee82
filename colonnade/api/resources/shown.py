# SPDX-License-Identifier: Apache-2.0
"""Objects as answers: the attributes of the noun's table, and the facts of its record.

`issues` is ours: what the object lacks to be served, in words. Nothing is decided here except
that what is switched off is OFFLINE.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from colonnade.api.http.user_messages import for_users
from colonnade.domain.attributes import described
from colonnade.domain.l7 import L7Policy
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.shape import (
    HEALTH_MONITORS,
    L7POLICIES,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    OF_TYPE,
    POOLS,
    Noun,
)
from colonnade.domain.status import Operating, Provisioning
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.store.trees.records import Record

Shown = dict[str, Any]


def show(table: Noun, record: Record[Any]) -> Shown:
    own = _OWN[table.name]
    shown: Shown = asdict(record.value)
    for name in own.hidden:
        del shown[name]
    for name in own.null_when_empty:
        shown[name] = shown[name] or None
    shown |= _facts(record)
    if table.reported:
        shown["operating_status"] = status = operating(record)
        shown |= _health(record, status)
    else:
        shown["operating_status"] = quiet_operating(record)
    for word in own.children:
        shown[word] = ids(record.below[word])
    if own.more is not None:
        shown |= own.more(record)
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


def _health(record: Record[Any], status: Operating) -> Shown:
    """Why the operating status is what it is, and since when. Of ours."""
    return {
        "operating_status_reason": record.operating_reason if status is record.operating else "",
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


def _updated_at(record: Record[Any], status: Provisioning) -> datetime | None:
    """None in the answer to a create; with the peer, being served is the first update, and suites
    read a time there."""
    if record.updated_at is not None or record.is_new:
        return record.updated_at
    return None if status is Provisioning.PENDING_CREATE else record.created_at


def _facts(record: Record[Any]) -> Shown:
    status = record.provisioning
    return {
        "project_id": record.project_id,
        "tenant_id": record.project_id,
        "provisioning_status": status,
        "created_at": time(record.created_at),
        "updated_at": time(_updated_at(record, status)),
        "last_error": _last_error(record) if status is Provisioning.ERROR else None,
    }


def _last_error(record: Record[Any]) -> Shown | None:
    """Why it is in ERROR. An error of another change says nothing of this object."""
    error = record.last_error
    if error is None:
        return None
    return {
        "code": error.code,
        "message": for_users(error.message),
        "at": time(error.at),
        "retry_at": time(error.retry_at),
    }


def _issues(record: Record[Any]) -> list[str]:
    return [issue.reason for issue in record.issues] if record.issues else []


def _trouble(record: Record[Any]) -> list[str]:
    """What the amphora says is wrong with it now, as one more issue."""
    if record.operating not in (Operating.ERROR, Operating.DEGRADED):
        return []
    shown = _health(record, operating(record))
    reason, since = shown["operating_status_reason"], shown["operating_status_since"]
    return [f"{reason} (since {since.replace('T', ' ')} UTC)"] if reason and since else []


def _load_balancer(record: Record[LoadBalancer]) -> Shown:
    shown = dict(zip(_VIP_NAMES, _vip_values(record.value.vip)))  # noqa: B905 (of one table)
    shown |= {
        "vip_vnic_type": "normal",
        "additional_vips": _additional(more) if (more := record.value.additional_vips) else [],
        "issues": _issues(record),
    }
    return shown


def _additional(vips: Sequence[Vip]) -> list[Shown]:
    return [
        {"subnet_id": vip.subnet_id, "ip_address": vip.address, "port_id": vip.port_id}
        for vip in vips
    ]


def _listener(record: Record[Listener]) -> Shown:
    return {"loadbalancers": ids([record.load_balancer_id]), "issues": _issues(record)}


def _pool(record: Record[Pool]) -> Shown:
    return {
        "healthmonitor_id": next(iter(record.below[HEALTH_MONITORS.word]), None),
        "loadbalancers": ids([record.load_balancer_id]),
        "listeners": ids(record.user_ids),
        "issues": _issues(record) + _trouble(record),
    }


def _member(record: Record[Member]) -> Shown:
    return {"vnic_type": "direct" if record.value.request_sriov else "normal"}


def _health_monitor(record: Record[HealthMonitor]) -> Shown:
    status = monitor_operating(record)
    return {
        "operating_status": status,
        "operating_status_reason": record.operating_reason if status is record.operating else "",
        "pools": ids([record.parent_id] if record.parent_id is not None else []),
    }


def _l7policy(record: Record[L7Policy]) -> Shown:
    return {"listener_id": record.parent_id}


_OF_VIP: Final = [one for one in described(LoadBalancer).values() if one.within]
_VIP_NAMES: Final = tuple(one.name for one in _OF_VIP)
_vip_values: Final[Any] = attrgetter(*(one.field for one in _OF_VIP))
# What a noun shows besides its attributes, or instead of them.
_MORE: Final[Mapping[str, Callable[[Any], Shown]]] = {
    LOAD_BALANCERS.name: _load_balancer,
    LISTENERS.name: _listener,
    POOLS.name: _pool,
    MEMBERS.name: _member,
    HEALTH_MONITORS.name: _health_monitor,
    L7POLICIES.name: _l7policy,
}


class _Own(Struct, frozen=True):
    """Which fields of a value are shown as they are."""

    hidden: tuple[str, ...]
    null_when_empty: tuple[str, ...]
    children: tuple[str, ...]
    more: Callable[[Any], Shown] | None


def _own(table: Noun) -> _Own:
    shown = {name: one for name, one in described(table.type).items() if one.about.shown}
    # The ids of children take the place of children, where these have the word of the wire.
    kept = {"id", *shown, *(noun.field for noun in table.below if noun.word == noun.field)}
    hidden = [field for field in table.type.__struct_fields__ if field not in kept]
    return _Own(
        hidden=tuple(hidden),
        null_when_empty=tuple(n for n, one in shown.items() if one.about.null_when_empty),
        children=tuple(noun.word for noun in table.below if not noun.alone),
        more=_MORE.get(table.name),
    )


_OWN: Final = {table.name: _own(table) for table in OF_TYPE.values()}
