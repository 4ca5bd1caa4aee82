# SPDX-License-Identifier: Apache-2.0
"""How a noun says its attributes: one line each in its class, and nothing of them elsewhere.

    weight: Annotated[int, Meta(ge=0, le=256), Attribute("Its share; 0 drains it.")] = 1

Name, type, limits and default are Python's; `Attribute` says the rest. Request bodies, answers,
their schemas, filters, options of the command line, documents and tables are made from these
lines. A field without an `Attribute` is no attribute of the wire. This module knows no noun.
"""

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Annotated, Any, Union

import msgspec
from msgspec import NODEFAULT, Meta

from colonnade.domain.ids import ProjectId


class Attribute(msgspec.Struct, frozen=True):
    """What type and default do not say of an attribute."""

    help: str = ""
    option: str = ""  # its words on the command line, where they are not its name
    refers: str = ""  # the word of the noun whose name may stand for it: "subnet", "secret"
    fixed: bool = False  # said at creation only
    chosen: bool = False  # by the endpoint, when it is not said
    shown: bool = True  # in answers, and found by filters
    is_address: bool = False  # an IP address: found in any of its spellings
    null_when_empty: bool = False  # an empty list is shown as null
    prefix: str = ""  # an object whose attributes are the noun's own, under names that begin so
    unset_by_empty: bool = False  # an empty text means null; so does that of every secret


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute: what `Attribute` says of it, and what its class says."""

    name: str
    type: Any  # with its limits
    about: Attribute
    default: Any = NODEFAULT  # NODEFAULT: it must be given
    item: Any  # the bare type; of a list, that of its items
    is_list: bool
    is_nullable: bool
    limits: tuple[Meta, ...]  # of the bare type
    within: str = ""  # the field of the noun that holds the object which has it
    field: str  # its name there, or in the noun

    @property
    def required(self) -> bool:
        return self.default is NODEFAULT

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be."""
        is_enum = isinstance(self.item, type) and issubclass(self.item, Enum)
        return tuple(str(one.value) for one in self.item) if is_enum else ()

    @property
    def has_parts(self) -> bool:
        """An object, a list of objects, or a map."""
        return self.item is dict or hasattr(self.item, "__struct_fields__")

    @property
    def is_id(self) -> bool:
        """The id of another object, which is a UUID."""
        return is_id_type(self.item)


def is_id_type(kind: Any) -> bool:
    """Ids are a `NewType` each; that of a project may be any text."""
    return getattr(kind, "__supertype__", None) is str and kind is not ProjectId


@cache
def described(kind: type[msgspec.Struct]) -> Mapping[str, Described]:
    """The attributes of a noun in the order of its class."""
    defaults = {field.name: field for field in msgspec.structs.fields(kind)}
    found: dict[str, Described] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        about = next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Attribute)), 0)
        if not isinstance(about, Attribute):
            continue
        if about.prefix:
            found |= _held(name, hint, about.prefix)
            continue
        field = defaults[name]
        made = field.default_factory
        item, is_list, is_nullable = bare(hint)
        found[name] = Described(
            name=name,
            field=name,
            type=rewritten(hint),
            about=about,
            default=made() if made is not NODEFAULT else field.default,
            item=item,
            is_list=is_list,
            is_nullable=is_nullable,
            limits=tuple(_limits(hint)),
        )
    return found


def _held(name: str, hint: Any, prefix: str) -> dict[str, Described]:
    inner, _, _ = bare(hint)
    return {
        f"{prefix}{one.name}": msgspec.structs.replace(one, name=f"{prefix}{one.name}", within=name)
        for one in described(inner).values()
    }


def _same(kind: Any) -> Any:
    return kind


def rewritten(
    kind: Any, leaf: Callable[[Any], Any] = _same, *, limits: bool = True, lists: bool = False
) -> Any:
    """The type with each bare type in it as `leaf` has it, with its limits or without them, and
    with lists in the place of tuples."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        inner = rewritten(arguments[0], leaf, limits=limits, lists=lists)
        kept = [one for one in arguments[1:] if isinstance(one, Meta)] if limits else []
        return Annotated[(inner, *kept)] if kept else inner
    if origin in (Union, types.UnionType):
        some = tuple(rewritten(one, leaf, limits=limits, lists=lists) for one in arguments)
        return Union[some]  # noqa: UP007 (of values)
    if origin is tuple:
        item: Any = rewritten(arguments[0], leaf, limits=limits, lists=lists)
        return list[item] if lists else tuple[item, ...]
    return leaf(kind)


def bare(kind: Any) -> tuple[Any, bool, bool]:
    """The type without limits, null and list; whether it is a list; whether it may be null."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return bare(arguments[0])
    if origin in (Union, types.UnionType):
        (real,) = (one for one in arguments if one is not type(None))
        item, is_list, _ = bare(real)
        return item, is_list, True
    if origin is tuple:
        return bare(arguments[0])[0], True, False
    return (dict if origin is dict else kind), False, False


def _limits(kind: Any) -> Iterator[Meta]:
    yield from (one for one in getattr(kind, "__metadata__", ()) if isinstance(one, Meta))
    for one in typing.get_args(kind):
        yield from _limits(one)
