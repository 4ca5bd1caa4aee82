# SPDX-License-Identifier: Apache-2.0
"""Targets of access logs as rows, which listener logs to which, and the counts of what went.

Credentials come and go sealed; who opens them is not known here. That a target in use does not
go, and that nobody uses another project's, is held by the database's own references.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import psycopg.errors

from colonnade.domain.errors import Conflict, Forbidden, NotFound, OverQuota
from colonnade.domain.ids import AmphoraId, ProjectId
from colonnade.domain.limits import LOG_TARGETS_PER_PROJECT_MAX
from colonnade.domain.log_targets import LogTarget, TargetType
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.listing import Source, Wanted
from colonnade.store.trees.wishes import POLICY

_OWN: Final = LogTarget.__struct_fields__


class Shipping(msgspec.Struct, frozen=True, kw_only=True):
    """What all amphorae together say of one listener's lines. `failure`: the latest, or ""."""

    listener_id: str
    loadbalancer_id: str
    sent: int
    dropped: int
    failure: str
    updated_at: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A target and the facts about it."""

    target: LogTarget
    project_id: ProjectId
    sealed: bytes | None  # its credentials
    created_at: datetime
    updated_at: datetime | None
    shipping: Sequence[Shipping] = ()


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
_FACTS: Final = ("project_id", "credentials", "created_at", "updated_at")
_COLUMNS: Final = ", ".join(f"t.{name}" for name in (*_OWN, *_FACTS))
SOURCE: Final = Source(
    columns=f"{_COLUMNS}, {_SHIPPING}",
    place=" FROM log_targets t",
    attributes={
        **{name: f"t.{name}" for name in _OWN},
        "region": "CASE t.type WHEN 'S3' THEN t.region ELSE '' END",
        "project_id": "t.project_id",
        "tenant_id": "t.project_id",
        "created_at": "t.created_at",
        "updated_at": "coalesce(t.updated_at, 'epoch')",
    },
)
_ROUTES: Final = f"""SELECT l.id, lb.id, {", ".join(f"t.{name}" for name in _OWN)}, t.credentials
    FROM amphorae a
    JOIN load_balancers lb ON lb.cluster_id = a.cluster_id AND NOT lb.deleted
    JOIN listeners l ON l.load_balancer_id = lb.id AND NOT l.deleted
    JOIN log_targets t ON t.project_id = lb.project_id AND t.id = CASE
        WHEN coalesce(l.body -> 'access_log', 'null') = 'null' THEN lb.log_target_id
        ELSE l.log_target_id END
    WHERE a.id = %s AND l.id = ANY(%s::uuid[])"""  # noqa: S608 - names of our own


async def find(connection: Connection, wanted: Wanted) -> list[Kept]:
    return [_read(row) for row in await listing.rows(connection, SOURCE, wanted)]


async def get(connection: Connection, target_id: str, *, project: ProjectId | None) -> Kept:
    """Raises NotFound, Forbidden."""
    row = await listing.row(connection, SOURCE, target_id)
    if row is None:
        raise NotFound(f"Log Target {target_id} not found.")
    kept = _read(row)
    if project is not None and kept.project_id != project:
        raise Forbidden(POLICY)
    return kept


async def insert(
    connection: Connection, target: LogTarget, project: ProjectId, sealed: bytes | None
) -> None:
    """Raises OverQuota."""
    # Two that race for the last place must not both find it free.
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"log_targets:{project}"]
    )
    cursor = await connection.execute(
        "SELECT count(*) FROM log_targets WHERE project_id = %s", [project]
    )
    row = await cursor.fetchone()
    if row is not None and row[0] >= LOG_TARGETS_PER_PROJECT_MAX:
        raise OverQuota("Quota exceeded for resources: ['log_target'].")
    values = _columns(target) | {"project_id": project, "credentials": sealed}
    await connection.execute(
        f"INSERT INTO log_targets ({', '.join(values)})"  # noqa: S608 - names of our own
        f" VALUES ({', '.join(f'%({name})s' for name in values)})".encode(),
        values,
    )


async def update(connection: Connection, target: LogTarget, sealed: bytes | None) -> None:
    values = _columns(target) | {"credentials": sealed}
    pairs = ", ".join(f"{name} = %({name})s" for name in values if name != "id")
    await connection.execute(
        f"UPDATE log_targets SET {pairs}, updated_at = now() WHERE id = %(id)s".encode(),  # noqa: S608
        values,
    )


async def delete(connection: Connection, target_id: str) -> None:
    """Raises Conflict while something logs there."""
    try:
        await connection.execute("DELETE FROM log_targets WHERE id = %s", [target_id])
    except psycopg.errors.ForeignKeyViolation as error:
        raise Conflict(f"Log Target {target_id} is in use and cannot be deleted.") from error


async def routes(
    connection: Connection, amphora_id: AmphoraId, listeners: Sequence[str]
) -> dict[str, Route]:
    """By listener: those of these listeners that this amphora serves and that log somewhere."""
    cursor = await connection.execute(_ROUTES.encode(), [amphora_id, list(listeners)])
    return {
        row[0]: Route(
            listener_id=row[0],
            load_balancer_id=row[1],
            target=_target(row[2 : 2 + len(_OWN)]),
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


def _columns(target: LogTarget) -> dict[str, Any]:
    return msgspec.structs.asdict(target) | {"type": target.type.value}


def _read(row: Sequence[Any]) -> Kept:
    facts = row[len(_OWN) :]
    return Kept(
        target=_target(row[: len(_OWN)]),
        project_id=ProjectId(facts[0]),
        sealed=_bytes(facts[1]),
        created_at=facts[2],
        updated_at=facts[3],
        shipping=msgspec.json.decode(facts[4], type=list[Shipping]),
    )


def _target(row: Sequence[Any]) -> LogTarget:
    values = dict(zip(_OWN, row, strict=True))
    return LogTarget(**values | {"type": TargetType(values["type"])})


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
