# SPDX-License-Identifier: Apache-2.0
"""Objects as answers: the attributes of the noun's table, and the facts of its record.

`issues` is ours: what the object lacks to be served, in words. Nothing is decided here except
that what is switched off is OFFLINE.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from colonnade.api.resources.objects import object_of
from colonnade.domain.attributes import described
from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.shape import HEALTH_MONITORS, OF_TYPE, POOLS, Noun
from colonnade.domain.status import Operating, Provisioning
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres.times import time
from colonnade.store.queue.user_messages import for_users
from colonnade.store.trees.records import Record

Shown = dict[str, Any]
Compute: TypeAlias = Callable[[Record[Any]], Any]


def show(table: Noun, record: Record[Any]) -> Struct:
    own = _OWN[table.name]
    return own.object(*own.plain(record), *[found(record) for found in own.computed])


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


def ids(found: Sequence[str] | None) -> list[Shown]:
    return [{"id": one} for one in found] if found else []


def _reason(status: Callable[[Record[Any]], Operating], record: Record[Any]) -> str:
    """Why the operating status is what it is. Of ours, as is since when."""
    return record.operating_reason if status(record) is record.operating else ""


def _updated_at(record: Record[Any]) -> str | None:
    """None in the answer to a create; with the peer, being served is the first update, and suites
    read a time there."""
    if record.updated_at is not None or record.is_new:
        return record.updated_at
    return None if record.provisioning is Provisioning.PENDING_CREATE else record.created_at


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


def _issues(record: Record[Any]) -> list[str]:
    return [issue.reason for issue in record.issues] if record.issues else []


def _issues_and_trouble(record: Record[Pool]) -> list[str]:
    """What the amphora says is wrong with it now, as one more issue."""
    found = _issues(record)
    if record.operating in (Operating.ERROR, Operating.DEGRADED):
        reason, since = _reason(operating, record), record.operating_since
        if reason and since:
            found.append(f"{reason} (since {since.replace('T', ' ')} UTC)")
    return found


def _additional_vips(record: Record[LoadBalancer]) -> Sequence[Shown]:
    vips = record.value.additional_vips
    if not vips:
        return ()
    return [
        {"subnet_id": vip.subnet_id, "ip_address": vip.address, "port_id": vip.port_id}
        for vip in vips
    ]


def _below(place: int, record: Record[Any]) -> list[Shown]:
    return ids(record.below[place])


_MONITORS: Final[int] = POOLS.below.index(HEALTH_MONITORS)
# What each object shows of its record's facts as it is, by the name that the record has for it.
_FACTS: Final[Mapping[str, str]] = {
    "id": "value.id",
    "project_id": "project_id",
    "tenant_id": "project_id",
    "provisioning_status": "provisioning",
    "created_at": "created_at",
    "operating_status_since": "operating_since",
    "topology": "topology",  # of a load balancer
    "listener_id": "parent_id",  # of an L7 policy
}
# What a noun shows besides its attributes, or instead of them.
_MORE: Final[Mapping[type[Node], Mapping[str, Compute]]] = {
    LoadBalancer: {
        "vip_vnic_type": lambda _: "normal",
        "additional_vips": _additional_vips,
        "issues": _issues,
    },
    Listener: {
        "loadbalancers": lambda record: ids([record.load_balancer_id]),
        "issues": _issues,
    },
    Pool: {
        "healthmonitor_id": lambda record: next(iter(record.below[_MONITORS]), None),
        "loadbalancers": lambda record: ids([record.load_balancer_id]),
        "listeners": lambda record: ids(record.user_ids),
        "issues": _issues_and_trouble,
    },
    Member: {
        "vnic_type": lambda record: "direct" if record.value.request_sriov else "normal",
    },
    HealthMonitor: {
        "pools": lambda record: ids([record.parent_id or ""]),
    },
}


class _Own(Struct, frozen=True):
    """How objects of one noun are shown: of what is shown as it is, and of what is computed."""

    object: Callable[..., Struct]
    plain: Callable[[Record[Any]], Sequence[Any]]
    computed: Sequence[Compute]


def _own(table: Noun) -> _Own:
    names = object_of(table).__struct_fields__
    attributes = described(table.type).values()
    paths = {
        one.name: ".".join(filter(None, ("value", one.within, one.field))) for one in attributes
    }
    paths |= _FACTS
    computed = _computed(table)
    plain = [name for name in names if name not in computed]
    rest = [name for name in names if name in computed]
    return _Own(
        object=msgspec.defstruct(f"Shown{table.type.__name__}", [*plain, *rest]),
        plain=attrgetter(*(paths[name] for name in plain)),
        computed=[computed[name] for name in rest],
    )


def _computed(table: Noun) -> Mapping[str, Compute]:
    status = monitor_operating if table is HEALTH_MONITORS else operating
    if not table.reported:
        status = quiet_operating
    attributes = described(table.type).items()
    emptied = [name for name, one in attributes if one.about.null_when_empty]
    return {
        "updated_at": _updated_at,
        "last_error": _last_error,
        "operating_status": status,
        "operating_status_reason": partial(_reason, status),
        **{name: partial(_or_null, name) for name in emptied},
        **{noun.word: partial(_below, place) for place, noun in enumerate(table.below)},
        **_MORE.get(table.type, {}),
    }


def _or_null(field: str, record: Record[Any]) -> Any:
    return getattr(record.value, field) or None


_OWN: Final = {table.name: _own(table) for table in OF_TYPE.values()}
