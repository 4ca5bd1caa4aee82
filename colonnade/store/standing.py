# SPDX-License-Identifier: Apache-2.0
"""How the whole system stands, in a few numbers that an operator is woken for. Writes nothing.

Each statement reads a small table, or counts a large one once. Callers must not ask often.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from colonnade.domain.upgrading import State, StepState
from colonnade.store.catalogue import catalogue
from colonnade.store.fleet import upgrade_rows
from colonnade.store.fleet.daemons import LIVE_S
from colonnade.store.postgres.database import Connection
from colonnade.store.trees import current_statuses


class Amphorae(msgspec.Struct, frozen=True):
    """Of one flavor and state. `silent`: how many were not heard of for longer than they may."""

    flavor: str
    state: str
    number: int
    silent: int


class Work(msgspec.Struct, frozen=True):
    """Keys of one kind. `oldest_s`: since when the first that nobody works on is due."""

    kind: str
    due: int
    leased: int
    later: int
    failing: int
    oldest_s: float


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    amphorae: list[Amphorae]
    work: list[Work]
    spare_targets: dict[str, int]  # by flavor, without the default one
    load_balancers: list[current_statuses.Count]
    daemons: dict[str, int]  # by kind, those that run
    first_certificate_ends: datetime | None  # of the amphorae's
    outdated: dict[tuple[str, str], int]  # amphorae, by flavor and state
    upgrade: Mapping[StepState, int]  # how many steps of the newest are in which state
    upgrade_state: State | None  # of the newest


async def look(connection: Connection, stale_s: float, spare_stale_s: float) -> Standing:
    """The numbers of now. Silent: for longer than these."""
    cursor = await connection.execute(
        """SELECT a.flavor, a.state, count(*), count(*) FILTER (
            WHERE a.state IN ('SPARE', 'CARRYING', 'SERVING')
            AND greatest(h.seen_at, a.state_since) < now() - make_interval(
                secs => CASE WHEN a.state <> 'SERVING' OR a.applied = 0 THEN %s ELSE %s END::float))
        FROM amphorae a LEFT JOIN heartbeats h ON h.amphora_id = a.id
        GROUP BY 1, 2 ORDER BY 1, 2""",
        [spare_stale_s, stale_s],
    )
    amphorae = [Amphorae(*row) for row in await cursor.fetchall()]
    cursor = await connection.execute(
        """SELECT split_part(key, ':', 1), count(*) FILTER (WHERE due AND NOT leased),
            count(*) FILTER (WHERE leased), count(*) FILTER (WHERE NOT due AND NOT leased),
            count(*) FILTER (WHERE attempts > 0),
            coalesce(extract(epoch FROM max(now() - due_at) FILTER (WHERE due AND NOT leased)), 0)
                ::float
        FROM (SELECT key, attempts, due_at, due_at <= now() AS due,
                coalesce(leased_until > now(), false) AS leased FROM work) w
        GROUP BY 1 ORDER BY 1"""
    )
    keys = [Work(*row) for row in await cursor.fetchall()]
    cursor = await connection.execute(
        """SELECT kind, count(*) FROM daemons
        WHERE seen_at > now() - make_interval(secs => %s) GROUP BY 1""",
        [LIVE_S],
    )
    daemons = {row[0]: row[1] for row in await cursor.fetchall()}
    cursor = await connection.execute("SELECT min(cert_expiration) FROM amphorae")
    row = await cursor.fetchone()
    cursor = await connection.execute(
        "SELECT flavor, state, count(*) FROM amphorae WHERE outdated <> '' GROUP BY 1, 2"
    )
    outdated = {(row[0], row[1]): row[2] for row in await cursor.fetchall()}
    newest = next(iter(await upgrade_rows.newest(connection, 1)), None)
    return Standing(
        amphorae=amphorae,
        work=keys,
        spare_targets=await catalogue.spare_targets(connection),
        load_balancers=await current_statuses.of_load_balancers(connection),
        daemons=daemons,
        first_certificate_ends=row[0] if row is not None else None,
        outdated=outdated,
        upgrade=(await upgrade_rows.progress(connection, newest)).counts if newest else {},
        upgrade_state=newest.state if newest else None,
    )
