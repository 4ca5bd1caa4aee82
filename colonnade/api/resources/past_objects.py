# SPDX-License-Identifier: Apache-2.0
"""The answers about what was, and about groups, as types, for the OpenAPI document.

As with those of `objects.py`, tests hold each answer against its type; nothing else uses them.
"""

from typing import Any, Literal

from msgspec import Struct

from colonnade.api.resources.objects import Id, Named, Time
from colonnade.store.extras.affinity import AffinityPolicy


class ChangeObject(Struct, forbid_unknown_fields=True):
    """`before` and `after`: the attributes that differ; of what comes or goes, all."""

    type: str
    id: Id
    name: str
    action: Literal["added", "altered", "removed"]
    parent_id: Id | None
    parent_name: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class GenerationObject(Struct, forbid_unknown_fields=True):
    generation: int
    at: Time
    by: str | None
    user: str | None
    project_id: str | None
    what: str
    changes: list[ChangeObject]


class EventObject(Struct, forbid_unknown_fields=True, kw_only=True):
    id: int
    at: Time
    kind: str
    object_type: str
    object_id: Id
    object_name: str | None
    loadbalancer_id: Id | None
    loadbalancer_name: str | None
    project_id: str | None
    generation: int | None
    message: str
    provisioning_status: str | None
    operating_status: str | None
    operating_status_before: str | None
    operating_status_reason: str | None


class AffinityGroupObject(Struct, forbid_unknown_fields=True):
    id: Id
    name: str
    description: str
    policy: AffinityPolicy
    project_id: str
    tenant_id: str
    loadbalancers: list[Named]
    created_at: Time
    updated_at: Time | None
