# SPDX-License-Identifier: Apache-2.0
"""The one door to FAILED for amphorae that are in use, and the facts that `safe_mode.py` judges by.

Any number of receivers and controllers use it. A caller holds the one row of safe mode until its
transaction ends, so all callers agree on the state, and the rates hold for all of them together. An
amphora that is held back stays as it is, and is looked at again.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from prometheus_client import Counter

from colonnade.domain import lifecycle
from colonnade.domain.catalogue import FlavorFacts
from colonnade.domain.errors import Contended
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId
from colonnade.runtime.config import Failovers, Heartbeats, Kept
from colonnade.store.fleet import amphora_rows, safe_mode, safe_mode_rows, seats
from colonnade.store.fleet.safe_mode import (
    MINUTE_S,
    TROUBLES,
    Cause,
    Facts,
    Replaced,
    Suspect,
    Watched,
    Windows,
)
from colonnade.store.fleet.safe_mode_rows import Mode
from colonnade.store.postgres.database import BATCH_ROWS, Connection
from colonnade.store.postgres.lenient import LenientDecoder

log = structlog.get_logger()

FAILOVERS: Final = Counter(
    "colonnade_failovers", "Amphorae that were replaced by themselves, by cause", ["cause"]
)
# Who has not been heard since somebody listens again may only have been slow to learn of it.
_UNHEARD: Final = 3
_IN_USE: Final = (
    *(lifecycle.State.SPARE, lifecycle.State.CARRYING),
    *(lifecycle.State.SERVING, lifecycle.State.LEAVING),
)
_FLAVOR_FACTS: Final[LenientDecoder[FlavorFacts]] = LenientDecoder(FlavorFacts)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is configured about silence and failovers."""

    heartbeats: Heartbeats = Heartbeats()
    failovers: Failovers = Failovers()

    @property
    def windows(self) -> Windows:
        """The windows for a caller that listens to no heartbeats."""
        beats = self.heartbeats
        return Windows(
            stale_s=beats.stale_s,
            spare_stale_s=beats.spare_stale_s,
            boot_s=beats.boot_s,
            beat_s=beats.interval_s,
            spare_beat_s=beats.spare_interval_s,
        )


# `silent_s`: of one that was never heard, since it is what it is now. What is allowed, and for how
# long somebody has been listening, depends on how many receivers it speaks to in turn.
_WATCHED: Final = """
    SELECT id, cluster_id, host, carrier_id, serving, silent_s, heard_s, allowed_s, beat_s,
        watched_s
    FROM (SELECT a.id, a.cluster_id, a.host, a.flavor, a.carrier_id,
            a.state IN ('SERVING', 'LEAVING') AND a.applied > 0 AS serving,
            least(coalesce(h.receivers, 0), %(receivers_max)s::int) AS receivers,
            extract(epoch FROM now() - greatest(h.seen_at, a.state_since))::float AS silent_s,
            extract(epoch FROM now() - h.seen_at)::float AS heard_s
        FROM amphorae a LEFT JOIN heartbeats h ON h.amphora_id = a.id
        WHERE a.state IN ('SPARE', 'CARRYING', 'SERVING', 'LEAVING')) s
    JOIN unnest(%(receivers)s::int[], %(stretches)s::float[], %(covered)s::float[],
        %(lates)s::float[]) AS v (receivers, stretch, covered_s, late_s) USING (receivers)
    LEFT JOIN unnest(%(flavors)s::text[], %(stales)s::float[]) AS f (flavor, stale_s)
        USING (flavor)
    CROSS JOIN LATERAL (SELECT
        v.late_s + v.stretch * CASE WHEN serving THEN coalesce(f.stale_s, %(stale_s)s::float)
             ELSE %(spare_stale_s)s::float END,
        v.stretch * CASE WHEN serving THEN %(beat_s)s::float ELSE %(spare_beat_s)s::float END,
        least(v.covered_s, %(watched_s)s::float))
        AS c (allowed_s, beat_s, watched_s)"""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of those that were to be replaced."""

    failed: Sequence[tuple[Amphora, Cause]] = ()
    held: int = 0
    is_on: bool = False  # safe mode, from now on
    is_deaf: bool = False  # nobody at all is heard
    turned: str = ""  # the sentence, when it just began or ended


async def mark_silent(
    connection: Connection, windows: Windows, limits: Failovers | None = None
) -> Judgement:
    """Silent amphorae become FAILED, as far as safe mode and the rates allow.

    Whoever was lent a moment ago, and has not answered for a generation, still keeps the slow
    pace of a spare."""
    limits = limits or Failovers()
    words = await _words(connection, windows)
    found = Judgement()
    if (
        await _silent(connection, words)
        or (await safe_mode_rows.read(connection)).since is not None
    ):
        before = await safe_mode_rows.locked(connection)
        # The holder of the lock before may have replaced them, or they were heard meanwhile.
        suspects = await _silent(connection, words)
        found = await _judged(connection, before, suspects, words, limits)
    # No cluster loses anything with a spare, but a deaf receiver does not hear spares either.
    if found.is_deaf:
        return found
    unsaid = windows.coverage[0]  # of those that never spoke
    boot_s = unsaid.late_s + unsaid.stretch * windows.boot_s
    if boot_s > unsaid.watched_s:
        return found
    births = await amphora_rows.silent_births(connection, boot_s)
    gone = [(a, Cause.UNBORN) for a in births if await _advance(connection, a, Cause.UNBORN)]
    return msgspec.structs.replace(found, failed=[*found.failed, *gone])


async def fail(
    connection: Connection, lost: Mapping[AmphoraId, tuple[Cause, str]], rules: Rules
) -> Judgement:
    """As `mark_silent`, for amphorae that were lost by another cause than silence. `lost`: the
    cause of each, and a sentence about it."""
    if not lost:
        return Judgement()
    words = await _words(connection, rules.windows)
    before = await safe_mode_rows.locked(connection)
    cursor = await connection.execute(
        f"""SELECT id, cluster_id, host, carrier_id, serving, silent_s,
            silent_s > allowed_s - beat_s
        FROM ({_WATCHED}) w WHERE id = ANY(%(ids)s::uuid[])""",  # noqa: S608 - our own text
        words | {"ids": list(lost)},
    )
    suspects = [
        Suspect(
            amphora_id=amphora_id,
            cluster_id=cluster_id,
            host=host,
            machine=carrier_id or "",
            serving=serving,
            silent_s=silent_s,
            cause=lost[amphora_id][0],
            words=lost[amphora_id][1],
            certain=is_late and lost[amphora_id][0] is Cause.NOT_RUNNING,
        )
        for amphora_id, cluster_id, host, carrier_id, serving, silent_s, is_late in (
            await cursor.fetchall()
        )
    ]
    if not suspects:
        return Judgement()
    return await _judged(connection, before, suspects, words, rules.failovers)


def tell(found: Judgement) -> None:
    """To the log and to metrics, once it is written."""
    for amphora, cause in found.failed:
        FAILOVERS.labels(cause=cause.name.lower()).inc()
        log.warning(
            "amphora to be replaced",
            amphora=amphora.id,
            cluster=amphora.cluster_id,
            cause=cause.value,
        )
    if found.turned:
        log.warning(found.turned)


async def overdue(connection: Connection, rules: Rules, most: int) -> list[Suspect]:
    """Those in use that should have been heard from, the longest silent first."""
    found = await _silent(connection, await _words(connection, rules.windows))
    return sorted(found, key=lambda suspect: -suspect.silent_s)[:most]


async def forget_old(connection: Connection, kept: Kept) -> int:
    """One batch of those that happened long ago. How many went."""
    cursor = await connection.execute(
        """DELETE FROM failovers WHERE id IN (SELECT id FROM failovers
            WHERE at < now() - make_interval(secs => %s * 86400)
            ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED)""",
        [kept.failovers_days, BATCH_ROWS],
    )
    return cursor.rowcount


async def _judged(
    connection: Connection,
    before: Mode,
    suspects: Sequence[Suspect],
    words: Mapping[str, Any],
    limits: Failovers,
) -> Judgement:
    """Under the lock, which whoever read `before` has: counted, judged, written."""
    facts = await _facts(connection, before, words, limits)
    verdict = safe_mode.judge(facts, suspects, limits)
    failed = await _failed(connection, verdict.allowed, words)
    is_calm = safe_mode.is_calm(facts, suspects, limits)
    turned = await safe_mode_rows.turn(connection, (before, verdict), limits, is_calm=is_calm)
    is_on = bool(verdict.reason) if turned else before.since is not None
    return Judgement(
        failed=failed,
        held=len(verdict.held),
        is_on=is_on,
        is_deaf=safe_mode.is_deaf(facts, limits),
        turned=turned,
    )


async def _failed(
    connection: Connection, allowed: Sequence[Suspect], words: Mapping[str, Any]
) -> list[tuple[Amphora, Cause]]:
    """Those that may be replaced, with all else on amphorae that are lost as a whole."""
    named = {s.amphora_id: s for s in allowed}
    lost = await _lost_machines(connection, allowed, words)
    rows = await amphora_rows.those(connection, [AmphoraId(name) for name in (*named, *lost)])
    rows += [seat for seat in await seats.on(connection, lost) if seat.id not in named]
    await seats.hold(connection, [row.id for row in rows])
    failed, remembered = [], set()
    for amphora in sorted(rows, key=lambda amphora: amphora.id not in named):
        machine = amphora.carrier_id or amphora.id
        suspect = named.get(amphora.id) or lost[machine]
        if amphora.state not in _IN_USE or not await _advance(
            connection, amphora, suspect.cause, suspect.words
        ):
            continue
        if machine not in lost or machine not in remembered:  # what is lost as a whole counts once
            await _remember(connection, amphora, suspect)
        remembered.add(machine)
        failed.append((amphora, suspect.cause))
    return failed


async def _lost_machines(
    connection: Connection, allowed: Sequence[Suspect], words: Mapping[str, Any]
) -> dict[AmphoraId, Suspect]:
    """Amphorae that were lost themselves, and those that carry seats of which none is heard."""
    found = {AmphoraId(s.machine): s for s in allowed if s.machine and s.cause is Cause.SILENT}
    if found:
        cursor = await connection.execute(
            f"""SELECT carrier_id FROM ({_WATCHED}) w
            WHERE carrier_id = ANY(%(machines)s::uuid[]) AND serving
              AND silent_s <= allowed_s - beat_s""",  # noqa: S608 - our own text
            {**words, "machines": list(found)},
        )
        for (heard,) in await cursor.fetchall():
            found.pop(heard, None)
    return {AmphoraId(s.amphora_id): s for s in allowed if not s.machine} | found


async def _words(connection: Connection, windows: Windows) -> dict[str, Any]:
    """The values that `_WATCHED` names."""
    # Few flavors say it, so that nearly always nothing is found.
    cursor = await connection.execute(
        """SELECT f.id::text, p.flavor_data FROM flavors f
        JOIN flavor_profiles p ON p.id = f.flavor_profile_id
        WHERE strpos(p.flavor_data, 'failover_after_s') > 0"""
    )
    stales = {}
    for flavor, data in await cursor.fetchall():
        with contextlib.suppress(msgspec.ValidationError):  # another provider's words
            after_s = _FLAVOR_FACTS.decode(data).failover_after_s
            if after_s is not None:
                stales[flavor] = after_s
    covered = windows.coverage
    return msgspec.structs.asdict(windows) | {
        "flavors": list(stales),
        "stales": list(stales.values()),
        "receivers": list(range(len(covered))),
        "receivers_max": len(covered) - 1,
        "stretches": [one.stretch for one in covered],
        "covered": [one.watched_s for one in covered],
        "lates": [one.late_s for one in covered],
    }


async def _silent(connection: Connection, words: Mapping[str, Any]) -> list[Suspect]:
    cursor = await connection.execute(
        f"""SELECT id, cluster_id, host, carrier_id, serving, silent_s FROM ({_WATCHED}) w
        WHERE allowed_s <= watched_s AND silent_s > allowed_s
          AND (heard_s <= watched_s OR watched_s > allowed_s * {_UNHEARD})""",  # noqa: S608
        words,
    )
    return [
        Suspect(
            amphora_id=amphora_id,
            cluster_id=cluster_id,
            host=host,
            machine=carrier_id or "",
            serving=serving,
            silent_s=silent_s,
            cause=Cause.SILENT,
        )
        for amphora_id, cluster_id, host, carrier_id, serving, silent_s in await cursor.fetchall()
    ]


async def _facts(
    connection: Connection, before: Mode, words: Mapping[str, Any], limits: Failovers
) -> Facts:
    cursor = await connection.execute(
        f"""SELECT count(DISTINCT machine) FILTER (WHERE serving),
            count(DISTINCT machine) FILTER (WHERE serving AND seen_silent_s > allowed_s - beat_s),
            count(*) FILTER (WHERE NOT serving),
            count(*) FILTER (WHERE NOT serving AND seen_silent_s > allowed_s - beat_s),
            coalesce(min(heard_s), 'infinity'),
            (SELECT count(DISTINCT coalesce(a.carrier_id, a.id))
                FROM troubles JOIN amphorae a ON a.id = amphora_id
                WHERE a.state IN ('SERVING', 'LEAVING'))
        FROM ({_WATCHED}) w
        CROSS JOIN LATERAL (SELECT least(silent_s, watched_s), coalesce(carrier_id, id))
            AS s (seen_silent_s, machine)""",  # noqa: S608 - our own text
        words,
    )
    row = await cursor.fetchone()
    assert row is not None, "counts are one row"
    cursor = await connection.execute(
        """SELECT cluster_id, host, serving, certain, extract(epoch FROM now() - at)::float
        FROM failovers
        WHERE at > now() - make_interval(secs => %s)""",
        [max(MINUTE_S, limits.window_s)],
    )
    return Facts(
        serving=Watched(row[0], row[1]),
        spares=Watched(row[2], row[3]),
        troubled=row[5],
        replaced=[
            Replaced(
                cluster_id=cluster_id, host=host, serving=serving, certain=certain, ago_s=ago_s
            )
            for cluster_id, host, serving, certain, ago_s in await cursor.fetchall()
        ],
        quiet_s=min(row[4], words["watched_s"]),
        watched_s=words["watched_s"],
        stale_s=words["stale_s"],
        is_on=before.since is not None,
        is_lifted=before.is_lifted,
    )


async def _advance(connection: Connection, amphora: Amphora, cause: Cause, words: str = "") -> bool:
    """Another may have been quicker, or it has just been lent or released: that is no failure."""
    event = lifecycle.Event.WENT_SILENT
    if cause in TROUBLES:
        event = lifecycle.Event.GIVEN_UP
    with contextlib.suppress(Contended):
        why = "" if cause is Cause.SILENT else f"{cause.value}{words and ': '}{words}"
        await amphora_rows.advance(connection, amphora, event, why)
        return True
    return False


async def _remember(connection: Connection, amphora: Amphora, suspect: Suspect) -> None:
    await connection.execute(
        """INSERT INTO failovers (amphora_id, cluster_id, host, serving, certain, cause)
        VALUES (%s, %s, %s, %s, %s, %s)""",
        [
            amphora.id,
            amphora.cluster_id,
            suspect.host,
            suspect.serving,
            suspect.certain,
            suspect.cause.name.lower(),
        ],
    )
