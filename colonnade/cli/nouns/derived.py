# SPDX-License-Identifier: Apache-2.0
"""Options of the command line, made from the attributes of a noun. Knows no noun."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from colonnade.cli.nouns.description import Attribute, Kind
from colonnade.domain.attributes import Described, bare, described
from colonnade.domain.l7 import WeightedPool
from colonnade.domain.tree import Vip

_NAMED: Final = frozenset({"name"})  # given first on the command line, without an option
_LAST: Final = ("description", "admin_state_up", "tags")  # what every noun has
_KINDS: Final[dict[Any, Kind]] = {
    bool: Kind.FLAG,
    int: Kind.INTEGER,
    float: Kind.NUMBER,
    dict: Kind.PAIRS,
    Vip: Kind.VIPS,
    WeightedPool: Kind.SHARES,
}


def options(noun: type[msgspec.Struct]) -> tuple[Attribute, ...]:
    """The attributes of the noun, those that every noun has after its own."""
    found = {name: one for name, one in described(noun).items() if name not in _NAMED}
    own = [one for name, one in found.items() if name not in _LAST]
    last = [found[name] for name in _LAST if name in found]
    return tuple(_option(one) for one in (*own, *last))


def _option(one: Described) -> Attribute:
    return Attribute(
        name=one.name,
        help=one.about.help,
        kind=_kind(one),
        options=(one.about.option,) if one.about.option else (),
        choices=one.choices,
        refers=one.about.refers,
        required=one.required and not one.about.chosen,
        fixed=one.about.fixed,
        nested=int in _types_of_parts(one.item),
    )


def _kind(one: Described) -> Kind:
    if one.name == "tags":
        return Kind.TAGS
    if one.item in _KINDS:
        return _KINDS[one.item]
    if one.has_parts:
        return Kind.PAIRS
    return Kind.TEXTS if one.is_list else Kind.TEXT


def _types_of_parts(kind: Any) -> Iterator[Any]:
    for field in msgspec.structs.fields(kind) if hasattr(kind, "__struct_fields__") else ():
        yield bare(field.type)[0]
