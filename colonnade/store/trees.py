# SPDX-License-Identifier: Apache-2.0
"""Wishes: the trees that users asked for, and every change to them.

One change is one transaction: the cluster is locked, the tree loaded and edited, the provider
asked for objections, the difference written, the generation raised by one, the work to do and
the event recorded. On an exception, nothing happened; without a difference, nothing is written.
This module knows no provider: what it must ask of one, it asks of a `Review`.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import msgspec

from colonnade.domain.errors import Conflict, Forbidden, NotFound
from colonnade.domain.fleet import Cluster, Topology
from colonnade.domain.ids import ClusterId, ProjectId
from colonnade.domain.tree import LoadBalancer
from colonnade.store import clusters, events, work
from colonnade.store.database import Connection, Database
from colonnade.store.difference import Difference, Place, difference
from colonnade.store.rows import (
    HEALTH_MONITORS,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    POOLS,
    Table,
    body_of,
    load_trees,
    read_root,
)

POLICY: Final = "Policy does not allow this request to be performed."


class Issue(msgspec.Struct, frozen=True):
    """What a tree lacks to be served. `path` begins with the object's plural and id."""

    path: str
    reason: str


class Review(Protocol):
    """What a provider says of a tree before it is stored."""

    def lacks(self, tree: LoadBalancer) -> Sequence[tuple[str, str]]:
        """(path, reason) of all that the tree lacks. Raises Incompatible for what can never be
        served."""

    def settles_at_once(self, provider: str) -> bool:
        """True when there is nothing to wait for: the wish is the fact."""


class Edit:
    """A tree under change. Assign `tree`; None deletes the whole of it."""

    def __init__(self, tree: LoadBalancer, generation: int) -> None:
        self.before = tree
        self.generation = generation
        self._tree: LoadBalancer | None = tree

    @property
    def tree(self) -> LoadBalancer:
        assert self._tree is not None, "the tree has been deleted"
        return self._tree

    @tree.setter
    def tree(self, tree: LoadBalancer) -> None:
        self._tree = tree

    def delete(self) -> None:
        self._tree = None

    @property
    def after(self) -> LoadBalancer | None:
        return self._tree


async def wanted(connection: Connection, cluster_id: ClusterId) -> Cluster | None:
    """The wish for a cluster, None when there is no such cluster.

    A deleted cluster comes with its load balancers but without their children: who tears it
    down needs to know which VIPs to give back."""
    cursor = await connection.execute(
        "SELECT c.generation, c.topology, c.flavor, c.deleted, lb.body::text"
        " FROM clusters c LEFT JOIN load_balancers lb"
        "   ON lb.cluster_id = c.id AND (c.deleted OR NOT lb.deleted)"
        " WHERE c.id = %s ORDER BY lb.created_at, lb.id",
        [cluster_id],
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    generation, topology, flavor, deleted, _ = rows[0]
    roots = tuple(read_root(row[4]) for row in rows if row[4] is not None)
    # The tree may be newer than the generation read before it, never older: the key is then
    # dirty again, and the next look carries the higher number.
    return Cluster(
        id=cluster_id,
        generation=generation,
        topology=Topology(topology),
        flavor=flavor,
        deleted=deleted,
        load_balancers=roots if deleted else await load_trees(connection, roots),
    )


async def create(database: Database, tree: LoadBalancer, review: Review) -> None:
    """Store a new tree with a cluster of its own. Raises Incompatible."""
    issues = _issues(review, tree)
    async with database.transaction() as connection, connection.pipeline():
        await _insert_root(connection, tree, issues, review.settles_at_once(tree.provider))
        found = difference(None, tree)
        await _write_children(connection, tree, 1, found)
        await _commit_wish(connection, tree, _Wish(1, "created", found), review)


@asynccontextmanager
async def editing(
    database: Database, table: Table, object_id: str, *, project: ProjectId | None, review: Review
) -> AsyncIterator[Edit]:
    """Change the tree that the named object is part of. `project` None may edit any.

    Raises NotFound, Forbidden, and Conflict for a tree that is being deleted."""
    async with database.transaction() as connection:
        edit = await _lock(connection, table, object_id, project)
        yield edit
        await _save(connection, edit, review)


async def _lock(
    connection: Connection, table: Table, object_id: str, project: ProjectId | None
) -> Edit:
    # Both rows are locked: the one that waited must not go on with the older body.
    where = (
        "lb.id = %s"
        if table is LOAD_BALANCERS
        else f"lb.id = (SELECT load_balancer_id FROM {table.name} WHERE id = %s)"  # noqa: S608
    )
    cursor = await connection.execute(
        "SELECT c.generation, lb.id, lb.project_id, lb.deleted, lb.body::text"  # noqa: S608
        " FROM load_balancers lb JOIN clusters c ON c.id = lb.cluster_id"
        f" WHERE {where} FOR UPDATE OF c, lb",
        [object_id],
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"{table.noun} {object_id} not found.")
    generation, root_id, owner, deleted, body = row
    if project is not None and owner != project:
        raise Forbidden(POLICY)
    if deleted and table is LOAD_BALANCERS:
        raise Conflict(f"Invalid state PENDING_DELETE of loadbalancer resource {root_id}")
    if deleted:
        raise Conflict(f"Load Balancer {root_id} is immutable and cannot be updated.")
    (tree,) = await load_trees(connection, [read_root(body)])
    return Edit(tree, generation)


async def _save(connection: Connection, edit: Edit, review: Review) -> None:
    before, after = edit.before, edit.after
    found = difference(before, after)
    if found.is_empty:
        return
    generation = edit.generation + 1
    issues = _issues(review, after) if after is not None else ()
    async with connection.pipeline():
        at_once = review.settles_at_once(before.provider)
        await connection.execute(
            "UPDATE clusters SET generation = %(new)s, deleted = %(deleted)s,"
            " applied_lowest = CASE WHEN %(at_once)s THEN %(new)s ELSE applied_lowest END,"
            " highest_settled = CASE WHEN %(at_once)s THEN %(new)s ELSE highest_settled END"
            " WHERE id = %(id)s",
            {
                "id": before.cluster_id,
                "new": generation,
                "deleted": after is None,
                "at_once": at_once,
            },
        )
        await _update_root(connection, edit, found, issues)
        await _write_children(connection, before, generation, found)
        verb = "updated" if after is not None else "deleted"
        await _commit_wish(connection, before, _Wish(generation, verb, found), review)
    edit.generation = generation


class _Wish(msgspec.Struct, frozen=True):
    generation: int
    verb: str
    found: Difference


async def _commit_wish(
    connection: Connection, tree: LoadBalancer, wish: _Wish, review: Review
) -> None:
    event = events.Event(
        object_kind="load_balancer",
        object_id=tree.id,
        kind=wish.verb,
        message=_told(wish),
        load_balancer_id=tree.id,
        project_id=tree.project_id,
        generation=wish.generation,
    )
    await events.record(connection, event)
    if review.settles_at_once(tree.provider):
        # Its facts are written with the wish; only what is gone is left to be purged.
        if wish.verb == "deleted" or wish.found.removed:
            await clusters.settle(connection, tree.cluster_id, wish.generation)
    else:
        await work.mark(connection, f"cluster:{tree.cluster_id}")


def _told(wish: _Wish) -> str:
    """The change in a few words: "updated: added 2 members, removed 1 member"."""
    words = []
    for verb in ("added", "altered", "removed"):
        places: Sequence[Place] = getattr(wish.found, verb)
        counts = Counter(place.table.noun.lower() for place in places)
        words += [f"{verb} {n} {noun}{'s' if n > 1 else ''}" for noun, n in counts.items()]
    return f"{wish.verb}: {', '.join(words)}" if words else wish.verb


async def _insert_root(
    connection: Connection, tree: LoadBalancer, issues: Sequence[Issue], at_once: bool
) -> None:
    await connection.execute(
        "INSERT INTO clusters (id, provider, generation, applied_lowest, highest_settled)"
        " VALUES (%s, %s, 1, %s, %s)",
        [tree.cluster_id, tree.provider, int(at_once), int(at_once)],
    )
    await connection.execute(
        "INSERT INTO load_balancers (id, cluster_id, project_id, body, issues, created, changed)"
        " VALUES (%s, %s, %s, %s::jsonb, %s::jsonb, 1, 1)",
        [tree.id, tree.cluster_id, tree.project_id, body_of(tree), _json(issues)],
    )


async def _update_root(
    connection: Connection, edit: Edit, found: Difference, issues: Sequence[Issue]
) -> None:
    """The root takes part in each generation: a load balancer is ACTIVE when all of it is."""
    root = edit.after or edit.before
    await connection.execute(
        "UPDATE load_balancers SET changed = %s, deleted = %s, body = %s::jsonb,"
        " issues = %s::jsonb, updated_at = CASE WHEN %s THEN now() ELSE updated_at END"
        " WHERE id = %s",
        [
            edit.generation + 1,
            edit.after is None,
            body_of(root),
            _json(issues),
            found.root_altered,
            root.id,
        ],
    )


async def _write_children(
    connection: Connection, root: LoadBalancer, generation: int, found: Difference
) -> None:
    for table in (LISTENERS, POOLS, MEMBERS, HEALTH_MONITORS):
        added = [place for place in found.added if place.table is table]
        if added:
            await _insert(connection, table, root, generation, added)
        altered = [place for place in found.altered if place.table is table]
        if altered:
            await connection.execute(
                f"UPDATE {table.name} t SET body = u.body::jsonb, changed = %s,"  # noqa: S608
                " updated_at = now()"
                " FROM unnest(%s::uuid[], %s::text[]) AS u (id, body) WHERE t.id = u.id",
                [generation, [p.id for p in altered], [body_of(p.own) for p in altered]],
            )
        removed = [place.id for place in found.removed if place.table is table]
        if removed:
            await connection.execute(
                f"UPDATE {table.name} SET deleted = true, changed = %s"  # noqa: S608
                " WHERE id = ANY(%s::uuid[])",
                [generation, removed],
            )
    for table, touched in ((POOLS, found.touched_pools), (LISTENERS, found.touched_listeners)):
        if touched:
            await connection.execute(
                f"UPDATE {table.name} SET changed = %s WHERE id = ANY(%s::uuid[])",  # noqa: S608
                [generation, sorted(touched)],
            )


async def _insert(
    connection: Connection,
    table: Table,
    root: LoadBalancer,
    generation: int,
    added: Sequence[Place],
) -> None:
    """One statement for any number of rows of one table."""
    pool = "pool_id, ", "u.pool_id, "
    into, take = pool if table.below_pool else ("", "")
    await connection.execute(
        f"INSERT INTO {table.name} (id, {into}load_balancer_id, project_id, body, created,"  # noqa: S608
        " changed, operating_status)"
        f" SELECT u.id, {take}%(root)s, %(project)s, u.body::jsonb, %(generation)s,"
        " %(generation)s, u.status"
        " FROM unnest(%(ids)s::uuid[], %(pools)s::uuid[], %(bodies)s::text[], %(statuses)s::text[])"
        " AS u (id, pool_id, body, status)",
        {
            "root": root.id,
            "project": root.project_id,
            "generation": generation,
            "ids": [place.id for place in added],
            "pools": [place.pool_id for place in added],
            "bodies": [body_of(place.own) for place in added],
            "statuses": [_first_status(place) for place in added],
        },
    )


def _first_status(place: Place) -> str:
    if place.table is MEMBERS and not place.monitored:
        return "NO_MONITOR"
    return "OFFLINE"


def _issues(review: Review, tree: LoadBalancer) -> tuple[Issue, ...]:
    return tuple(Issue(path, reason) for path, reason in review.lacks(tree))


def _json(issues: Sequence[Issue]) -> str:
    return msgspec.json.encode(issues).decode()
