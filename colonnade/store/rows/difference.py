# SPDX-License-Identifier: Apache-2.0
"""What must be written so that the rows of one tree become the rows of another.

Pure. Each node is compared by its own attributes only, so that a change of a member rewrites
one row. A parent whose child changed is not written anew, but touched: it takes part in the
new generation, as clients that wait for a pool or a listener expect.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Final, TypeVar

import msgspec

from colonnade.domain.listeners import Listener
from colonnade.domain.once import once_each
from colonnade.domain.pools import Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.tables import (
    HEALTH_MONITORS,
    L7POLICIES,
    L7RULES,
    LISTENERS,
    MEMBERS,
    POOLS,
    Node,
    Table,
    own_fields,
)

N = TypeVar("N", bound=Node)

_PARENTS: Final[Mapping[str, Table]] = {
    "pool_id": POOLS,
    "listener_id": LISTENERS,
    "l7policy_id": L7POLICIES,
}


class Place(msgspec.Struct, frozen=True):
    """One node below the root, with what its row needs to be found again."""

    table: Table
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
    touched: Mapping[Table, frozenset[str]] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.root_altered or self.added or self.altered or self.removed)


def difference(before: LoadBalancer | None, after: LoadBalancer | None) -> Difference:
    """The rows to add, alter and remove. None: no tree at all."""
    # Edits share what they do not change, so what is the very same object is settled, with all
    # that is below it, without a look at it.
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
) -> Mapping[Table, frozenset[str]]:
    """Parents of what changed, and the listeners that use a pool which did."""
    parents: dict[Table, set[str]] = {POOLS: set(), L7POLICIES: set(), LISTENERS: set()}
    for place in changed:
        if place.parent_id is not None:
            parents[_PARENTS[place.table.parent]].add(place.parent_id)
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
    return one is None or other is None or own_fields(one) != own_fields(other)


def _shared(before: LoadBalancer | None, after: LoadBalancer | None) -> Set[int]:
    """Identities of what both trees have, found from the top."""
    if before is None or after is None:
        return frozenset()
    shared: set[int] = set()
    fronts = _apart(before.listeners, after.listeners, shared)
    policies = [[policy for listener in side for policy in listener.l7policies] for side in fronts]
    policies = _apart(policies[0], policies[1], shared)
    rules = [[rule for policy in side for rule in policy.rules] for side in policies]
    _apart(rules[0], rules[1], shared)
    pools = _apart(before.pools, after.pools, shared)
    members = [[member for pool in side for member in pool.members] for side in pools]
    _apart(members[0], members[1], shared)
    return shared


def _apart(old: Sequence[N], new: Sequence[N], shared: set[int]) -> list[list[N]]:
    """What only one of the two has; what both have is added to `shared`."""
    both = {id(one) for one in old} & {id(one) for one in new}
    shared |= both
    return [[one for one in side if id(one) not in both] for side in (old, new)]


def places(tree: LoadBalancer | None, shared: Set[int] = frozenset()) -> dict[str, Place]:
    """All that is below the root, by id, but for what is `shared`."""
    if tree is None:
        return {}
    found: dict[str, Place] = {}
    for listener in tree.listeners:
        if id(listener) not in shared:
            found.update((place.id, place) for place in _places_of_listener(listener, shared))
    for pool in tree.pools:
        if id(pool) not in shared:
            found.update((place.id, place) for place in _places_of_pool(pool, shared))
    return found


def _places_of_listener(listener: Listener, shared: Set[int]) -> Iterator[Place]:
    yield Place(LISTENERS, listener.id, listener)
    for policy in listener.l7policies:
        if id(policy) not in shared:
            yield Place(L7POLICIES, policy.id, policy, listener.id)
            for rule in policy.rules:
                if id(rule) not in shared:
                    yield Place(L7RULES, rule.id, rule, policy.id)


def _places_of_pool(pool: Pool, shared: Set[int]) -> Iterator[Place]:
    monitor = pool.health_monitor
    yield Place(POOLS, pool.id, pool)
    for member in pool.members:
        if id(member) not in shared:
            yield Place(MEMBERS, member.id, member, pool.id, monitor is not None)
    if monitor is not None:
        yield Place(HEALTH_MONITORS, monitor.id, monitor, pool.id)
