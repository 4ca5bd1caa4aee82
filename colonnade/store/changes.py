# SPDX-License-Identifier: Apache-2.0
"""The statements that write one change of a tree into its rows.

Any number of rows of one table is one statement, with the rows as one JSON text, for a list of
parameters would be adapted value by value. Nothing is read and nothing decided here; all is part
of the caller's transaction, in which nobody waits for a statement before the next.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from colonnade.domain.tree import LoadBalancer
from colonnade.store import clusters, events, work
from colonnade.store.database import Connection
from colonnade.store.difference import Difference, Place
from colonnade.store.rows import (
    HEALTH_MONITORS,
    LISTENERS,
    MEMBERS,
    POOLS,
    Table,
    body_of,
    json_of,
    own_fields,
)


class Change(msgspec.Struct, frozen=True):
    generation: int
    verb: str
    found: Difference
    at_once: bool  # its facts are written with the wish


async def record(connection: Connection, tree: LoadBalancer, change: Change) -> None:
    event = events.Event(
        object_kind="load_balancer",
        object_id=tree.id,
        kind=change.verb,
        message=_told(change),
        load_balancer_id=tree.id,
        project_id=tree.project_id,
        generation=change.generation,
    )
    await events.record(connection, event)
    if not change.at_once:
        await work.mark(connection, f"cluster:{tree.cluster_id}")
    elif change.verb == "deleted":
        await clusters.settle(connection, tree.cluster_id, change.generation)


def _told(change: Change) -> str:
    """The change in a few words: "updated: added 2 members, removed 1 member"."""
    words = []
    for verb in ("added", "altered", "removed"):
        places: Sequence[Place] = getattr(change.found, verb)
        counts = Counter(place.table.noun.lower() for place in places)
        words += [f"{verb} {n} {noun}{'s' if n > 1 else ''}" for noun, n in counts.items()]
    return f"{change.verb}: {', '.join(words)}" if words else change.verb


async def insert_root(
    connection: Connection, tree: LoadBalancer, issues: Sequence[Any], at_once: bool
) -> Any:
    return await connection.execute(
        """WITH cluster AS (
            INSERT INTO clusters (id, provider, generation, applied_lowest, highest_settled)
            VALUES (%(cluster)s, %(provider)s, 1, %(settled)s, %(settled)s))
        INSERT INTO load_balancers (id, cluster_id, project_id, body, issues, created, changed)
        VALUES (%(id)s, %(cluster)s, %(project)s, %(body)s, %(issues)s, 1, 1)
        RETURNING created_at""",
        {
            "id": tree.id,
            "cluster": tree.cluster_id,
            "project": tree.project_id,
            "provider": tree.provider,
            "settled": int(at_once),
            "body": body_of(tree),
            "issues": json_of(issues),
        },
    )


async def update_root(
    connection: Connection, root: LoadBalancer, change: Change, issues: Sequence[Any]
) -> None:
    """The root takes part in each generation: a load balancer is ACTIVE when all of it is."""
    await connection.execute(
        """WITH cluster AS (
            UPDATE clusters SET generation = %(new)s, deleted = %(deleted)s,
                applied_lowest = CASE WHEN %(at_once)s THEN %(new)s ELSE applied_lowest END,
                highest_settled = CASE WHEN %(at_once)s THEN %(new)s ELSE highest_settled END
            WHERE id = %(cluster)s)
        UPDATE load_balancers SET changed = %(new)s, deleted = %(deleted)s, issues = %(issues)s,
            body = coalesce(%(body)s, body),
            updated_at = CASE WHEN %(altered)s THEN now() ELSE updated_at END
        WHERE id = %(id)s""",
        {
            "id": root.id,
            "cluster": root.cluster_id,
            "new": change.generation,
            "deleted": change.verb == "deleted",
            "at_once": change.at_once,
            "altered": change.found.root_altered,
            "body": body_of(root) if change.found.root_altered else None,
            "issues": json_of(issues),
        },
    )


async def write_children(connection: Connection, root: LoadBalancer, change: Change) -> None:
    found, generation = change.found, change.generation
    for table in (LISTENERS, POOLS, MEMBERS, HEALTH_MONITORS):
        added = [place for place in found.added if place.table is table]
        if added:
            await _insert(connection, table, root, generation, added)
        altered = [place for place in found.altered if place.table is table]
        if altered:
            await connection.execute(
                f"UPDATE {table.name} t SET body = u.body, changed = %s,"  # noqa: S608
                " updated_at = now()"
                " FROM jsonb_to_recordset(%s) AS u (id uuid, body jsonb) WHERE t.id = u.id",
                [generation, json_of([_Row(id=p.id, body=own_fields(p.own)) for p in altered])],
            )
        removed = [place.id for place in found.removed if place.table is table]
        if removed and change.at_once:
            await connection.execute(
                f"DELETE FROM {table.name} WHERE id = ANY(%s::uuid[])",  # noqa: S608
                [_array(removed)],
            )
        elif removed:
            await _touch(connection, table, removed, "deleted = true, changed = %s", generation)
    for table, touched in ((POOLS, found.touched_pools), (LISTENERS, found.touched_listeners)):
        if touched:
            await _touch(connection, table, sorted(touched), "changed = %s", generation)
    await _follow_monitors(connection, found)


async def _touch(
    connection: Connection, table: Table, ids: Sequence[str], change: str, generation: int
) -> None:
    await connection.execute(
        f"UPDATE {table.name} SET {change} WHERE id = ANY(%s::uuid[])",  # noqa: S608 - our own text
        [generation, _array(ids)],
    )


async def _follow_monitors(connection: Connection, found: Difference) -> None:
    """Members of a pool are OFFLINE from the moment that it has a monitor until that speaks, and
    have no monitor from the moment that it has none."""
    for places, status in ((found.removed, "NO_MONITOR"), (found.added, "OFFLINE")):
        pools = [p.pool_id for p in places if p.table is HEALTH_MONITORS and p.pool_id is not None]
        if pools:
            await connection.execute(
                "UPDATE members SET operating_status = %s"
                " WHERE pool_id = ANY(%s::uuid[]) AND NOT deleted"
                " AND (operating_status = 'NO_MONITOR') = (%s = 'OFFLINE')",
                [status, _array(pools), status],
            )


class _Row(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    body: Any
    pool_id: str | None = None
    status: str | None = None


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
    rows = [_Row(p.id, own_fields(p.own), p.pool_id, first_status(p)) for p in added]
    await connection.execute(
        f"INSERT INTO {table.name} (id, {into}load_balancer_id, project_id, body, created,"  # noqa: S608
        " changed, operating_status)"
        f" SELECT u.id, {take}%(root)s, %(project)s, u.body, %(generation)s, %(generation)s,"
        " u.status"
        " FROM jsonb_to_recordset(%(rows)s) AS u (id uuid, pool_id uuid, body jsonb, status text)",
        {
            "root": root.id,
            "project": root.project_id,
            "generation": generation,
            "rows": json_of(rows),
        },
    )


def _array(ids: Sequence[str]) -> str:
    """Ids as PostgreSQL writes an array; a list would be adapted one by one."""
    return "{" + ",".join(ids) + "}"


def first_status(place: Place) -> str:
    if place.table is MEMBERS and not place.monitored:
        return "NO_MONITOR"
    return "OFFLINE"
