# SPDX-License-Identifier: Apache-2.0
"""What would change between two documents, as a list a person can read.

Objects are matched by name, and where they have none by what else makes them what they are: a
listener by its port, a member by its address and port, a rule by what it says. What the endpoint
chose is compared only where the wanted document says something about it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from colonnade.cli.documents.attributes import (
    ALONE,
    CHILDREN,
    CHOSEN,
    FIELDS,
    FIXED,
    KEYS,
    LB,
    LISTENER,
    MEMBER,
    PARTS,
    POLICY,
    RULE,
    SECRETS,
    WORDS,
    Absent,
)
from colonnade.cli.documents.document import Document, endpoint

Pair: TypeAlias = tuple[Document | None, Document | None]  # what is there, what is wanted

# What is said already by the words an object is called with.
_IN_TITLE: Final[Mapping[str, tuple[str, ...]]] = {
    MEMBER: ("name", "address", "protocol_port"),
    RULE: ("type", "compare_type", "key", "value", "invert"),
}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`sign`: + for what is added, - for what goes, ~ for an attribute that changes."""

    sign: str
    path: tuple[str, ...]  # from the load balancer down to the object
    attribute: str = ""
    old: Any = None
    new: Any = None
    fixed: bool = False  # the endpoint cannot change it


def compare(old: Document | None, new: Document) -> list[Change]:
    """Every difference, from the top down. Without `old` all of it is new."""
    path = (f"{WORDS[LB]} {new['name']}",)
    if old is None:
        return list(_added(LB, new, path))
    return list(_compare(LB, old, new, path))


def _compare(kind: str, old: Document, new: Document, path: tuple[str, ...]) -> Iterator[Change]:
    for name, default in FIELDS[kind].items():
        if default is CHOSEN and name not in new:
            continue
        was, wanted = _value(name, old, default), _value(name, new, default)
        if _comparable(name, was) != _comparable(name, wanted):
            fixed = name in FIXED.get(kind, ())
            yield Change(sign="~", path=path, attribute=name, old=was, new=wanted, fixed=fixed)
    for word, child in CHILDREN[kind].items():
        before = _below(old, word)
        pairs = _matched(child, before, _below(new, word))
        for there, wished in pairs:
            if there is not None and wished is not None:
                yield from _compare(child, there, wished, (*path, title(child, wished)))
            elif wished is not None:
                yield from _added(child, wished, (*path, title(child, wished)))
            elif there is not None:
                yield Change(sign="-", path=(*path, title(child, there)))
        yield from _moved(child, before, pairs, path)


def _added(kind: str, new: Document, path: tuple[str, ...]) -> Iterator[Change]:
    yield Change(sign="+", path=path)
    for name, default in FIELDS[kind].items():
        if name in new and name not in _IN_TITLE.get(kind, ("name",)):
            value = _value(name, new, default)
            yield Change(sign="+", path=path, attribute=name, new=value)
    for word, child in CHILDREN[kind].items():
        for one in _below(new, word):
            yield from _added(child, one, (*path, title(child, one)))


def _moved(
    kind: str, old: Sequence[Document], pairs: Sequence[Pair], path: tuple[str, ...]
) -> Iterator[Change]:
    """Policies take their turns in order, so another order of those that stay is a change."""
    stay = [(there, wished) for there, wished in pairs if there is not None and wished is not None]
    before = sorted(stay, key=lambda pair: _place(pair[0], old))
    if kind == POLICY and before != stay:
        was, wanted = ([title(kind, wished) for _, wished in one] for one in (before, stay))
        yield Change(sign="~", path=path, attribute="order", old=was, new=wanted)


def _place(one: Document, among: Sequence[Document]) -> int:
    return next(place for place, other in enumerate(among) if other is one)


def _matched(kind: str, old: Sequence[Document], new: Sequence[Document]) -> list[Pair]:
    """Pairs of what is there and what is wanted, in the wanted order, then what goes."""
    left = list(old)
    found: dict[int, Document] = {}
    for key in _keys(kind):
        for place, wished in enumerate(new):
            if place in found or key(wished) is None:
                continue
            alike = [one for one in left if key(one) == key(wished)]
            if alike:
                found[place] = alike[0]
                left = [one for one in left if one is not alike[0]]
    pairs: list[Pair] = [(found.get(place), wished) for place, wished in enumerate(new)]
    return [*pairs, *((one, None) for one in left)]


def _keys(kind: str) -> Iterator[Callable[[Document], Any]]:
    """By what two objects are the same one, the surest first. A key of None matches nothing."""
    for names in KEYS[kind]:
        yield partial(_said, kind, names)
    if kind == POLICY:
        yield _does


def _said(kind: str, names: Sequence[str], one: Document) -> Any:
    values = [_value(name, one, FIELDS[kind].get(name)) for name in names]
    return values if any(values) or not names else None


def _does(policy: Document) -> Any:
    if policy.get("name"):
        return None
    words = ("action", "redirect_pool", "redirect_url", "redirect_prefix", "rules")
    return [policy.get(word) for word in words]


def title(kind: str, one: Document) -> str:
    """The object in the words of a person."""
    if kind == MEMBER:
        name = f" ({one['name']})" if one.get("name") else ""
        return f"{WORDS[kind]} {endpoint(one)}{name}"
    if kind == RULE:
        compare_type = f"{'not ' if one.get('invert') else ''}{one['compare_type']}"
        words = (WORDS[kind], one["type"], one.get("key"), compare_type, one["value"])
        return " ".join(str(word) for word in words if word)
    if kind == LISTENER and not one.get("name"):
        return f"{WORDS[kind]} {one['protocol']} :{one['protocol_port']}"
    return f"{WORDS[kind]} {one.get('name') or one.get('type') or one.get('action') or ''}".rstrip()


def words(value: Any) -> str:
    """A value for a person."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name}={one}" for name, one in value.items()) or "none"
        case list() | tuple():
            return ", ".join(map(str, value)) or "none"
        case "":
            return "none"
        case _:
            return str(value)


def _below(one: Document, word: str) -> list[Document]:
    found: Any = one.get(word) or []
    return [found] if word in ALONE and found else list(found)


def _value(name: str, one: Document, default: Any) -> Any:
    value = one.get(name, default if not isinstance(default, Absent) else None)
    if name in ("default_pool", "redirect_pool") and value:
        return value["name"]
    return value


def _comparable(name: str, value: Any) -> Any:
    """References to secrets may be ids or URLs that end in the id; parts may be left out."""
    if name in PARTS and isinstance(value, dict):
        return {**PARTS[name], **value}
    if name == "additional_vips":  # where nothing else is said, the endpoint chooses the rest
        return sorted(str(one.get("subnet_id")) for one in value)
    if name not in SECRETS or value is None:
        return value
    if isinstance(value, list):
        return sorted(str(one).rstrip("/").rpartition("/")[2] for one in value)
    return str(value).rstrip("/").rpartition("/")[2]
