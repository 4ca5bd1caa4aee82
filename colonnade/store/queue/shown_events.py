# SPDX-License-Identifier: Apache-2.0
"""An event in the words of the wire, alike in lists, in streams and in messages to webhooks."""

from collections.abc import Collection
from typing import Any, Final

from colonnade.store.postgres.times import time
from colonnade.store.queue.events import Recorded
from colonnade.store.queue.user_messages import for_users

_TYPES: Final = {
    "load_balancer": "loadbalancer",
    "cluster": "loadbalancer",
    "health_monitor": "healthmonitor",
}
_PROVISIONING: Final = {
    "created": "PENDING_CREATE",
    "updated": "PENDING_UPDATE",
    "deleted": "PENDING_DELETE",
    "applied": "ACTIVE",
    "failed": "ERROR",
    "gone": "DELETED",
}


# The word for what an event, `e`, is about, as `object_type` has it.
OBJECT_TYPE_SQL: Final = (
    "CASE e.object_kind "
    + " ".join(f"WHEN '{kind}' THEN '{shown}'" for kind, shown in _TYPES.items())
    + " ELSE e.object_kind END"
)


def object_type(kind: str) -> str:
    return _TYPES.get(kind, kind)


def object_kinds(types: Collection[str]) -> list[str]:
    """What is stored of events that are shown to be about one of these."""
    stored = [kind for kind, shown in _TYPES.items() if shown in types]
    return [*stored, *(one for one in types if one not in _TYPES.values())]


def show(one: Recorded) -> dict[str, Any]:
    event = one.event
    of_cluster = event.object_kind == "cluster"
    shown = {
        "id": one.id,
        "at": time(one.at),
        "kind": event.kind,
        "object_type": object_type(event.object_kind),
        "object_id": event.load_balancer_id if of_cluster else event.object_id,
        "object_name": one.load_balancer_name if of_cluster else one.object_name,
        "loadbalancer_id": event.load_balancer_id,
        "loadbalancer_name": one.load_balancer_name,
        "project_id": event.project_id,
        "generation": event.generation,
        "message": event.message if event.kind == "operating_status" else for_users(event.message),
    }
    is_edge = event.kind == "operating_status"
    what, _, reason = event.message.partition(": ") if is_edge else ("", "", "")
    before, _, after = what.partition(" -> ")
    return shown | {
        "provisioning_status": _PROVISIONING.get(event.kind),
        "operating_status": after or before or None,
        "operating_status_before": before or None,
        "operating_status_reason": reason or None,
    }
