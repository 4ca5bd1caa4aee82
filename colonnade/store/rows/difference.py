# SPDX-License-Identifier: Apache-2.0
"""What must be written so that the rows of one tree become the rows of another.

Pure. Each node is compared by its own attributes only, so that a change of a member rewrites
one row. A parent whose child changed is not written anew, but touched: it takes part in the
new generation, as clients that wait for a pool or a listener expect.
"""

from collections.abc import Mapping, Set
from typing import Final

import msgspec
from msgspec.structs import replace

from colonnade.domain.listeners import Listener
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
)

_PARENTS: Final[Mapping[str, Table]] = {
    "pool_id": POOLS,
    "listener_id": LISTENERS,
    "l7policy_id": L7POLICIES,
}


class Place(msgspec.Struct, frozen=True):
    """One node below the root, with what its row needs to be found again."""

    table: Table
    id: str
    own: Node  # without children
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
    # Edits share what they do not change, so what is the very same object is settled without a
    # look at it.
    shared = _identities(before) & _identities(after)
    old, new = places(before, shared), places(after, shared)
    added = tuple(place for key, place in new.items() if key not in old)
    removed = tuple(place for key, place in old.items() if key not in new)
    altered = tuple(place for key, place in new.items() if key in old and old[key].own != place.own)
    return Difference(
        root_altered=_root(before) != _root(after),
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
        policies = {policy.id for policy in listener.l7policies}
        if listener.pool_ids & pools or policies & parents[L7POLICIES]:
            parents[LISTENERS].add(listener.id)
    return {table: frozenset(ids) for table, ids in parents.items()}


def _identities(tree: LoadBalancer | None) -> set[int]:
    """Of pools and members, of which there may be many."""
    pools = tree.pools if tree is not None else ()
    return {id(pool) for pool in pools} | {id(m) for pool in pools for m in pool.members}


def _root(tree: LoadBalancer | None) -> LoadBalancer | None:
    return replace(tree, listeners=(), pools=()) if tree is not None else None


def places(tree: LoadBalancer | None, shared: Set[int] = frozenset()) -> dict[str, Place]:
    """All that is below the root, by id, but for the pools and members that are `shared`."""
    if tree is None:
        return {}
    found: dict[str, Place] = {}
    for listener in tree.listeners:
        found.update(_places_of_listener(listener))
    for pool in tree.pools:
        if id(pool) not in shared:
            found.update(_places_of_pool(pool, shared))
    return found


def _places_of_listener(listener: Listener) -> dict[str, Place]:
    own = replace(listener, l7policies=()) if listener.l7policies else listener
    found: dict[str, Place] = {listener.id: Place(LISTENERS, listener.id, own)}
    for policy in listener.l7policies:
        found[policy.id] = Place(L7POLICIES, policy.id, replace(policy, rules=()), listener.id)
        for rule in policy.rules:
            found[rule.id] = Place(L7RULES, rule.id, rule, policy.id)
    return found


def _places_of_pool(pool: Pool, shared: Set[int]) -> dict[str, Place]:
    monitor = pool.health_monitor
    found: dict[str, Place] = {
        pool.id: Place(POOLS, pool.id, replace(pool, members=(), health_monitor=None))
    }
    for member in pool.members:
        if id(member) not in shared:
            found[member.id] = Place(MEMBERS, member.id, member, pool.id, monitor is not None)
    if monitor is not None:
        found[monitor.id] = Place(HEALTH_MONITORS, monitor.id, monitor, pool.id)
    return found
