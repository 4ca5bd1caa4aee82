# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests: decoded strictly, and refused in the words of the wire contract.

A body is a Struct whose fields are UNSET when absent. The fast path is one typed decode; only a
refused body is looked at again, to say which attribute, which value and why. This module knows
no noun: it reads whatever Struct it is given.
"""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cache
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, inspect

from colonnade.domain.errors import Invalid

T = TypeVar("T", bound=msgspec.Struct)
Fields: TypeAlias = dict[str, Any]  # attributes of a value, by their names

VALUE_SHOWN_MAX: Final = 200
_TOO_DEEP: Final = "Invalid JSON in the body of the request: it is nested too deeply"
_PLACE: Final = re.compile(r" - at `\$(.*)`$")
# The escape of NUL: after an even number of backslashes, for those are backslashes themselves.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


# What oslo's flags take, and the contract's clients send. Anything else is no flag: a word that
# is misspelt must never mean yes.
YES: Final = frozenset({"1", "t", "true", "on", "y", "yes"})
NO: Final = frozenset({"", "0", "f", "false", "off", "n", "no"})


def read_flag(name: str, text: str) -> bool:
    """A flag of a query string. Raises Invalid for a word that is neither yes nor no."""
    word = text.lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise Invalid(
        f"Invalid input for field/attribute {name}. Value: '{_shown(text)}'. "
        "Value should be one of: true, false"
    )


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request says of one object: the types are made from its noun. Handlers read what
    they must see themselves by name, and leave the rest to `given` and `changed`."""

    emptied: ClassVar[frozenset[str]] = frozenset()  # attributes that an empty text makes null

    def said(self, name: str) -> Any:
        """The attribute's value; None as well when the body does not name it."""
        value = getattr(self, name, None)
        return None if value is UNSET else value

    def said_id(self, name: str) -> str | None:
        value = self.said(name)
        return str(value) if value else None

    def each(self, name: str) -> "Sequence[Body]":
        """The objects that came along under this name."""
        found: Sequence[Body] = self.said(name) or ()
        return found


@cache
def _decoder(body: type[msgspec.Struct], wrapper: str) -> msgspec.json.Decoder[Any]:
    envelope = msgspec.defstruct(
        "Envelope", [(wrapper, body)], forbid_unknown_fields=True, frozen=True
    )
    # Not strict: clients of the contract send numbers and flags as text, and always could.
    return msgspec.json.Decoder(envelope, strict=False)


def read_list(raw: bytes, body: type[T], wrapper: str) -> list[T]:
    """A list of objects under its wrapper, as `read_body` reads one."""
    return read_body(raw, list[body], wrapper)  # type: ignore[valid-type, type-var]


def read_body(raw: bytes, body: type[T], wrapper: str) -> T:
    """The object under its wrapper. Raises Invalid, in the contract's words."""
    if b"\\u0000" in raw and _NUL.search(raw) is not None:
        # PostgreSQL keeps no such text, and nobody has a use for it.
        raise Invalid("Invalid input: the character NUL (\\u0000) is not allowed.")
    try:
        envelope = _decoder(body, wrapper).decode(raw)
    except msgspec.ValidationError as error:
        raise Invalid(_explain(raw, body, wrapper, error)) from error
    except RecursionError as error:
        raise Invalid(_TOO_DEEP) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"Invalid JSON in the body of the request: {error}") from error
    found: T = getattr(envelope, wrapper)
    return found


def _explain(
    raw: bytes, body: type[msgspec.Struct], wrapper: str, error: msgspec.ValidationError
) -> str:
    try:
        whole = msgspec.json.decode(raw)
    except RecursionError:
        return _TOO_DEEP
    except ValueError:  # a number of thousands of digits, which nothing here can show
        return f"Invalid input: {error}"
    if not isinstance(whole, dict):
        return f"Invalid input: the body must be a JSON object with the key '{wrapper}'."
    if wrapper not in whole:
        return f'Missing argument: "{wrapper}"'
    strangers = sorted(set(whole) - {wrapper})
    if strangers:
        return f'Unknown argument: "{", ".join(strangers)}"'
    text = str(error)
    place = _PLACE.search(text)
    steps = _steps(place.group(1)) if place is not None else []
    reason = _PLACE.sub("", text)
    value, kind = _walk(whole, body, steps)
    if reason.startswith("Object contains unknown field"):
        known = {f.encode_name for f in kind.fields} if isinstance(kind, inspect.StructType) else ()
        unknown = sorted(name for name in value if name not in known)
        where = next((s for s in reversed(steps) if isinstance(s, str)), wrapper)
        return f"Unknown attribute for argument {where}: {', '.join(unknown)}"
    missing = re.match(r"Object missing required field `(.+)`", reason)
    if missing is not None:
        return f"Invalid input for field/attribute {missing.group(1)}. Mandatory field missing."
    name = next((s for s in reversed(steps) if isinstance(s, str)), wrapper)
    return (
        f"Invalid input for field/attribute {name}. Value: '{_shown(value)}'. "
        f"{_reason(reason, kind)}"
    )


def _steps(path: str) -> list[str | int]:
    found: list[str | int] = []
    for name, index in _STEP.findall(path):
        found.append(name or (-1 if index == "..." else int(index)))
    return found


def _walk(whole: Any, body: type[msgspec.Struct], steps: list[str | int]) -> tuple[Any, Any]:
    """The value at the place, and the type that it should have had."""
    value: Any = whole
    kind: Any = None
    key: Any
    for depth, step in enumerate(steps):
        if step == -1 and isinstance(value, list) and hasattr(kind, "item_type"):
            value, kind = _first_wrong(value, kind), kind.item_type
            continue
        if step == -1 or not isinstance(value, dict | list):
            return value, kind  # inside a map, at a place that msgspec does not tell
        key = step
        value = value[key]
        kind = _one_kind(_type_info(body) if depth == 0 else _inner(kind, step))
    return value, kind


@cache
def _type_info(body: type[msgspec.Struct]) -> inspect.Type:
    """Kept, because msgspec reads all annotations for each answer."""
    return inspect.type_info(body)


def _one_kind(kind: Any) -> Any:
    """Of a type that may also be null or absent, the type."""
    if isinstance(kind, inspect.UnionType):
        real = [t for t in kind.types if not isinstance(t, inspect.NoneType)]
        return real[0] if len(real) == 1 else kind
    return kind


def _first_wrong(items: list[Any], kind: inspect.ListType) -> Any:
    """msgspec says that an item of a list is wrong, but not which."""
    item_type = _type_of(kind.item_type)
    for item in items:
        try:
            msgspec.convert(item, item_type, strict=False)
        except msgspec.ValidationError:
            return item
    return items


def _type_of(kind: inspect.Type) -> Any:
    return kind.cls if isinstance(kind, inspect.StructType | inspect.EnumType) else Any


def _inner(kind: Any, step: str | int) -> Any:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    for one in kinds:
        if isinstance(one, inspect.StructType) and isinstance(step, str):
            return next((f.type for f in one.fields if f.encode_name == step), None)
        if isinstance(one, inspect.ListType | inspect.VarTupleType) and isinstance(step, int):
            return one.item_type
    return None


def _reason(reason: str, kind: Any) -> str:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    for one in kinds:
        if isinstance(one, inspect.EnumType):
            return f"Value should be one of: {', '.join(str(e.value) for e in one.cls)}"
    return reason.replace("`", "")


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_SHOWN_MAX else text[:VALUE_SHOWN_MAX] + "..."


def set_fields(body: msgspec.Struct) -> dict[str, Any]:
    """The attributes that the request names, null included."""
    return _said(body, body.__struct_fields__)


def _said(body: msgspec.Struct, names: Iterable[str]) -> dict[str, Any]:
    found = {name: value for name in names if (value := getattr(body, name)) is not UNSET}
    for name in getattr(body, "emptied", ()):
        if name in found:
            value = found[name]
            is_list = isinstance(value, list)
            found[name] = [one for one in value if one] if is_list else value or None
    return found


def plain(value: Any) -> Any:
    """A value of a body as the domain has it: ids are text, lists are tuples."""
    if type(value) in _AS_IT_IS or isinstance(value, Enum | dict | msgspec.Struct):
        return value
    if isinstance(value, list):
        return tuple(plain(item) for item in value)
    return str(value)


_AS_IT_IS: Final = frozenset({str, int, bool, float})


@cache
def _shared(body: type[msgspec.Struct], node: type[msgspec.Struct]) -> tuple[str, ...]:
    """The attributes of the body that are the value's own."""
    return tuple(name for name in body.__struct_fields__ if name in node.__struct_fields__)


def given(body: msgspec.Struct, node: type[msgspec.Struct]) -> Fields:
    """Attributes of a new value: those that were given and are not null."""
    said = _said(body, _shared(type(body), node))
    return {
        name: value if type(value) in _AS_IT_IS else plain(value)
        for name, value in said.items()
        if value is not None
    }


def changed(body: msgspec.Struct, node: type[msgspec.Struct]) -> Fields:
    """Attributes to change: null means the default, and for `admin_state_up` false."""
    found: Fields = {}
    for name, value in _said(body, _shared(type(body), node)).items():
        if value is not None:
            found[name] = plain(value)
        elif name == "admin_state_up":
            found[name] = False
        else:
            found[name] = _default(node, name)
    return found


def _default(node: type[msgspec.Struct], name: str) -> Any:
    (field,) = (one for one in msgspec.structs.fields(node) if one.name == name)
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    raise Invalid(
        f"Invalid input for field/attribute {field.name}. Value: 'None'. It cannot be null."
    )
