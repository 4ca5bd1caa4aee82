# SPDX-License-Identifier: Apache-2.0
"""A whole tree as a request may wish it: the bodies of a fully populated create, with ids.

An id says which object is meant where a name or a natural key would not, as for one that gets
another name. Nothing else differs from the bodies that objects are made with.
"""

from typing import TypeAlias
from uuid import UUID

from msgspec import UNSET, UnsetType, field

from colonnade.api.resources.bodies import (
    HealthMonitorNested,
    L7PolicyNested,
    L7RuleCreate,
    ListenerNested,
    LoadBalancerCreate,
    MemberCreate,
    PoolNested,
)

# Not `id` in Python: readers of bodies copy attributes by name, and new objects get ids of ours.
OwnId: TypeAlias = UUID | UnsetType | None


class MemberWished(MemberCreate, frozen=True, kw_only=True):
    own_id: OwnId = field(default=UNSET, name="id")


class HealthMonitorWished(HealthMonitorNested, frozen=True, kw_only=True):
    own_id: OwnId = field(default=UNSET, name="id")


class PoolWished(PoolNested, frozen=True, kw_only=True):
    own_id: OwnId = field(default=UNSET, name="id")
    members: list[MemberWished] | UnsetType | None = UNSET  # type: ignore[assignment]
    healthmonitor: HealthMonitorWished | UnsetType | None = UNSET


class L7RuleWished(L7RuleCreate, frozen=True, kw_only=True):
    own_id: OwnId = field(default=UNSET, name="id")


class L7PolicyWished(L7PolicyNested, frozen=True, kw_only=True):
    own_id: OwnId = field(default=UNSET, name="id")
    redirect_pool: PoolWished | UnsetType | None = UNSET
    rules: list[L7RuleWished] | UnsetType | None = UNSET  # type: ignore[assignment]


class ListenerWished(ListenerNested, frozen=True, kw_only=True):
    own_id: OwnId = field(default=UNSET, name="id")
    default_pool: PoolWished | UnsetType | None = UNSET
    l7policies: list[L7PolicyWished] | UnsetType | None = UNSET  # type: ignore[assignment]


class TreeWished(LoadBalancerCreate, frozen=True, kw_only=True):
    own_id: OwnId = field(default=UNSET, name="id")
    listeners: list[ListenerWished] | UnsetType | None = UNSET  # type: ignore[assignment]
    pools: list[PoolWished] | UnsetType | None = UNSET  # type: ignore[assignment]
