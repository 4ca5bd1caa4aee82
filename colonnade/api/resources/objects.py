# SPDX-License-Identifier: Apache-2.0
"""The objects of answers as types, for the OpenAPI document.

Their attributes are those of the nouns' tables. What has no type here is not shown (`shown.py`
goes by these names); tests hold each answer against its type, to the last key. Nothing is decoded
or encoded with these while the API serves.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from colonnade.api.resources.derived import Id, answer
from colonnade.domain.fleet import Topology
from colonnade.domain.shape import (
    HEALTH_MONITORS,
    L7POLICIES,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    POOLS,
    Noun,
)
from colonnade.domain.status import Operating, Provisioning
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


@cache
def object_of(noun: Noun) -> Any:
    """As it is shown by itself: its children as ids."""
    children = {child.word: list[Named] for child in noun.below if not child.alone}
    return _object(noun, f"{noun.type.__name__}Object", children)


@cache
def whole(noun: Noun) -> Any:
    """As it is shown in a whole tree: with every child, and the pools that it uses."""
    if not noun.below:
        return object_of(noun)
    found: dict[str, Any] = {}
    for child in noun.below:
        kind: Any = whole(child)
        found[child.word] = kind | None if child.alone else list[kind]
    for word in noun.pools:
        found[word] = whole(POOLS) | None
    return _object(noun, f"Whole{noun.type.__name__}", found)


def _object(noun: Noun, name: str, below: Mapping[str, Any]) -> type[Struct]:
    base = Watched if noun.reported else Facts
    return answer(name, noun.type, base=base, **_MORE.get(noun.name, {}), **below)


_SERVED: Final[Any] = {"issues": list[str], "loadbalancers": list[Named]}
# What is shown besides the attributes of the noun and what is below it.
_MORE: Final[Mapping[str, Any]] = {
    LOAD_BALANCERS.name: {
        "vip_vnic_type": VnicType,
        "topology": Topology,
        "additional_vips": list[AdditionalVipObject],
        "issues": list[str],
    },
    LISTENERS.name: _SERVED,
    POOLS.name: _SERVED | {"healthmonitor_id": Id | None, "listeners": list[Named]},
    MEMBERS.name: {"vnic_type": VnicType},
    HEALTH_MONITORS.name: {"pools": list[Named]},
    L7POLICIES.name: {"listener_id": Id},
}


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
