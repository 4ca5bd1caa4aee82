# SPDX-License-Identifier: Apache-2.0
"""What the message bus is told of load balancers, as Octavia tells it. Pure.

Types of events, attributes and envelope are the peer's: `octavia.loadbalancer.{create,update,
delete}.end` (Octavia's guide, "Octavia Event Notifications"), in the envelope of version 2.0 of
oslo.messaging (driver messagingv2). A message has the names that Octavia's guide shows (`id`,
`enabled`, `vip`) and those that its worker sends (`loadbalancer_id`, `admin_state_up`,
`vip_address`), so whoever reads either reads it. The same event gives the same ids each time, so
who reads it twice can tell.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final
from uuid import UUID

import msgspec

from colonnade.domain.ids import derived_id
from colonnade.domain.shape import LISTENERS, LOAD_BALANCERS, POOLS
from colonnade.domain.status import Operating
from colonnade.domain.tree import LoadBalancer
from colonnade.store.extras.notifications import GONE
from colonnade.store.queue.events import Recorded
from colonnade.store.trees.records import Record

VERSION: Final = "2.0"  # of the envelope
CREATED: Final = "octavia.loadbalancer.create.end"
UPDATED: Final = "octavia.loadbalancer.update.end"
DELETED: Final = "octavia.loadbalancer.delete.end"
_CONTEXT: Final[Mapping[str, Any]] = {
    "user": None,
    "system_scope": None,
    "domain": None,
    "user_domain": None,
    "project_domain": None,
    "is_admin": False,
    "read_only": False,
    "show_deleted": False,
    "auth_token": None,
    "global_request_id": None,
    "resource_uuid": None,
    "roles": [],
    "is_admin_project": True,
}


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """`now`: what the bus knows of the load balancer afterwards, None of one that is gone."""

    type: str
    id: str
    body: bytes
    now: LoadBalancer | None


def notification(
    one: Recorded, told: LoadBalancer | None, present: Record[LoadBalancer] | None
) -> Notification | None:
    """What the event means for the bus. None: nothing that it does not know. `told`: what it knows
    of the load balancer; `present`: how that is now."""
    known = told if present is None else present.value
    if one.event.kind == GONE:
        return _made(DELETED, one, shown(one, known, None), None)
    if told is None:
        return _made(CREATED, one, shown(one, known, present), known)
    if present is None or present.value == told:
        return None
    return _made(UPDATED, one, shown(one, known, present), known)


def shown(
    one: Recorded, known: LoadBalancer | None, present: Record[LoadBalancer] | None
) -> dict[str, Any]:
    """Of one that is gone, and of which nothing was told before, there is no more than an id."""
    identity = {
        "id": one.event.load_balancer_id,
        "loadbalancer_id": one.event.load_balancer_id,
        "project_id": one.event.project_id,
    }
    return identity | (_own(known) if known is not None else {}) | _facts(present)


def _own(known: LoadBalancer) -> dict[str, Any]:
    vip = known.vip
    places = {
        "network_id": vip.network_id,
        "port_id": vip.port_id,
        "subnet_id": vip.subnet_id,
        "qos_policy_id": vip.qos_policy_id,
    }
    return {
        "name": known.name,
        "description": known.description,
        "enabled": known.admin_state_up,
        "admin_state_up": known.admin_state_up,
        "provider": known.provider,
        "flavor_id": known.flavor_id,
        "availability_zone": known.availability_zone,
        "tags": list(known.tags),
        "vip": {"ip_address": vip.address} | places,
        "vip_address": vip.address,
        **{f"vip_{name}": value for name, value in places.items()},
        "additional_vips": [
            {"ip_address": other.address, "subnet_id": other.subnet_id, "port_id": other.port_id}
            for other in known.additional_vips
        ],
    }


def _facts(present: Record[LoadBalancer] | None) -> dict[str, Any]:
    if present is None:
        return {
            "provisioning_status": "DELETED",
            "operating_status": Operating.OFFLINE.value,
            "listeners": [],
            "pools": [],
        }
    below = dict(zip((noun.name for noun in LOAD_BALANCERS.below), present.below, strict=True))
    return {
        "provisioning_status": present.provisioning.value,
        "operating_status": present.operating.value,
        "created_at": present.created_at,
        "updated_at": present.updated_at,
        "listeners": _ids(below[LISTENERS.name]),
        "pools": _ids(below[POOLS.name]),
    }


def _ids(ids: Sequence[str]) -> list[dict[str, str]]:
    return [{"id": one} for one in ids]


def _made(
    kind: str, one: Recorded, payload: Mapping[str, Any], now: LoadBalancer | None
) -> Notification:
    at = one.at.astimezone(UTC)
    message_id = derived_id("notification", str(one.id), at.isoformat())
    project = one.event.project_id
    context: dict[str, Any] = {
        "tenant": project,
        "project": project,
        "project_id": project,
        "request_id": f"req-{message_id}",
        "user_identity": f"- {project or '-'} - - -",
    }
    message = {
        "message_id": message_id,
        "publisher_id": None,
        "event_type": kind,
        "priority": "INFO",
        "payload": payload,
        "timestamp": at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "_unique_id": UUID(message_id).hex,
        **{f"_context_{name}": value for name, value in ({**_CONTEXT, **context}).items()},
    }
    envelope = {"oslo.version": VERSION, "oslo.message": msgspec.json.encode(message).decode()}
    return Notification(type=kind, id=message_id, body=msgspec.json.encode(envelope), now=now)
