# SPDX-License-Identifier: Apache-2.0
"""What a document may say of each kind of object, and what it means to leave it out: made from the
attributes of the nouns and the shape of the tree.

The order is that of an exported file. What the endpoint chooses when it is not said (`CHOSEN`) is
compared only when it is said.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from colonnade.domain import shape
from colonnade.domain.attributes import Described, described
from colonnade.domain.pools import HTTP_DEFAULTS


class Absent(Enum):
    CHOSEN = "chosen"  # by the endpoint
    NEEDED = "needed"


CHOSEN, NEEDED = Absent.CHOSEN, Absent.NEEDED

LB, LISTENER, POLICY, RULE = "loadbalancer", "listener", "l7policy", "rule"
POOL, MEMBER, MONITOR = "pool", "member", "healthmonitor"

_KINDS: Final[Mapping[shape.Noun, str]] = {noun: noun.wrapper for noun in shape.NOUNS}
WORDS: Final = {kind: noun.words for noun, kind in _KINDS.items()} | {RULE: "rule"}
_POOLS: Final = {"default_pool_id": "default_pool", "redirect_pool_id": "redirect_pool"}


def _fields(noun: shape.Noun) -> dict[str, Any]:
    """By name, with what it means to leave it out."""
    found = described(noun.type)
    first = [name for name in ("name", "description") if name in found]
    fields = {_POOLS.get(name, name): _absent(found[name]) for name in (*first, *found)}
    if noun is shape.L7POLICIES:
        del fields["position"]  # it is the order of the list
    if noun is shape.HEALTH_MONITORS:  # other types show none of these
        fields |= HTTP_DEFAULTS
    return fields


def _absent(one: Described) -> Any:
    if one.about.chosen:
        return CHOSEN
    if one.required:
        return NEEDED
    return list(one.default) if one.is_list else msgspec.to_builtins(one.default)


def _named(noun: shape.Noun) -> dict[str, tuple[str, str]]:
    ids = (one for one in described(noun.type).values() if one.is_id and one.about.refers)
    return {
        one.name.removesuffix("_id"): (one.name, one.about.refers)
        for one in ids
        if one.name not in _POOLS
    }


def _parts(kind: type[msgspec.Struct]) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        if field.default is not msgspec.NODEFAULT and field.default not in (None, ()):
            yield field.name, msgspec.to_builtins(field.default)


_EVERY: Final = [one for noun in shape.NOUNS for one in described(noun.type).values()]

FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    kind: _fields(noun) for noun, kind in _KINDS.items()
}
# What attributes that have parts mean when a part is left out.
PARTS: Final[Mapping[str, Mapping[str, Any]]] = {
    one.name: dict(_parts(one.item))
    for one in _EVERY
    if hasattr(one.item, "__struct_fields__") and not one.is_list
}
# Lists of children, by the word of the document; a health monitor stands alone.
CHILDREN: Final[Mapping[str, Mapping[str, str]]] = {
    kind: {child.word: _KINDS[child] for child in noun.below} for noun, kind in _KINDS.items()
}
# By what two objects are the same one, the surest first.
KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    kind: noun.keys if not noun.alone else ((),) for noun, kind in _KINDS.items()
}
ALONE: Final = frozenset(noun.word for noun in shape.BELOW if noun.alone)
# What may be said by name instead of by id: the word, the attribute it becomes, whose name it is.
NAMED: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    kind: named for noun, kind in _KINDS.items() if (named := _named(noun))
}
SECRETS: Final = frozenset(one.name for one in _EVERY if one.about.refers == "secret")
ADDRESSES: Final = frozenset(one.name for one in _EVERY if one.about.is_address)
# YAML reads these as numbers or flags where a person meant text.
TEXTS: Final = frozenset(one.name for one in _EVERY if one.item is str and not one.is_list)
# Cannot be changed in what is there; the endpoint will say so. What is below is made anew.
FIXED: Final[Mapping[str, frozenset[str]]] = {
    LB: frozenset(n for n, one in described(shape.LOAD_BALANCERS.type).items() if one.about.fixed)
}
# Exported only when they cannot be found out again.
NOT_EXPORTED: Final = frozenset({"vip_port_id", "vip_network_id", "project_id"})
