# SPDX-License-Identifier: Apache-2.0
"""Operating statuses into the rows of the trees that an amphora serves.

Only rows that change are written, each with an event. An amphora speaks for the load balancers
of its own cluster and for nothing else, and only while it serves; what it said before something
already known from it changes nothing. The rules are in `domain/operating.py`.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from colonnade.domain.addresses import endpoint
from colonnade.domain.ids import AmphoraId
from colonnade.domain.operating import MEMBER, Facts, Node, State, statuses
from colonnade.domain.pools import HealthMonitor
from colonnade.domain.status import Operating
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import LenientDecoder
from colonnade.store.queue import events

_NODES: Final = """
WITH roots AS (SELECT * FROM load_balancers WHERE cluster_id = %(cluster)s AND NOT deleted)
SELECT 'load_balancer', t.id, t.id, NULL::uuid, t.body, t.changed, t.operating_status,
    t.operating_reason, NULL::text[]
  FROM roots t
UNION ALL
SELECT 'listener', t.id, t.load_balancer_id, (t.body ->> 'default_pool_id')::uuid, t.body,
    t.changed, t.operating_status, t.operating_reason, ARRAY(
        SELECT p.body ->> 'redirect_pool_id' FROM l7policies p WHERE p.listener_id = t.id
            AND NOT p.deleted AND (p.body -> 'admin_state_up')::boolean
        UNION SELECT w ->> 'pool_id' FROM l7policies p
            CROSS JOIN jsonb_array_elements(p.body -> 'redirect_pools') w
            WHERE p.listener_id = t.id AND NOT p.deleted
            AND (p.body -> 'admin_state_up')::boolean)
  FROM listeners t JOIN roots r ON r.id = t.load_balancer_id WHERE NOT t.deleted
UNION ALL
SELECT 'pool', t.id, t.load_balancer_id, NULL, t.body, t.changed, t.operating_status,
    t.operating_reason, NULL
  FROM pools t JOIN roots r ON r.id = t.load_balancer_id WHERE NOT t.deleted
UNION ALL
SELECT 'member', t.id, t.load_balancer_id, t.pool_id, t.body, t.changed, t.operating_status,
    t.operating_reason, NULL
  FROM members t JOIN roots r ON r.id = t.load_balancer_id WHERE NOT t.deleted
UNION ALL
SELECT 'health_monitor', t.id, t.load_balancer_id, t.pool_id, t.body, t.changed,
    t.operating_status, t.operating_reason, NULL
  FROM health_monitors t JOIN roots r ON r.id = t.load_balancer_id WHERE NOT t.deleted
"""
_SELECT: Final = f"""
SELECT kind, id, root, pool, coalesce((body ->> 'admin_state_up')::boolean, true), changed, status,
    reason, policy_pools, body ->> 'name',
    CASE kind WHEN 'member' THEN coalesce(body ->> 'monitor_address', body ->> 'address') END,
    CASE kind WHEN 'member' THEN coalesce(body ->> 'monitor_port', body ->> 'protocol_port') END,
    CASE kind WHEN 'health_monitor' THEN body::text END
FROM ({_NODES}) AS n (kind, id, root, pool, body, changed, status, reason, policy_pools)
"""  # noqa: S608 - our own text
_MONITOR: Final[LenientDecoder[HealthMonitor]] = LenientDecoder(HealthMonitor)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
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
) -> list[Turn]:
    """What changed by what the amphora said. Part of the caller's transaction.

    `sequence`: of the datagram that told it, so that a replayed one is not believed by a receiver
    that never saw the first."""
    cluster_id = await _lock(connection, amphora_id, sequence)
    if cluster_id is None:
        return []
    nodes = await _nodes(connection, cluster_id)
    after = statuses(nodes, facts)
    turns = [
        Turn(
            kind=node.kind,
            id=node.id,
            load_balancer_id=node.load_balancer_id,
            before=State(node.current, node.reason),
            after=after[node.kind, node.id],
        )
        for node in nodes
        if after[node.kind, node.id] != State(node.current, node.reason)
    ]
    if turns:
        await _write(connection, turns, facts.generation)
    return turns


async def _lock(connection: Connection, amphora_id: AmphoraId, sequence: int | None) -> str | None:
    """The cluster that the amphora serves, nobody else writing its statuses meanwhile. The wish
    is not locked: users go on editing."""
    cursor = await connection.execute(
        """SELECT a.cluster_id, pg_advisory_xact_lock(hashtextextended(a.cluster_id::text, 1))
        FROM amphorae a LEFT JOIN heartbeats h ON h.amphora_id = a.id
        WHERE a.id = %(id)s AND a.state = 'SERVING'
          AND (%(sequence)s::bigint IS NULL OR coalesce(h.sequence, 0) <= %(sequence)s)""",
        {"id": amphora_id, "sequence": sequence},
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


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


async def _write(connection: Connection, turns: Sequence[Turn], generation: int) -> None:
    for kind, table in events.NODES.items():
        own = [turn for turn in turns if turn.kind == kind]
        if own:
            await connection.execute(
                f"UPDATE {table} t SET operating_status = n.status,"  # noqa: S608 - our own names
                " operating_reason = n.reason, operating_since = now()"
                " FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS n (id, status, reason)"
                " WHERE t.id = n.id",
                [
                    [turn.id for turn in own],
                    [turn.after.status.value for turn in own],
                    [turn.after.reason for turn in own],
                ],
            )
    turns = [turn for turn in turns if turn.is_told]
    if not turns:
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
            [turn.load_balancer_id for turn in turns],
            [turn.kind for turn in turns],
            [turn.id for turn in turns],
            [_told(turn) for turn in turns],
        ],
    )


def _told(turn: Turn) -> str:
    before, after = turn.before.status.value, turn.after.status.value
    what = after if before == after else f"{before} -> {after}"
    return f"{what}: {turn.after.reason}" if turn.after.reason else what
