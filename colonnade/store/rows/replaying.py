# SPDX-License-Identifier: Apache-2.0
"""Apply the changes of some generations, as history has them, to the tree before these generations.

Pure. An object that no generation changed stays the identical object. New children stand after the
old ones, except L7 policies, which have positions.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from colonnade.domain.node import Node
from colonnade.domain.shape import LOAD_BALANCERS, Noun
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.history import ADDED, KINDS, REMOVED, Changed
from colonnade.store.rows.tables import arranged, json_of, own_fields, read_node

N = TypeVar("N", bound=Node)


def replayed(tree: LoadBalancer, changes: Sequence[Changed]) -> LoadBalancer:
    """The tree after all of these changes, which are in order. Raises Newer."""
    script = _Script(tree.id)
    for change in changes:
        script.note(change)
    return script.played(LOAD_BALANCERS, tree)


class _Script:
    """The changes to make, by the ids of the objects that they concern."""

    def __init__(self, root_id: str) -> None:
        self._root_id = root_id
        self._altered: dict[str, dict[str, Any]] = {}
        self._added: dict[str, dict[str, tuple[Noun, dict[str, Any]]]] = {}  # by parent and id
        self._removed: set[str] = set()
        self._concerned: set[str] = set()  # who is altered, and whose children are or come or go
        self._nouns: set[Noun] = set()  # of all that changes, and all above

    def note(self, change: Changed) -> None:
        parent, table = change.parent_id or self._root_id, KINDS[change.kind]
        new = self._added.setdefault(parent, {})
        self._concerned.add(parent)
        self._nouns |= {table, *_above(table)}
        if change.action == ADDED:
            new[change.id] = table, dict(change.after or {})
        elif change.action == REMOVED:
            if new.pop(change.id, None) is None:
                self._removed.add(change.id)
        elif change.id in new:
            new[change.id][1].update(change.after or {})
        else:
            self._concerned.add(change.id)
            self._altered.setdefault(change.id, {}).update(change.after or {})

    def played(self, table: Noun, node: N) -> N:
        held: dict[str, Any] = {}
        for noun in table.below:
            if noun in self._nouns:
                before = noun.of(node)
                after = self._children(noun, node.id, before)
                if list(map(id, after)) != list(map(id, before)):
                    held[noun.field] = _held(noun, after)
        if node.id in self._altered:
            body = json_of(own_fields(node) | self._altered[node.id])
            held |= own_fields(read_node(table, body))
        return replace(node, **held) if held else node

    def _children(self, noun: Noun, parent_id: str, before: Sequence[Node]) -> Sequence[Node]:
        children = before
        if parent_id in self._concerned:
            new = self._added.get(parent_id, {}).values()
            come = [read_node(noun, json_of(body)) for one, body in new if one is noun]
            children = [*(x for x in before if x.id not in self._removed), *come]
        # Of one without grandchildren that change, the id says whether there is anything to do.
        is_deep = any(two in self._nouns for one in noun.below for two in one.below)
        played = [
            self.played(noun, x) if is_deep or x.id in self._concerned else x for x in children
        ]
        return arranged(noun, played)


def _above(noun: Noun) -> Iterator[Noun]:
    while noun.above is not None:
        noun = noun.above
        yield noun


def _held(noun: Noun, children: Sequence[Node]) -> Any:
    if noun.alone:
        return children[0] if children else None
    return tuple(children)
