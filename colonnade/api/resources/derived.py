# SPDX-License-Identifier: Apache-2.0
"""Types of requests and answers, made from the attributes of nouns once, as the API starts.

A body has UNSET for what was not said, and null for what shall be as by default; what is fixed is
in bodies of creation alone. Answers have all that is shown, without limits. Knows no noun.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, TypeAlias, Union
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from colonnade.api.http.decoding import Body
from colonnade.domain.attributes import Described, described, is_id_type, rewritten
from colonnade.domain.ids import ProjectId
from colonnade.domain.limits import PROJECT_ID_MAX

Id: TypeAlias = Annotated[str, Meta(description="A UUID in lower case with dashes")]
Project: TypeAlias = Annotated[str, Meta(max_length=PROJECT_ID_MAX)]


def optional(kind: Any) -> Any:
    """The type, or null, or not said."""
    return Union[kind, UnsetType, None]  # noqa: UP007 (of a value)


# Accepted wherever something is made; on children it is ignored, for it is the load balancer's.
_OWNED: Mapping[str, Any] = {
    "project_id": optional(Project),
    "tenant_id": optional(Project),
}


def change(kind: type[Struct], name: str = "", **more: Any) -> type[Body]:
    """What may be said of an object that is there. `more`: types of what no table has."""
    attributes = [one for one in described(kind).values() if not one.about.fixed]
    fields = {one.name: optional(asked(one)) for one in attributes}
    return _body(name or f"{kind.__name__}Update", attributes, fields | more)


def creation(
    kind: type[Struct], name: str = "", *, whole: bool = True, owned: bool = True, **more: Any
) -> type[Body]:
    """What may be said of a new object. `whole`: what has no default must be. `owned`: by a
    project, which may be said too."""
    attributes = described(kind).values()
    fields = {
        one.name: asked(one)
        if whole and one.required and not one.about.chosen
        else optional(asked(one))
        for one in attributes
    }
    return _body(
        name or f"{kind.__name__}Create",
        attributes,
        {**fields, **(_OWNED if owned else {}), **more},
    )


def answer(
    name: str, kind: type[Struct], *, base: type[Struct], defaults: bool = False, **more: Any
) -> type[Struct]:
    """An object of answers. `more`: what is shown besides the attributes of the noun; `defaults`:
    the schema says what they are where nothing was said."""
    fields = {one.name: _answered(one) for one in described(kind).values() if one.about.shown}
    for one in described(kind).values() if defaults else ():
        if one.name in fields and not one.required and one.default is not None:
            told = Meta(extra_json_schema={"default": msgspec.to_builtins(one.default)})
            fields[one.name] = Annotated[fields[one.name], told]
    return msgspec.defstruct(
        name, list((fields | more).items()), bases=(base,), kw_only=True, module=__name__
    )


def _body(name: str, attributes: Iterable[Described], fields: Mapping[str, Any]) -> type[Body]:
    emptied = frozenset(
        one.name for one in attributes if one.about.unset_by_empty or one.about.refers == "secret"
    )
    made: Any = msgspec.defstruct(
        name,
        [_field(*one) for one in fields.items()],
        bases=(Body,),
        namespace={"emptied": emptied},
        kw_only=True,
        frozen=True,
        module=__name__,
    )
    body: type[Body] = made
    return body


def _field(name: str, kind: Any) -> Any:
    if UnsetType not in getattr(kind, "__args__", ()):
        return name, kind
    # Not `id` in Python: readers copy attributes by name, and new objects get ids of ours.
    return name, kind, msgspec.field(default=UNSET, name="id" if name == "own_id" else None)


def asked(one: Described) -> Any:
    return rewritten(one.type, _asked_leaf, lists=True)


@cache
def _asked_leaf(kind: Any) -> Any:
    if kind is ProjectId:
        return Project
    if is_id_type(kind):
        return UUID
    if hasattr(kind, "__struct_fields__") and described(kind):
        return change(kind, f"{kind.__name__}Body")  # an object that may be told in part
    return kind


def _answered(one: Described) -> Any:
    kind = rewritten(one.type, _answered_leaf, limits=False, lists=True)
    return kind | None if one.about.null_when_empty else kind


def _answered_leaf(kind: Any) -> Any:
    if kind is ProjectId:
        return str
    return Id if is_id_type(kind) else kind
