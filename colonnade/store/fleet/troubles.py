# SPDX-License-Identifier: Apache-2.0
"""Amphorae that are heard and do not serve as they should: what is wrong, and for how long.

Each cause has a time in which it may pass by itself. A cluster's amphora is not replaced for
trouble twice within a while, for then it is likelier that the trouble is elsewhere. Nothing here
replaces anybody: that is `failovers.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId
from colonnade.domain.texts import storable
from colonnade.runtime.config import Failovers
from colonnade.store.fleet import amphora_rows
from colonnade.store.fleet.safe_mode import TROUBLES, Cause
from colonnade.store.postgres.database import Connection

WORDS_MAX: Final = 200
FRESH_S: Final = 60.0  # a controller that pushes in vain tries more often
AT_ONCE_MAX: Final = 100
_TOLD: Final = {c.name.lower(): c for c in TROUBLES if c is not Cause.APPLIES_NOTHING}
_NAMES: Final = {c.name.lower(): c for c in TROUBLES}


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One that has been in trouble for long enough to be replaced, if it still is."""

    amphora: Amphora
    cause: Cause
    words: str
    wanted: int  # the generation it should serve


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """For people."""

    amphora_id: str
    cause: Cause
    words: str
    since: datetime

    @property
    def reason(self) -> str:
        return f"{self.cause.value}{self.words and ': '}{self.words}"


async def record(
    connection: Connection, amphora_id: AmphoraId, told: Sequence[tuple[str, str]]
) -> None:
    """What it says of itself now: kinds and words. What it no longer says is over; kinds that are
    not known here come from a newer release."""
    known = {kind: storable(words, WORDS_MAX) for kind, words in told if kind in _TOLD}
    await connection.execute(
        "DELETE FROM troubles WHERE amphora_id = %s AND cause = ANY(%s) AND cause <> ALL(%s)",
        [amphora_id, list(_TOLD), list(known)],
    )
    for kind, words in known.items():
        await _upsert(connection, amphora_id, kind, words)


async def applies_nothing(connection: Connection, amphora_id: AmphoraId, words: str) -> None:
    """Record that a controller pushed in vain. It is over when no controller has recorded it
    again."""
    kind = Cause.APPLIES_NOTHING.name.lower()
    await connection.execute(
        """DELETE FROM troubles WHERE amphora_id = %s AND cause = %s
            AND seen_at < now() - make_interval(secs => %s)""",
        [amphora_id, kind, FRESH_S],
    )
    await _upsert(connection, amphora_id, kind, storable(words, WORDS_MAX))


async def due(connection: Connection, limits: Failovers) -> list[Due]:
    """Those that have had their time, the longest in trouble first."""
    graces = {name: getattr(limits, f"{name}_s") for name in _NAMES}
    cursor = await connection.execute(
        """SELECT t.amphora_id, t.cause, t.words, c.generation FROM troubles t
        JOIN amphorae a ON a.id = t.amphora_id JOIN clusters c ON c.id = a.cluster_id
        JOIN unnest(%(names)s::text[], %(graces)s::float[]) AS g (cause, s) ON g.cause = t.cause
        WHERE a.state IN ('SERVING', 'LEAVING') AND a.applied > 0
          AND t.since < now() - make_interval(secs => g.s)
          AND (t.cause <> 'applies_nothing' OR (a.applied < c.generation
            AND a.applied_at < now() - make_interval(secs => g.s)
            AND t.seen_at > now() - make_interval(secs => %(fresh_s)s)))
          AND NOT EXISTS (SELECT FROM failovers f WHERE f.cluster_id = c.id
            AND f.cause = ANY(%(names)s) AND f.at > now() - make_interval(secs => %(again_s)s))
        ORDER BY t.since LIMIT %(most)s""",
        {
            "names": list(graces),
            "graces": list(graces.values()),
            "fresh_s": FRESH_S,
            "again_s": limits.again_s,
            "most": AT_ONCE_MAX,
        },
    )
    rows = await cursor.fetchall()
    amphorae: Mapping[str, Amphora] = {
        amphora.id: amphora
        for amphora in await amphora_rows.those(connection, [AmphoraId(row[0]) for row in rows])
    }
    return [
        Due(amphora=amphorae[row[0]], cause=_NAMES[row[1]], words=row[2], wanted=row[3])
        for row in rows
        if row[0] in amphorae
    ]


async def everyone(connection: Connection, most: int) -> list[Shown]:
    """Of those that serve, the longest in trouble first."""
    cursor = await connection.execute(
        """SELECT t.amphora_id, t.cause, t.words, t.since FROM troubles t
        JOIN amphorae a ON a.id = t.amphora_id
        WHERE a.state IN ('SERVING', 'LEAVING') AND t.cause = ANY(%(names)s)
          AND (t.cause <> 'applies_nothing'
            OR t.seen_at > now() - make_interval(secs => %(fresh_s)s))
        ORDER BY t.since LIMIT %(most)s""",
        {"names": list(_NAMES), "fresh_s": FRESH_S, "most": most},
    )
    return [
        Shown(amphora_id=row[0], cause=_NAMES[row[1]], words=row[2], since=row[3])
        for row in await cursor.fetchall()
    ]


async def _upsert(connection: Connection, amphora_id: AmphoraId, kind: str, words: str) -> None:
    """`since` stays. Nothing is written for an amphora that is gone meanwhile."""
    await connection.execute(
        """INSERT INTO troubles (amphora_id, cause, words)
        SELECT id, %(kind)s, %(words)s FROM amphorae WHERE id = %(id)s
        ON CONFLICT (amphora_id, cause) DO UPDATE SET words = EXCLUDED.words, seen_at = now()""",
        {"id": amphora_id, "kind": kind, "words": words},
    )
