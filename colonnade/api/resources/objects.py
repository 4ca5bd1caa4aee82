# SPDX-License-Identifier: Apache-2.0
"""The objects of answers as types, for the OpenAPI document.

Their attributes are those of the nouns' tables. Answers are made in `shown.py` and
`full_trees.py`; tests hold each answer against its type, to the last key. Nothing is decoded or
encoded with these while the API serves.
"""

from functools import cache
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from colonnade.api.resources.derived import Id, answer
from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.shape import OF_TYPE
from colonnade.domain.status import Operating, Provisioning
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import MonitorType

SAMPLE_ID = "6f1de8a5-1b4c-4a63-9a1e-0d7c5ab1c0de"
VnicType: TypeAlias = Literal["normal", "direct"]
Time: TypeAlias = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$")]


class Link(Struct, forbid_unknown_fields=True):
    rel: Literal["next", "previous"]
    href: str


class Named(Struct, forbid_unknown_fields=True):
    id: Id


class Failure(Struct, forbid_unknown_fields=True):
    """Why an object is in ERROR, and when that is tried again."""

    code: str
    message: str
    at: Time
    retry_at: Time | None


class Facts(Struct, forbid_unknown_fields=True, kw_only=True):
    """What every object has."""

    id: Id
    project_id: str
    tenant_id: str
    provisioning_status: Provisioning
    operating_status: Operating
    created_at: Time
    updated_at: Time | None
    last_error: Failure | None


class Watched(Facts, kw_only=True):
    """What amphorae report on."""

    operating_status_reason: str
    operating_status_since: Time | None


class AdditionalVipObject(Struct, forbid_unknown_fields=True):
    subnet_id: Id
    ip_address: str
    port_id: Id


def _object(kind: type[Node], name: str = "", **more: Any) -> type[Struct]:
    """`more`: what is shown besides the attributes of the noun."""
    base = Watched if OF_TYPE[kind].reported else Facts
    return answer(name or f"{kind.__name__}Object", kind, base=base, **more)


_SERVED: Final[Any] = {"issues": list[str], "loadbalancers": list[Named]}
_POOL: Final[Any] = _SERVED | {"healthmonitor_id": Id | None, "listeners": list[Named]}
_POLICY: Final[Any] = {"listener_id": Id}
_LOAD_BALANCER: Final[Any] = {
    "vip_vnic_type": VnicType,
    "additional_vips": list[AdditionalVipObject],
    "issues": list[str],
}

MemberObject: Final = _object(Member, vnic_type=VnicType)
HealthMonitorObject: Final = _object(HealthMonitor, pools=list[Named])
PoolObject: Final = _object(Pool, **_POOL, members=list[Named])
L7RuleObject: Final = _object(L7Rule)
L7PolicyObject: Final = _object(L7Policy, **_POLICY, rules=list[Named])
ListenerObject: Final = _object(Listener, **_SERVED, l7policies=list[Named])
LoadBalancerObject: Final = _object(
    LoadBalancer, **_LOAD_BALANCER, listeners=list[Named], pools=list[Named]
)


def _whole_load_balancer() -> type[Struct]:
    """A load balancer with every child fully shown."""
    member: Any = MemberObject
    monitor: Any = HealthMonitorObject
    rule: Any = L7RuleObject
    pool: Any = _object(
        Pool, "WholePool", **_POOL, members=list[member], healthmonitor=monitor | None
    )
    policy: Any = _object(
        L7Policy, "WholePolicy", **_POLICY, rules=list[rule], redirect_pool=pool | None
    )
    listener: Any = _object(
        Listener, "WholeListener", **_SERVED, l7policies=list[policy], default_pool=pool | None
    )
    return _object(
        LoadBalancer,
        "WholeLoadBalancer",
        **_LOAD_BALANCER,
        listeners=list[listener],
        pools=list[pool],
    )


WholeLoadBalancer: Final = _whole_load_balancer()


class Statistics(Struct, forbid_unknown_fields=True):
    active_connections: int
    bytes_in: int
    bytes_out: int
    request_errors: int
    total_connections: int


class _Status(Struct, forbid_unknown_fields=True, kw_only=True):
    id: Id
    name: str
    operating_status: Operating
    provisioning_status: Provisioning


class MonitorStatus(_Status, kw_only=True):
    type: MonitorType


class MemberStatus(_Status, kw_only=True):
    address: str
    protocol_port: int


class PoolStatus(_Status, kw_only=True):
    health_monitor: dict[str, Any]  # a MonitorStatus, or empty when the pool has none
    members: list[MemberStatus]


class ListenerStatus(_Status, kw_only=True):
    pools: list[PoolStatus]


class LoadBalancerStatus(_Status, kw_only=True):
    listeners: list[ListenerStatus]


class LoadBalancerStatuses(Struct, forbid_unknown_fields=True):
    loadbalancer: LoadBalancerStatus


@cache
def wrapped(word: str, kind: Any) -> Any:
    """The type of an answer with one object under its word."""
    return msgspec.defstruct(f"Answer_{word}_{_name(kind)}", [(word, kind)])


@cache
def listed(word: str, kind: Any, links: str | None = "") -> Any:
    """The type of a list with its links; `links` None: it has none."""
    fields: list[Any] = [(word, list[kind])]
    if links is not None:
        fields.append((links or f"{word}_links", list[Link]))
    return msgspec.defstruct(f"List_{word}", fields)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", "object"))
