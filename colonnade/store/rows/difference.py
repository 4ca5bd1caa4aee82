# SPDX-License-Identifier: Apache-2.0
"""What must be written so that the rows of one tree become the rows of another.

Pure. Each node is compared by its own attributes only, so that a change of a member rewrites
one row. A parent whose child changed is not written anew, but touched: it takes part in the
new generation, as clients that wait for a pool or a listener expect.
"""

from collections.abc import Mapping, Sequence, Set

import msgspec

from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.once import once_each
from colonnade.domain.shape import (
    BELOW,
    HEALTH_MONITORS,
    L7POLICIES,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    POOLS,
    Noun,
)
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.tables import own_values


class Place(msgspec.Struct, frozen=True):
    """One node below the root, with what its row needs to be found again."""

    table: Noun
    id: str
    own: Node  # its own attributes are meant; children have places of their own
    parent_id: str | None = None  # the pool, listener or policy that it is below
    monitored: bool = False  # a member of a pool with a health monitor


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    root_altered: bool
    added: tuple[Place, ...] = ()
    altered: tuple[Place, ...] = ()
    removed: tuple[Place, ...] = ()
    former: Mapping[str, Place] = {}  # what was altered, as it was
    touched: Mapping[Noun, frozenset[str]] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.root_altered or self.added or self.altered or self.removed)


def difference(before: LoadBalancer | None, after: LoadBalancer | None) -> Difference:
    """The rows to add, alter and remove. None: no tree at all."""
    # Edits share what they do not change: an object that is identical in both trees needs no
    # comparison, and nothing below it does.
    shared = _shared(before, after)
    old, new = places(before, shared), places(after, shared)
    added = tuple(place for key, place in new.items() if key not in old)
    removed = tuple(place for key, place in old.items() if key not in new)
    altered = tuple(
        place for key, place in new.items() if key in old and _differ(old[key].own, place.own)
    )
    return Difference(
        root_altered=_differ(before, after),
        added=added,
        altered=altered,
        removed=removed,
        former={place.id: old[place.id] for place in altered},
        touched=_touched((*added, *removed, *altered), after),
    )


def _touched(
    changed: tuple[Place, ...], after: LoadBalancer | None
) -> Mapping[Noun, frozenset[str]]:
    """Parents of what changed, and the listeners that use a pool which did."""
    parents: dict[Noun, set[str]] = {table: set() for table in BELOW if table.below}
    for place in changed:
        if place.parent_id is not None:
            parents[_parent(place.table)].add(place.parent_id)
    pools = parents[POOLS] | {place.id for place in changed if place.table is POOLS}
    for listener in after.listeners if after is not None else ():
        if listener.pool_ids & pools or _policy_ids(listener) & parents[L7POLICIES]:
            parents[LISTENERS].add(listener.id)
    return {table: frozenset(ids) for table, ids in parents.items()}


@once_each
def _policy_ids(listener: Listener) -> frozenset[str]:
    return frozenset(policy.id for policy in listener.l7policies)


def _differ(one: Node | None, other: Node | None) -> bool:
    """In their own attributes."""
    if one is other:
        return False
    return one is None or other is None or own_values(one) != own_values(other)


def _parent(table: Noun) -> Noun:
    assert table.above is not None, "what has a parent's id is below something"
    return table.above


def _shared(before: LoadBalancer | None, after: LoadBalancer | None) -> Set[int]:
    """Identities of what both trees have, found from the top."""
    shared: set[int] = set()
    if before is not None and after is not None:
        _share(LOAD_BALANCERS, [before], [after], shared)
    return shared


def _share(table: Noun, old: Sequence[Node], new: Sequence[Node], shared: set[int]) -> None:
    for noun in table.below:
        sides = [[child for node in side for child in noun.of(node)] for side in (old, new)]
        both = set(map(id, sides[0])) & set(map(id, sides[1]))
        shared |= both
        if noun.below:
            apart = [[child for child in side if id(child) not in both] for side in sides]
            _share(noun, apart[0], apart[1], shared)


def places(tree: LoadBalancer | None, shared: Set[int] = frozenset()) -> dict[str, Place]:
    """All that is below the root, by id, but for what is `shared`."""
    found: dict[str, Place] = {}
    if tree is not None:
        _gather(LOAD_BALANCERS, tree, shared, found)
    return found


def _gather(table: Noun, node: Node, shared: Set[int], found: dict[str, Place]) -> None:
    parent_id = node.id if table.above is not None else None
    for noun in table.below:
        is_monitored = noun is MEMBERS and getattr(node, HEALTH_MONITORS.field) is not None
        for child in noun.of(node):
            if id(child) in shared:
                continue
            found[child.id] = Place(noun, child.id, child, parent_id, is_monitored)
            if noun.below:
                _gather(noun, child, shared, found)
