# SPDX-License-Identifier: Apache-2.0
"""What a request may say about each noun of the tree: the attributes of its table, and what may
come along inside of it, by the tree's shape. What no table and no shape says stands here.

Absent is UNSET and null is None; what they mean is in `api/http/decoding.py`.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from colonnade.api.http.decoding import Body
from colonnade.api.resources import derived
from colonnade.api.resources.derived import creation, optional
from colonnade.domain.limits import Text
from colonnade.domain.shape import L7POLICIES, LISTENERS, LOAD_BALANCERS, POOLS, Noun

OptText: TypeAlias = Text | UnsetType | None


class AdditionalVip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subnet_id: UUID
    ip_address: OptText = UNSET
    port_id: UUID | UnsetType | None = UNSET


@cache
def create(noun: Noun) -> type[Body]:
    """The body of its creation."""
    if noun.nested or noun is LOAD_BALANCERS:
        return nested(noun)
    assert noun.above is not None
    above = _ABOVE.get(noun.name, {noun.above.wire_id: UUID})
    inside = _inside(noun, nested)
    if noun is L7POLICIES:
        del inside["redirect_pool"]  # which comes with the listener alone
    return creation(noun.type, **above, **inside)


@cache
def change(noun: Noun) -> type[Body]:
    """The body of its change."""
    return derived.change(noun.type)


@cache
def nested(noun: Noun) -> type[Body]:
    """What is said of it inside of another's body."""
    is_create = noun.nested or noun is LOAD_BALANCERS
    name = f"{noun.type.__name__}{'Create' if is_create else 'Nested'}"
    return creation(noun.type, name, whole=_is_whole(noun), **_inside(noun, nested))


@cache
def wished(noun: Noun) -> type[Body]:
    """The same in a tree that is put, with an id: it says which object is meant where a name or a
    natural key would not, as for one that gets another name."""
    more = {"own_id": optional(UUID), **_inside(noun, wished)}
    return creation(noun.type, f"{noun.type.__name__}Wished", whole=_is_whole(noun), **more)


def _inside(noun: Noun, made: Callable[[Noun], type[Body]]) -> dict[str, Any]:
    """Its children, and the pools that it uses."""
    found = dict(_MORE.get(noun.name, {}))
    for child in noun.below:
        kind: Any = made(child)
        found[child.word] = optional(kind if child.alone else list[kind])
    return found | {word: optional(made(POOLS)) for word in noun.pools}


def _is_whole(noun: Noun) -> bool:
    """A pool inside of something else may have a name alone: it is a reference to another."""
    return noun is not POOLS


# What it is made below, where that is not its parent.
_ABOVE: Final[Mapping[str, Any]] = {
    POOLS.name: {
        LOAD_BALANCERS.wire_id: optional(UUID),
        LISTENERS.wire_id: optional(UUID),
    }
}
_MORE: Final[Mapping[str, Any]] = {
    LOAD_BALANCERS.name: {"additional_vips": optional(list[AdditionalVip])}
}
