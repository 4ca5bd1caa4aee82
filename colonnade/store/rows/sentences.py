# SPDX-License-Identifier: Apache-2.0
"""A change of a tree in words that name its objects: "weight of member web2 10 -> 0 in pool app".

Pure. A few objects are named one by one; more are counted. Names are users' texts: a name that
could be taken for other words of the sentence is quoted, and control characters are escaped.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from colonnade.domain.addresses import endpoint
from colonnade.domain.l7 import L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.pools import HealthMonitor, Member
from colonnade.domain.shape import BELOW, LOAD_BALANCERS
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.difference import Difference, Place
from colonnade.store.rows.tables import own_fields

NAMED_MAX: Final = 3  # objects of one change that are named one by one
ATTRIBUTES_MAX: Final = 3  # of one object that are told with their values
TEXT_MAX: Final = 60
_PLAIN: Final = re.compile(r"[\w.:@/+-]+")
_INNER: Final = frozenset({"cluster_id"})  # of the machinery
_POOLS: Final = frozenset({"default_pool_id", "redirect_pool_id"})

Trees: TypeAlias = tuple[LoadBalancer | None, LoadBalancer | None]  # before and after


class Names:
    """What the pools, listeners and policies are called that others are below."""

    def __init__(self, before: LoadBalancer | None, after: LoadBalancer | None) -> None:
        self._trees = [tree for tree in (after, before) if tree is not None]
        self._found: dict[str, tuple[str, Node]] = {}

    def of(self, parent_id: str | None) -> str:
        """As it is; empty for what is below the load balancer itself."""
        return plain_name(self.parent(parent_id)[1]) if parent_id is not None else ""

    def parent(self, parent_id: str) -> tuple[str, Node]:
        """With its noun."""
        found = self._found.get(parent_id)
        if found is None:
            found = self._found[parent_id] = next(self._look(parent_id))
        return found

    def _look(self, parent_id: str) -> Iterator[tuple[str, Node]]:
        for tree in self._trees:
            for table in BELOW:
                for node, _ in table.each(tree) if table.below else ():
                    if node.id == parent_id:
                        yield table.words, node


def told(
    verb: str, before: LoadBalancer | None, after: LoadBalancer | None, found: Difference
) -> str:
    """The change in a sentence that begins with its verb."""
    changed = (*found.added, *found.altered, *found.removed)
    tree = after or before
    assert tree is not None, "a change has a tree before or after"
    names = Names(before, after)
    if verb != "updated" or len(changed) > NAMED_MAX:
        words = list(_counted(found, names))
    else:
        words = list(_named(found, (before, after), names))
    if found.root_altered and before is not None and after is not None:
        words = [_altered(LOAD_BALANCERS.words, before, after, (before, after)), *words]
    what = verb if verb == "updated" else f"{verb} load balancer {called(tree)}"
    return f"{what}: {', '.join(words)}" if words else what


def called(node: Node) -> str:
    """In a sentence: by its name, else by what tells it from others of its kind."""
    return quoted(node.name) if node.name else plain_name(node)


def plain_name(node: Node) -> str:
    """Its name as it is, else what tells it from others of its kind, else its id."""
    if node.name:
        return node.name
    match node:
        case Member():
            return endpoint(node.address, node.protocol_port)
        case Listener():
            return f"{node.protocol.value}:{node.protocol_port}"
        case HealthMonitor():
            return node.type.value
        case L7Rule():
            words = "not " if node.invert else ""
            return f"{node.type.value} {words}{node.compare_type.value} {quoted(node.value)}"
    return str(node.id)


def quoted(text: str) -> str:
    """As it is where it is one plain word, else in quotes, with escapes for what is not seen."""
    shown = text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}\N{HORIZONTAL ELLIPSIS}"
    return shown if _PLAIN.fullmatch(text) and shown == text else repr(shown)


def _named(found: Difference, trees: Trees, names: Names) -> Iterator[str]:
    for place in found.added:
        yield f"{_noun(place)} {called(place.own)} added{_where(place, names, 'to')}"
    for place in found.altered:
        was = found.former[place.id].own
        words = _altered(_noun(place), was, place.own, trees)
        yield f"{words}{_where(place, names, 'in')}"
    for place in found.removed:
        yield f"{_noun(place)} {called(place.own)} removed{_where(place, names, 'from')}"


def _altered(noun: str, was: Node, now: Node, trees: Trees) -> str:
    old, new = own_fields(was), own_fields(now)
    names = [name for name in new if old[name] != new[name] and name not in _INNER]
    of = f"{noun} {called(was)}"
    if len(names) > ATTRIBUTES_MAX:
        return f"{len(names)} attributes of {of}"
    values = [
        (name, _value(name, old[name], trees[0]), _value(name, new[name], trees[1]))
        for name in names
    ]
    if len(values) == 1:
        ((name, first, second),) = values
        change = f" {first} -> {second}" if first and second else ""
        return f"{name} of {of}{change}"
    changes = (f"{name} {a} -> {b}" if a and b else name for name, a, b in values)
    return f"{of} ({', '.join(changes)})"


def _value(name: str, value: Any, tree: LoadBalancer | None) -> str:
    """In a word or a few; empty for what has no short one."""
    if name in _POOLS and value is not None and tree is not None:
        pool = next((one for one in tree.pools if one.id == value), None)
        return called(pool) if pool is not None else str(value)
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case str():
            return quoted(value) if value else "''"
        case list() | tuple() if all(isinstance(one, str) for one in value):
            return quoted(",".join(value)) if value else "none"
    return ""


def _counted(found: Difference, names: Names) -> Iterator[str]:
    sides: Sequence[tuple[str, Sequence[Place], str]] = (
        ("added", found.added, "to"),
        ("altered", found.altered, "in"),
        ("removed", found.removed, "from"),
    )
    for verb, places, into in sides:
        kinds: dict[str, list[Place]] = {}
        for place in places:
            kinds.setdefault(place.table.name, []).append(place)
        for own in kinds.values():
            noun = _noun(own[0]) if len(own) == 1 else _plural(_noun(own[0]))
            of_one = len({place.parent_id for place in own}) == 1
            yield f"{verb} {len(own)} {noun}{_where(own[0], names, into) if of_one else ''}"


def _noun(place: Place) -> str:
    return place.table.words


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _where(place: Place, names: Names, word: str) -> str:
    """The parent that the object is below, when that is not the load balancer."""
    if place.parent_id is None:
        return ""
    noun, parent = names.parent(place.parent_id)
    return f" {word} {noun} {called(parent)}"
