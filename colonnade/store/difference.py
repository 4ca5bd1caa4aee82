# SPDX-License-Identifier: Apache-2.0
"""What must be written so that the rows of one tree become the rows of another.

Pure. Each node is compared by its own attributes only, so that a change of a member rewrites
one row. A parent whose child changed is not written anew, but touched: it takes part in the
new generation, as clients that wait for a pool or a listener expect.
"""

import msgspec
from msgspec.structs import replace

from colonnade.domain.pools import Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows import HEALTH_MONITORS, LISTENERS, MEMBERS, POOLS, Node, Table


class Place(msgspec.Struct, frozen=True):
    """One node below the root, with what its row needs to be found again."""

    table: Table
    id: str
    own: Node  # without children
    pool_id: str | None = None
    monitored: bool = False  # a member of a pool with a health monitor


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    root_altered: bool
    added: tuple[Place, ...] = ()
    altered: tuple[Place, ...] = ()
    removed: tuple[Place, ...] = ()
    touched_pools: frozenset[str] = frozenset()
    touched_listeners: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not (self.root_altered or self.added or self.altered or self.removed)


def difference(before: LoadBalancer | None, after: LoadBalancer | None) -> Difference:
    """The rows to add, alter and remove. None: no tree at all."""
    # Edits share what they do not change, so a pool that is the very same object is settled
    # without a look at its members.
    shared = _pool_identities(before) & _pool_identities(after)
    old, new = _places(before, shared), _places(after, shared)
    added = tuple(place for key, place in new.items() if key not in old)
    removed = tuple(place for key, place in old.items() if key not in new)
    altered = tuple(place for key, place in new.items() if key in old and old[key].own != place.own)
    changed = [*added, *removed, *altered]
    pools = frozenset(place.pool_id for place in changed if place.pool_id is not None)
    with_pools = pools | {place.id for place in altered if place.table is POOLS}
    listeners = after.listeners if after is not None else ()
    return Difference(
        root_altered=_root(before) != _root(after),
        added=added,
        altered=altered,
        removed=removed,
        touched_pools=pools,
        touched_listeners=frozenset(x.id for x in listeners if x.default_pool_id in with_pools),
    )


def _pool_identities(tree: LoadBalancer | None) -> set[int]:
    return {id(pool) for pool in tree.pools} if tree is not None else set()


def _root(tree: LoadBalancer | None) -> LoadBalancer | None:
    return replace(tree, listeners=(), pools=()) if tree is not None else None


def _places(tree: LoadBalancer | None, shared: set[int]) -> dict[str, Place]:
    if tree is None:
        return {}
    found: dict[str, Place] = {x.id: Place(LISTENERS, x.id, x) for x in tree.listeners}
    for pool in tree.pools:
        if id(pool) not in shared:
            found.update(_places_of_pool(pool))
    return found


def _places_of_pool(pool: Pool) -> dict[str, Place]:
    monitor = pool.health_monitor
    found: dict[str, Place] = {
        pool.id: Place(POOLS, pool.id, replace(pool, members=(), health_monitor=None))
    }
    for member in pool.members:
        found[member.id] = Place(MEMBERS, member.id, member, pool.id, monitor is not None)
    if monitor is not None:
        found[monitor.id] = Place(HEALTH_MONITORS, monitor.id, monitor, pool.id)
    return found
