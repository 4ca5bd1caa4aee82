# SPDX-License-Identifier: Apache-2.0
"""How far each cluster is: which generation is served, and why one is not.

Statuses are computed from these few numbers. `highest_settled` only rises; a row of a tree that
was deleted is kept until a settled generation no longer contains it. Knows no tree and no driver.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.types.json import Jsonb

from colonnade.domain import shape
from colonnade.domain.ids import ClusterId, SubnetId
from colonnade.domain.texts import storable
from colonnade.store.postgres.database import Connection


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """As kept in `last_error`; safe to show to users."""

    code: str
    message: str
    at: datetime
    retry_at: datetime | None = None


# Children before parents; a purged listener takes its statistics with it.
PURGED = tuple(noun.name for noun in reversed(shape.BELOW))


async def next_look(connection: Connection) -> int:
    """A number for a look that begins now: higher than those of all that began before."""
    row = await (await connection.execute("SELECT nextval('looks')")).fetchone()
    assert row is not None, "a sequence has no end"
    return int(row[0])


async def settle(connection: Connection, cluster_id: ClusterId, generation: int) -> bool:
    """All that serve the cluster serve this generation, or nothing needs to serve it. Purges what
    was deleted by then; a cluster that was itself deleted is gone afterwards. False: it had
    been settled before."""
    cursor = await connection.execute(
        """WITH before AS (SELECT id, highest_settled FROM clusters WHERE id = %(id)s FOR UPDATE)
        UPDATE clusters SET highest_settled = greatest(clusters.highest_settled, %(generation)s),
            failed_at = CASE WHEN failed_at > %(generation)s THEN failed_at END,
            last_error = CASE WHEN failed_at > %(generation)s THEN last_error END
        FROM before WHERE clusters.id = before.id
        RETURNING deleted AND generation <= %(generation)s,
            before.highest_settled < %(generation)s""",
        {"id": cluster_id, "generation": generation},
    )
    row = await cursor.fetchone()
    if row is None:
        return False
    over, is_news = row
    if over:
        await connection.execute("DELETE FROM load_balancers WHERE cluster_id = %s", [cluster_id])
        await connection.execute("DELETE FROM clusters WHERE id = %s", [cluster_id])
        return True
    await record_lowest(connection, cluster_id, otherwise=generation)
    for table in PURGED:
        await connection.execute(
            f"""DELETE FROM {table} USING load_balancers b
            WHERE {table}.load_balancer_id = b.id AND b.cluster_id = %s
              AND {table}.deleted AND {table}.changed <= %s""",  # noqa: S608 - our own names
            [cluster_id, generation],
        )
    return bool(is_news)


async def unsettled_s(
    connection: Connection, cluster_id: ClusterId, generation: int
) -> float | None:
    """How long ago the oldest wish up to this generation was made that has not been settled yet.
    None when there is none."""
    cursor = await connection.execute(
        """SELECT extract(epoch FROM clock_timestamp() - min(g.at))::float
        FROM clusters c JOIN load_balancers b ON b.cluster_id = c.id
        JOIN generations g ON g.load_balancer_id = b.id
            AND g.generation > c.highest_settled AND g.generation <= %s
        WHERE c.id = %s""",
        [generation, cluster_id],
    )
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else max(0.0, row[0])


async def record_lowest(
    connection: Connection, cluster_id: ClusterId, *, otherwise: int | None = None
) -> None:
    """Compute anew the lowest generation served. `otherwise`: for a cluster without any amphora,
    which is one of a provider that needs none."""
    await connection.execute(
        """UPDATE clusters SET applied_lowest = coalesce(
            (SELECT coalesce(min(applied) FILTER (WHERE state = 'SERVING'), 0)
             FROM amphorae WHERE cluster_id = %(id)s HAVING count(*) > 0), %(otherwise)s, 0)
        WHERE id = %(id)s""",
        {"id": cluster_id, "otherwise": otherwise},
    )


async def record_failure(
    connection: Connection, cluster_id: ClusterId, generation: int, failure: Failure
) -> bool:
    """This generation cannot be served, and why: shown to the owner until it can. False: that was
    known, and only the times are new."""
    failure = msgspec.structs.replace(failure, message=storable(failure.message))
    cursor = await connection.execute(
        """WITH before AS (SELECT id, failed_at, last_error ->> 'message' AS message
            FROM clusters WHERE id = %(id)s FOR UPDATE)
        UPDATE clusters SET failed_at = greatest(clusters.failed_at, %(generation)s),
            last_error = %(error)s
        FROM before WHERE clusters.id = before.id
          AND %(generation)s BETWEEN coalesce(before.failed_at, 0) AND clusters.generation
        RETURNING before.failed_at IS DISTINCT FROM %(generation)s
            OR before.message IS DISTINCT FROM %(message)s""",
        {
            "id": cluster_id,
            "generation": generation,
            "error": Jsonb(failure),
            "message": failure.message,
        },
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def load_balancers_among(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are load balancers, deleted but not yet purged ones too."""
    cursor = await connection.execute(
        "SELECT id FROM load_balancers WHERE id = ANY(%s::uuid[])", [list(ids)]
    )
    return {row[0] for row in await cursor.fetchall()}


async def without_vip_port(connection: Connection, there: Sequence[str]) -> list[ClusterId]:
    """Clusters of load balancers whose VIP's port is ours, and none of these."""
    cursor = await connection.execute(
        """SELECT DISTINCT cluster_id FROM load_balancers b
        WHERE NOT deleted AND body ->> 'provider' <> 'noop'
            AND coalesce((body -> 'vip' ->> 'owned')::boolean, true)
            AND NOT EXISTS (
                SELECT FROM unnest(%s::text[]) port WHERE port = body -> 'vip' ->> 'port_id')""",
        [list(there)],
    )
    return [row[0] for row in await cursor.fetchall()]


async def own_subnets(
    connection: Connection, cluster_ids: Sequence[ClusterId]
) -> set[tuple[ClusterId, SubnetId]]:
    """On which subnets the amphorae of each of these clusters may have ports of their own: those
    that members name, those of the VIPs of a pair, and those where routers lead VIPs to."""
    cursor = await connection.execute(
        """SELECT b.cluster_id, m.body ->> 'subnet_id'
        FROM load_balancers b JOIN members m ON m.load_balancer_id = b.id
        WHERE b.cluster_id = ANY(%(ids)s::uuid[]) AND m.body ->> 'subnet_id' IS NOT NULL
        UNION SELECT b.cluster_id, coalesce(v ->> 'via_subnet_id', v ->> 'subnet_id')
        FROM load_balancers b JOIN clusters c ON c.id = b.cluster_id
        CROSS JOIN jsonb_array_elements(
            coalesce(b.body -> 'additional_vips', '[]') || jsonb_build_array(b.body -> 'vip')) v
        WHERE b.cluster_id = ANY(%(ids)s::uuid[])
          -- One that leaves may be a half where none is wanted any more.
          AND (v ->> 'via_subnet_id' IS NOT NULL OR EXISTS (SELECT FROM amphorae a
            WHERE a.cluster_id = c.id AND a.vrrp_priority IS NOT NULL))""",
        {"ids": list(cluster_ids)},
    )
    return {(ClusterId(row[0]), SubnetId(row[1])) for row in await cursor.fetchall()}
