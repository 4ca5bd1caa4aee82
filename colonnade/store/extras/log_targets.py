# SPDX-License-Identifier: Apache-2.0
"""Targets of access logs as rows, which listener logs to which, and the counts of what went.

Credentials are sealed when they come and when they go; this module cannot open them. Foreign keys
of the database keep a target that is in use from being deleted, and a project from using another
project's target.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from colonnade.domain import flat_nouns
from colonnade.domain.ids import AmphoraId
from colonnade.domain.log_targets import LogTarget
from colonnade.store.postgres.database import Connection
from colonnade.store.rows.flat_rows import FlatTable, Stored, value_of

_OWN: Final = LogTarget.__struct_fields__


class Shipping(msgspec.Struct, frozen=True, kw_only=True):
    """What all amphorae together say of one listener's lines. `failure`: the latest, or ""."""

    listener_id: str
    loadbalancer_id: str
    sent: int
    dropped: int
    failure: str
    updated_at: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where one listener's lines go."""

    listener_id: str
    load_balancer_id: str
    target: LogTarget
    sealed: bytes | None


# Of each listener that uses the target, by itself or through its load balancer.
_SHIPPING: Final = """(SELECT coalesce(jsonb_agg(jsonb_build_object(
        'listener_id', l.id, 'loadbalancer_id', l.load_balancer_id,
        'sent', n.sent, 'dropped', n.dropped, 'failure', n.failure,
        'updated_at', to_char(n.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'))
        ORDER BY l.id), '[]')::text
    FROM listeners l JOIN load_balancers lb ON lb.id = l.load_balancer_id,
        LATERAL (SELECT sum(c.sent)::bigint AS sent, sum(c.dropped)::bigint AS dropped,
            coalesce((array_agg(c.failure ORDER BY c.updated_at DESC))[1], '') AS failure,
            max(c.updated_at) AS at FROM log_counts c WHERE c.listener_id = l.id) n
    WHERE n.at IS NOT NULL AND NOT l.deleted
        AND (l.log_target_id = t.id OR (lb.log_target_id = t.id
            AND coalesce(l.body -> 'access_log', 'null') = 'null')))"""
LOG_TARGETS: Final = FlatTable(
    noun=flat_nouns.LOG_TARGETS,
    facts={"credentials": "t.credentials", "shipping": _SHIPPING},
    filters={"region": "CASE t.type WHEN 'S3' THEN t.region ELSE '' END"},
)
_ROUTES: Final = f"""SELECT l.id, lb.id, {", ".join(f"t.{name}" for name in _OWN)}, t.credentials
    FROM amphorae a
    JOIN load_balancers lb ON lb.cluster_id = a.cluster_id AND NOT lb.deleted
    JOIN listeners l ON l.load_balancer_id = lb.id AND NOT l.deleted
    JOIN log_targets t ON t.project_id = lb.project_id AND t.id = CASE
        WHEN coalesce(l.body -> 'access_log', 'null') = 'null' THEN lb.log_target_id
        ELSE l.log_target_id END
    WHERE a.id = %s AND l.id = ANY(%s::uuid[])"""  # noqa: S608 - names of our own


def shipping(stored: Stored[LogTarget]) -> list[Shipping]:
    return msgspec.json.decode(stored.facts["shipping"], type=list[Shipping])


async def routes(
    connection: Connection, amphora_id: AmphoraId, listeners: Sequence[str]
) -> dict[str, Route]:
    """By listener: those of these listeners that this amphora serves and that log somewhere."""
    cursor = await connection.execute(_ROUTES.encode(), [amphora_id, list(listeners)])
    return {
        row[0]: Route(
            listener_id=row[0],
            load_balancer_id=row[1],
            target=value_of(flat_nouns.LOG_TARGETS, row[2:-1]),
            sealed=_bytes(row[-1]),
        )
        for row in await cursor.fetchall()
    }


async def count(
    connection: Connection, amphora_id: AmphoraId, counts: Sequence[Mapping[str, Any]]
) -> None:
    """Write what an amphora says of listeners that it serves; of others it may say nothing."""
    await connection.execute(
        """INSERT INTO log_counts (listener_id, amphora_id, sent, dropped, failure)
        SELECT l.id, a.id, c.sent, c.dropped, c.failure
        FROM jsonb_to_recordset(%(counts)s::jsonb)
                AS c(listener uuid, sent bigint, dropped bigint, failure text)
            JOIN listeners l ON l.id = c.listener
            JOIN load_balancers lb ON lb.id = l.load_balancer_id
            JOIN amphorae a ON a.id = %(amphora)s AND a.cluster_id = lb.cluster_id
        ORDER BY l.id
        ON CONFLICT (listener_id, amphora_id) DO UPDATE SET sent = EXCLUDED.sent,
            dropped = EXCLUDED.dropped, failure = EXCLUDED.failure, updated_at = now()""",
        {"counts": msgspec.json.encode(counts).decode(), "amphora": amphora_id},
    )


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
