# SPDX-License-Identifier: Apache-2.0
"""Upgrades as rows: what is to be replaced, how far each is, and how it is with what it serves.

Whoever moves one on holds its row until the transaction ends, so that any number of controllers may
try. At most one is open at a time. When what moves is decided in `domain/upgrading.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg.types.json import Jsonb

from colonnade.domain.errors import Conflict, NotFound
from colonnade.domain.ids import AmphoraId, new_id
from colonnade.domain.status import Operating
from colonnade.domain.upgrading import (
    BEGUN,
    OPEN,
    Move,
    Pace,
    Seen,
    State,
    Step,
    StepState,
    Subject,
    Upgrade,
    illness,
    ordered,
)
from colonnade.runtime.config import Kept
from colonnade.store.fleet.safe_mode import Cause
from colonnade.store.postgres.database import BATCH_ROWS, Connection
from colonnade.store.queue import events, work

NEXT_MAX: Final = 50  # of those that wait, looked at together
SHOWN_MAX: Final = 1000
_UPGRADE: Final = "id, state, is_automatic, undoes, pace, words, created_at, state_since"
_STEP: Final = "number, amphora_id, cluster_id, flavor, why, state, since, before, successor, words"
_RANKS: Final = " ".join(f"WHEN '{status}' THEN {illness(status)}" for status in Operating)
# The one that is worst off, of what a cluster serves.
_WORST: Final = f"""LEFT JOIN LATERAL (
    SELECT CASE b.operating_status {_RANKS} ELSE 0 END AS ill,
        concat_ws(': ', b.operating_status, nullif(b.operating_reason, '')) AS illness
    FROM load_balancers b WHERE b.cluster_id = c.id AND NOT b.deleted
    ORDER BY 1 DESC LIMIT 1) w ON true"""  # noqa: S608 - our own words


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which amphorae that serve are to be replaced: outdated ones, unless it says otherwise."""

    amphorae: Sequence[str] = ()  # these alone, whatever they are
    flavor: str | None = None
    is_all: bool = False  # not only outdated ones
    only_due_s: float | None = None  # outdated for so long, and another in their place is not
    most: int = 20_000


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an upgrade is, beside the steps that a look is about."""

    counts: Mapping[StepState, int]
    moved_at: datetime
    begun_at: datetime | None


async def candidates(connection: Connection, chosen: Chosen) -> list[Subject]:
    """In the order in which they are to be replaced."""
    cursor = await connection.execute(
        f"""SELECT a.id, a.cluster_id, a.flavor, a.outdated, coalesce(w.ill, 0),
            a.outdated_since IS NOT NULL AND a.cert_expiration < now() + interval '2 days'
        FROM amphorae a JOIN clusters c ON c.id = a.cluster_id {_WORST}
        WHERE a.state = 'SERVING' AND NOT c.deleted
          AND (%(ids)s::uuid[] = '{{}}' OR a.id = ANY(%(ids)s::uuid[]))
          AND (%(flavor)s::text IS NULL OR a.flavor = %(flavor)s)
          AND (%(all)s OR a.outdated <> '')
          AND (%(due_s)s::float IS NULL
            OR a.outdated_since < now() - make_interval(secs => %(due_s)s))
        ORDER BY a.outdated_since, a.created_at, a.id LIMIT %(most)s""",  # noqa: S608
        {
            "ids": list(chosen.amphorae),
            "flavor": chosen.flavor,
            "all": chosen.is_all or bool(chosen.amphorae),
            "due_s": chosen.only_due_s,
            "most": chosen.most,
        },
    )
    names = Subject.__struct_fields__
    rows = await cursor.fetchall()
    return ordered(Subject(**dict(zip(names, row, strict=True))) for row in rows)


async def begin(
    connection: Connection,
    subjects: Sequence[Subject],
    pace: Pace,
    *,
    is_automatic: bool = False,
    undoes: str | None = None,
) -> str:
    """The id of a new one. What a controller began by itself makes way for what a person asks;
    raises Conflict for another that is open."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('upgrades'))")
    present = await open_now(connection)
    if present is not None and (is_automatic or not present.is_automatic):
        state = present.state.value.lower()
        raise Conflict(f"Upgrade {present.id} is {state}: resume it, or undo it first.")
    if present is not None:
        await turn(connection, present, State.CANCELLED, "a person began another")
    upgrade_id = new_id()
    await connection.execute(
        """INSERT INTO upgrades (id, state, is_automatic, undoes, pace)
        VALUES (%s, 'RUNNING', %s, %s, %s)""",
        [upgrade_id, is_automatic, undoes, Jsonb(msgspec.structs.asdict(pace))],
    )
    columns = [
        [getattr(one, name) for one in subjects]
        for name in ("amphora_id", "cluster_id", "flavor", "why")
    ]
    await connection.execute(
        """INSERT INTO upgrade_steps
            (upgrade_id, number, amphora_id, cluster_id, flavor, why, state)
        SELECT %s, n.number, n.amphora_id, n.cluster_id, n.flavor, n.why, 'WAITING'
        FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])
            WITH ORDINALITY AS n (amphora_id, cluster_id, flavor, why, number)""",
        [upgrade_id, *columns],
    )
    whose = "a controller" if is_automatic else "a person"
    await _tell(connection, upgrade_id, "begun", f"{whose} began to replace {len(subjects)}")
    await work.mark(connection, f"upgrade:{upgrade_id}")
    return upgrade_id


async def get(connection: Connection, upgrade_id: str) -> Upgrade:
    """Raises NotFound."""
    found = await _select(connection, "id = %s", upgrade_id)
    if not found:
        raise NotFound(f"Upgrade {upgrade_id} not found.")
    return found[0]


async def newest(connection: Connection, most: int) -> list[Upgrade]:
    return await _select(connection, "true ORDER BY created_at DESC, id LIMIT %s", most)


async def open_now(connection: Connection) -> Upgrade | None:
    found = await _select(connection, "state = ANY(%s)", [state.value for state in OPEN])
    return found[0] if found else None


async def failed_lately(connection: Connection, within_s: float) -> bool:
    """Whether one that a controller began was cancelled of late, or stands still."""
    cursor = await connection.execute(
        """SELECT 1 FROM upgrades WHERE is_automatic AND state IN ('STOPPED', 'CANCELLED')
            AND state_since > now() - make_interval(secs => %s) LIMIT 1""",
        [within_s],
    )
    return await cursor.fetchone() is not None


async def locked(connection: Connection, upgrade_id: str) -> Upgrade | None:
    """As it is until the transaction ends."""
    found = await _select(connection, "id = %s FOR UPDATE", upgrade_id)
    return found[0] if found else None


async def turn(connection: Connection, upgrade: Upgrade, state: State, words: str = "") -> None:
    """It is in this state from now on, and people read why."""
    await connection.execute(
        "UPDATE upgrades SET state = %s, words = %s, state_since = now() WHERE id = %s",
        [state, words, upgrade.id],
    )
    message = f"the upgrade is {state.value.lower()}{words and ': '}{words}"
    await _tell(connection, upgrade.id, state.value.lower(), message)
    await work.mark(connection, f"upgrade:{upgrade.id}")


async def say(connection: Connection, upgrade: Upgrade, words: str) -> None:
    """Why it waits, if that is news."""
    if words != upgrade.words:
        await connection.execute(
            "UPDATE upgrades SET words = %s WHERE id = %s", [words, upgrade.id]
        )


async def move(connection: Connection, upgrade: Upgrade, moved: Move) -> None:
    is_begun = moved.state is StepState.REPLACING
    await connection.execute(
        """UPDATE upgrade_steps SET state = %(state)s, since = now(), words = %(words)s,
            successor = coalesce(%(successor)s, successor),
            before = CASE WHEN %(begun)s THEN %(before)s ELSE before END,
            begun_at = CASE WHEN %(begun)s THEN now() ELSE begun_at END
        WHERE upgrade_id = %(id)s AND number = %(number)s""",
        {
            "id": upgrade.id,
            "number": moved.step.number,
            "state": moved.state,
            "words": moved.words,
            "successor": moved.successor,
            "begun": is_begun,
            "before": moved.before,
        },
    )


async def progress(connection: Connection, upgrade: Upgrade) -> Progress:
    cursor = await connection.execute(
        """SELECT state, count(*), max(since) FILTER (WHERE state <> 'WAITING'), max(begun_at)
        FROM upgrade_steps WHERE upgrade_id = %s GROUP BY state""",
        [upgrade.id],
    )
    rows = await cursor.fetchall()
    moved = [upgrade.state_since, *(row[2] for row in rows if row[2] is not None)]
    begun = [row[3] for row in rows if row[3] is not None]
    return Progress(
        counts={StepState(row[0]): row[1] for row in rows},
        moved_at=max(moved),
        begun_at=max(begun, default=None),
    )


async def steps(connection: Connection, upgrade_id: str) -> list[tuple[Step, str | None]]:
    """Each with a load balancer that its cluster serves, while there is one."""
    cursor = await connection.execute(
        f"""SELECT {_STEP}, (SELECT b.id FROM load_balancers b WHERE b.cluster_id = s.cluster_id
            AND NOT b.deleted ORDER BY b.id LIMIT 1)
        FROM upgrade_steps s WHERE upgrade_id = %s ORDER BY number LIMIT %s""",  # noqa: S608
        [upgrade_id, SHOWN_MAX],
    )
    return [(_step(row[:-1]), row[-1]) for row in await cursor.fetchall()]


async def look(connection: Connection, upgrade_id: str) -> list[tuple[Step, Seen]]:
    """Those that are begun, and the next that wait, with how it is with what they serve."""
    cursor = await connection.execute(
        f"""SELECT {", ".join(f"s.{name}" for name in _STEP.split(", "))},
            c.id IS NULL OR c.deleted, coalesce(a.state, ''),
            coalesce(c.applied_lowest >= c.generation AND c.failed_at IS NULL AND (
                SELECT count(*) FILTER (WHERE state = 'SERVING')
                    >= c.size
                    AND count(*) FILTER (WHERE state IN ('LEAVING', 'FAILED')) = 0
                FROM amphorae WHERE cluster_id = c.id), false),
            coalesce(w.ill, 0), coalesce(w.illness, ''),
            CASE WHEN c.failed_at IS NOT NULL THEN coalesce(c.last_error ->> 'message', '') END,
            f.cause, n.id, coalesce(n.outdated, '')
        FROM upgrade_steps s LEFT JOIN clusters c ON c.id = s.cluster_id
        LEFT JOIN amphorae a ON a.id = s.amphora_id AND a.cluster_id = s.cluster_id
        {_WORST}
        LEFT JOIN LATERAL (SELECT cause FROM failovers WHERE cluster_id = s.cluster_id
            AND at >= s.begun_at ORDER BY at LIMIT 1) f ON true
        LEFT JOIN LATERAL (SELECT id, outdated FROM amphorae WHERE cluster_id = s.cluster_id
            AND state = 'SERVING' AND id <> s.amphora_id
            ORDER BY state_since DESC LIMIT 1) n ON true
        WHERE s.upgrade_id = %(id)s AND (s.state = ANY(%(begun)s) OR s.number IN (
            SELECT number FROM upgrade_steps WHERE upgrade_id = %(id)s AND state = 'WAITING'
            ORDER BY number LIMIT %(most)s))
        ORDER BY s.number""",  # noqa: S608 - our own text
        {"id": upgrade_id, "begun": [state.value for state in BEGUN], "most": NEXT_MAX},
    )
    names = len(_STEP.split(", "))
    return [(_step(row[:names]), _seen(row[names:])) for row in await cursor.fetchall()]


async def fresh_spares(connection: Connection, fresh_s: float) -> dict[str, int]:
    """How many spares are ready that are not outdated, by flavor."""
    cursor = await connection.execute(
        """SELECT a.flavor, count(*) FROM amphorae a JOIN heartbeats h ON h.amphora_id = a.id
        WHERE a.state = 'SPARE' AND a.cluster_id IS NULL AND a.outdated = ''
          AND h.seen_at > now() - make_interval(secs => %s) GROUP BY 1""",
        [fresh_s],
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def successors(connection: Connection, upgrade_id: str) -> list[AmphoraId]:
    """Those that came in its course and still serve."""
    cursor = await connection.execute(
        """SELECT a.id FROM upgrade_steps s JOIN amphorae a ON a.id = s.successor
        WHERE s.upgrade_id = %s AND a.state = 'SERVING' ORDER BY s.number""",
        [upgrade_id],
    )
    return [row[0] for row in await cursor.fetchall()]


async def forget_old(connection: Connection, kept: Kept) -> int:
    """One batch of those that ended long ago. How many went."""
    cursor = await connection.execute(
        """DELETE FROM upgrades WHERE id IN (SELECT id FROM upgrades
            WHERE state IN ('DONE', 'CANCELLED')
                AND state_since < now() - make_interval(secs => %s * 86400)
            ORDER BY state_since LIMIT %s FOR UPDATE SKIP LOCKED)""",
        [kept.failovers_days, BATCH_ROWS],
    )
    return cursor.rowcount


async def _tell(connection: Connection, upgrade_id: str, kind: str, message: str) -> None:
    await events.record(
        connection,
        events.Event(
            object_kind="upgrade", object_id=upgrade_id, kind=f"upgrade_{kind}", message=message
        ),
    )


async def _select(connection: Connection, where: str, *values: Any) -> list[Upgrade]:
    cursor = await connection.execute(
        f"SELECT {_UPGRADE} FROM upgrades WHERE {where}".encode(),  # noqa: S608
        values,
    )
    names = Upgrade.__struct_fields__
    rows = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
    return [
        Upgrade(**row | {"state": State(row["state"]), "pace": msgspec.convert(row["pace"], Pace)})
        for row in rows
    ]


def _step(row: Sequence[Any]) -> Step:
    values = dict(zip(_STEP.split(", "), row, strict=True))
    return Step(**values | {"state": StepState(values["state"])})


def _seen(row: Sequence[Any]) -> Seen:
    is_over, state, is_settled, ill, illness, failure, cause, successor, stale = row
    return Seen(
        is_over=is_over,
        serves=state == "SERVING",
        is_there=state in ("SERVING", "LEAVING", "FAILED"),
        is_settled=is_settled,
        ill=ill,
        illness=illness,
        failure=failure or "",
        lost="" if cause is None else _CAUSES.get(cause, cause),
        successor=successor,
        stale=stale,
    )


_CAUSES: Final = {cause.name.lower(): cause.value for cause in Cause}
