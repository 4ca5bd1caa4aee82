# SPDX-License-Identifier: Apache-2.0
"""What a request may say about each noun of the tree: the attributes of its table, and here what
no table has: parents, children, pools that come along.

Absent is UNSET and null is None; what they mean is in `api/http/decoding.py`.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from colonnade.api.http.decoding import Body
from colonnade.api.resources.derived import Project, change, creation, optional
from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.limits import Text
from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.tree import LoadBalancer

OptText: TypeAlias = Text | UnsetType | None
OptFlag: TypeAlias = bool | UnsetType | None
OptProject: TypeAlias = Project | UnsetType | None


class AdditionalVip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subnet_id: UUID
    ip_address: OptText = UNSET
    port_id: UUID | UnsetType | None = UNSET


class Nested(Struct, frozen=True):
    """The bodies of what comes inside of something else."""

    member: type[Body]
    monitor: type[Body]
    pool: type[Body]
    rule: type[Body]
    policy: type[Body]
    listener: type[Body]
    root: type[Body]


def _many(kind: Any) -> Any:
    return optional(list[kind])


def _nested(names: Mapping[type[Node], str], **more: Any) -> Nested:
    """`more`: what each of them has besides."""

    def made(kind: type[Node], *, whole: bool = True, **fields: Any) -> type[Body]:
        return creation(kind, names[kind], whole=whole, **fields, **more)

    member, monitor = made(Member), made(HealthMonitor)
    # With a name alone it is a reference to another.
    pool = made(Pool, whole=False, members=_many(member), healthmonitor=optional(monitor))
    rule = made(L7Rule)
    policy = made(L7Policy, redirect_pool=optional(pool), rules=_many(rule))
    listener = made(Listener, default_pool=optional(pool), l7policies=_many(policy))
    vips = _many(AdditionalVip)
    below = {"listeners": _many(listener), "pools": _many(pool)}
    root = made(LoadBalancer, additional_vips=vips, **below)
    return Nested(member, monitor, pool, rule, policy, listener, root)


_NESTED: Final = _nested(
    {
        Member: "MemberCreate",
        HealthMonitor: "HealthMonitorNested",
        Pool: "PoolNested",
        L7Rule: "L7RuleCreate",
        L7Policy: "L7PolicyNested",
        Listener: "ListenerNested",
        LoadBalancer: "LoadBalancerCreate",
    }
)
# The bodies of a fully populated create, with ids: an id says which object is meant where a name
# or a natural key would not, as for one that gets another name.
WISHED: Final = _nested(
    {
        Member: "MemberWished",
        HealthMonitor: "HealthMonitorWished",
        Pool: "PoolWished",
        L7Rule: "L7RuleWished",
        L7Policy: "L7PolicyWished",
        Listener: "ListenerWished",
        LoadBalancer: "TreeWished",
    },
    own_id=optional(UUID),
)

MemberCreate: Final = _NESTED.member
MemberUpdate: Final = change(Member)
HealthMonitorNested: Final = _NESTED.monitor
HealthMonitorCreate: Final = creation(HealthMonitor, pool_id=UUID)
HealthMonitorUpdate: Final = change(HealthMonitor)
PoolNested: Final = _NESTED.pool
PoolCreate: Final = creation(
    Pool,
    loadbalancer_id=optional(UUID),
    listener_id=optional(UUID),
    members=_many(MemberCreate),
    healthmonitor=optional(HealthMonitorNested),
)
PoolUpdate: Final = change(Pool)
L7RuleCreate: Final = _NESTED.rule
L7RuleUpdate: Final = change(L7Rule)
L7PolicyNested: Final = _NESTED.policy
L7PolicyCreate: Final = creation(L7Policy, listener_id=UUID, rules=_many(L7RuleCreate))
L7PolicyUpdate: Final = change(L7Policy)
ListenerNested: Final = _NESTED.listener
ListenerCreate: Final = creation(
    Listener,
    loadbalancer_id=UUID,
    default_pool=optional(PoolNested),
    l7policies=_many(L7PolicyNested),
)
ListenerUpdate: Final = change(Listener)
LoadBalancerCreate: Final = _NESTED.root
LoadBalancerUpdate: Final = change(LoadBalancer)
