# SPDX-License-Identifier: Apache-2.0
"""Operating statuses into the rows of the trees that an amphora serves.

Only rows that change are written, each with an event. An amphora reports on the load balancers of
its own cluster only, and only while it has their VIPs: an amphora that leaves reports until it is
gone, and only then the one in its place; of a pair, the half that holds them; of several that all
serve, each that has done so for a while. A report that is older than one already known from the
amphora changes nothing. The rules are in `domain/operating.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from colonnade.domain.addresses import endpoint
from colonnade.domain.ids import AmphoraId, ClusterId
from colonnade.domain.operating import (
    MEMBER,
    Facts,
    Node,
    State,
    lacking,
    statuses,
    still_lacking,
)
from colonnade.domain.pools import HealthMonitor
from colonnade.domain.shape import LISTENERS, LOAD_BALANCERS, NOUNS, POOLS, Noun
from colonnade.domain.status import Operating
from colonnade.store.fleet import pairs
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import LenientDecoder
from colonnade.store.queue import events

# The pools that the L7 policies of a listener send to.
_POLICY_POOLS: Final = """ARRAY(
    SELECT p.body ->> 'redirect_pool_id' FROM l7policies p WHERE p.listener_id = t.id
        AND NOT p.deleted AND (p.body -> 'admin_state_up')::boolean
    UNION SELECT w ->> 'pool_id' FROM l7policies p
        CROSS JOIN jsonb_array_elements(p.body -> 'redirect_pools') w
        WHERE p.listener_id = t.id AND NOT p.deleted
        AND (p.body -> 'admin_state_up')::boolean)"""


def _select(noun: Noun) -> str:
    """What there is of a noun that is reported on; its pool is the one that it is in, or uses."""
    is_root, pool = noun is LOAD_BALANCERS, "NULL::uuid"
    if noun is LISTENERS:
        pool = "(t.body ->> 'default_pool_id')::uuid"
    elif noun.above is POOLS:
        pool = f"t.{noun.parent}"
    rows = f"{noun.name} t JOIN roots r ON r.id = t.load_balancer_id WHERE NOT t.deleted"
    return (
        f"SELECT '{noun.one}', t.id, {'t.id' if is_root else 't.load_balancer_id'}, {pool}, t.body,"  # noqa: S608
        " t.changed, t.operating_status, t.operating_reason,"
        f" {_POLICY_POOLS if noun is LISTENERS else 'NULL::text[]'}"
        f" FROM {'roots t' if is_root else rows}"
    )


_SELECT: Final = f"""
WITH roots AS (SELECT * FROM load_balancers WHERE cluster_id = %(cluster)s AND NOT deleted)
SELECT kind, id, root, pool, coalesce((body ->> 'admin_state_up')::boolean, true), changed, status,
    reason, policy_pools, body ->> 'name',
    CASE kind WHEN 'member' THEN coalesce(body ->> 'monitor_address', body ->> 'address') END,
    CASE kind WHEN 'member' THEN coalesce(body ->> 'monitor_port', body ->> 'protocol_port') END,
    CASE kind WHEN 'health_monitor' THEN body::text END
FROM ({" UNION ALL ".join(_select(noun) for noun in NOUNS if noun.reported)})
    AS n (kind, id, root, pool, body, changed, status, reason, policy_pools)
"""  # noqa: S608 - our own text
# Of several that serve at once, one that has just begun does not know yet which members are down.
NEW_S: Final = 10
_LOCK: Final = f"""
SELECT a.cluster_id, a.state = 'LEAVING',
    pg_advisory_xact_lock(hashtextextended(a.cluster_id::text, 1))
FROM amphorae a LEFT JOIN heartbeats h ON h.amphora_id = a.id
WHERE a.id = %(id)s AND a.state IN ('SERVING', 'LEAVING')
    AND (%(sequence)s::bigint IS NULL OR coalesce(h.sequence, 0) <= %(sequence)s)
    AND CASE WHEN a.vrrp_priority IS NOT NULL THEN NOT {pairs.OTHER_HOLDS}
        ELSE a.state = 'LEAVING' OR NOT EXISTS (
            SELECT FROM amphorae o WHERE o.cluster_id = a.cluster_id AND o.id <> a.id
                AND o.applied > 0 AND CASE o.state
                    WHEN 'LEAVING' THEN o.state_since <= a.state_since
                    WHEN 'SERVING' THEN (o.state_since, o.id) < (a.state_since, a.id)
                        AND a.state_since > now() - interval '{NEW_S} s' ELSE false END) END
"""  # noqa: S608 - our own text
_MONITOR: Final[LenientDecoder[HealthMonitor]] = LenientDecoder(HealthMonitor)


class StatusChange(msgspec.Struct, frozen=True, kw_only=True):
    """One object whose status is no longer what it was."""

    kind: str
    id: str
    load_balancer_id: str
    before: State
    after: State

    @property
    def is_told(self) -> bool:
        """Whether people read of it: each change of a status, and why a member is down, which is
        known a moment later. A reason that changes afterwards shows on the object."""
        learnt = self.kind == MEMBER and not self.before.reason and bool(self.after.reason)
        return self.before.status is not self.after.status or learnt


async def record(
    connection: Connection, amphora_id: AmphoraId, facts: Facts, *, sequence: int | None = None
) -> list[StatusChange] | None:
    """What changed by what the amphora said. Part of the caller's transaction. None: it is not
    its turn to speak.

    `sequence`: of the datagram that told it, so that a replayed one is not believed by a receiver
    that never saw the first."""
    speaker = await _lock(connection, amphora_id, sequence)
    if speaker is None:
        return None
    cluster_id, leaves = speaker
    nodes = await _nodes(connection, cluster_id)
    told = statuses(nodes, facts)
    changes = _changes(nodes, still_lacking(nodes, told) if leaves else told)
    if changes:
        await _write(connection, changes, facts.generation)
    return changes


async def record_lack(connection: Connection, cluster_id: ClusterId, *, is_served: bool) -> None:
    """There is nothing ready that could serve the cluster. `is_served`: by one that is to be
    replaced. Says so of what was served before; the next that serves it says how all is."""
    cursor = await connection.execute(
        """SELECT pg_advisory_xact_lock(hashtextextended(id::text, 1)) FROM clusters
        WHERE id = %s AND highest_settled > 0 AND NOT deleted""",
        [cluster_id],
    )
    if await cursor.fetchone() is None:
        return
    nodes = await _nodes(connection, cluster_id)
    changes = _changes(nodes, lacking(nodes, is_served=is_served))
    if changes:
        await _write(connection, changes, None)


def _changes(nodes: Sequence[Node], after: Mapping[tuple[str, str], State]) -> list[StatusChange]:
    return [
        StatusChange(
            kind=node.kind,
            id=node.id,
            load_balancer_id=node.load_balancer_id,
            before=State(node.current, node.reason),
            after=after[node.kind, node.id],
        )
        for node in nodes
        if after[node.kind, node.id] != State(node.current, node.reason)
    ]


async def _lock(
    connection: Connection, amphora_id: AmphoraId, sequence: int | None
) -> tuple[str, bool] | None:
    """The cluster that the amphora speaks for, and whether it leaves; nobody else writes statuses
    of it meanwhile. The wish is not locked: users go on editing."""
    cursor = await connection.execute(_LOCK.encode(), {"id": amphora_id, "sequence": sequence})
    row = await cursor.fetchone()
    return None if row is None else (str(row[0]), bool(row[1]))


async def _nodes(connection: Connection, cluster_id: str) -> list[Node]:
    cursor = await connection.execute(_SELECT.encode(), {"cluster": cluster_id})
    return [
        Node(
            kind=row[0],
            id=row[1],
            load_balancer_id=row[2],
            pool_id=row[3],
            is_up=row[4],
            changed=row[5],
            current=Operating(row[6]),
            reason=row[7],
            policy_pools=frozenset(filter(None, row[8] or ())),
            name=row[9] or "",
            place=endpoint(row[10], row[11]) if row[10] is not None else "",
            monitor=_MONITOR.decode(row[12]) if row[12] is not None else None,
        )
        for row in await cursor.fetchall()
    ]


async def _write(
    connection: Connection, changes: Sequence[StatusChange], generation: int | None
) -> None:
    for kind, table in events.NODES.items():
        own = [change for change in changes if change.kind == kind]
        if own:
            await connection.execute(
                f"UPDATE {table} t SET operating_status = n.status,"  # noqa: S608 - our own names
                " operating_reason = n.reason, operating_since = now()"
                " FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS n (id, status, reason)"
                " WHERE t.id = n.id",
                [
                    [change.id for change in own],
                    [change.after.status.value for change in own],
                    [change.after.reason for change in own],
                ],
            )
    changes = [change for change in changes if change.is_told]
    if not changes:
        return
    await connection.execute(
        """WITH written AS (
            INSERT INTO events (project_id, load_balancer_id, object_kind, object_id, kind,
                message, generation)
            SELECT lb.project_id, lb.id, n.kind, n.id, 'operating_status', n.message, %s
            FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[])
                AS n (load_balancer_id, kind, id, message)
            JOIN load_balancers lb ON lb.id = n.load_balancer_id
            RETURNING id)
        SELECT pg_notify('events', id::text) FROM written""",
        [
            generation,
            [change.load_balancer_id for change in changes],
            [change.kind for change in changes],
            [change.id for change in changes],
            [_told(change) for change in changes],
        ],
    )


def _told(change: StatusChange) -> str:
    before, after = change.before.status.value, change.after.status.value
    what = after if before == after else f"{before} -> {after}"
    return f"{what}: {change.after.reason}" if change.after.reason else what
