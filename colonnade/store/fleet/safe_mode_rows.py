# SPDX-License-Identifier: Apache-2.0
"""Safe mode as one row: since when and why it is on, and when it ends.

A caller that judges holds the row's lock until its transaction ends. `safe_mode.py` says what safe
mode means for failovers. Each beginning and each end is told once.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from colonnade.domain.catalogue import NO_ID
from colonnade.runtime.config import Failovers
from colonnade.store.fleet.safe_mode import Verdict
from colonnade.store.postgres.database import Connection
from colonnade.store.queue import events, work

GAP_S: Final = 10.0  # without a look: calm is counted anew


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """Safe mode as it is. `since` None: off."""

    now: datetime
    since: datetime | None = None
    reason: str = ""
    held: int = 0
    calm_since: datetime | None = None
    looked_at: datetime | None = None
    lifted_until: datetime | None = None

    @property
    def is_lifted(self) -> bool:
        return self.lifted_until is not None and self.now < self.lifted_until


async def read(connection: Connection) -> Mode:
    """As it is, now."""
    return await _read(connection)


async def locked(connection: Connection) -> Mode:
    """As it is until the transaction ends."""
    await connection.execute("INSERT INTO safe_mode DEFAULT VALUES ON CONFLICT DO NOTHING")
    return await _read(connection, "FOR UPDATE")


async def lift(connection: Connection, for_s: float) -> None:
    """A person says that what is silent is dead: safe mode ends, and does not begin before
    `for_s` is over. The rates hold."""
    found = await locked(connection)
    await connection.execute(
        """UPDATE safe_mode SET since = NULL, reason = '', held = 0, calm_since = NULL,
            lifted_until = now() + make_interval(secs => %s)""",
        [for_s],
    )
    if found.since is not None:
        await _tell(connection, "safe_mode_ended", f"an operator lifted safe mode for {for_s:g} s")


async def turn(
    connection: Connection, look: tuple[Mode, Verdict], limits: Failovers, *, is_calm: bool
) -> str:
    """Write down what safe mode is from now on. The sentence, when it began or ended."""
    before, verdict = look
    held = len(verdict.held)
    if before.since is None:
        if not verdict.reason:
            return ""
        await connection.execute(
            """UPDATE safe_mode SET since = now(), reason = %s, held = %s, calm_since = NULL,
                looked_at = now()""",
            [verdict.reason, held],
        )
        await work.mark(connection, "leaks:all")  # who is dead in compute's eyes need not wait
        sentence = f"safe mode: {verdict.reason}; {held} are not replaced for now"
        await _tell(connection, "safe_mode", sentence)
        return sentence
    cursor = await connection.execute(
        """UPDATE safe_mode SET held = %(held)s, looked_at = now(),
            calm_since = CASE WHEN NOT %(calm)s THEN NULL
                WHEN looked_at < now() - make_interval(secs => %(gap)s) THEN now()
                ELSE coalesce(calm_since, now()) END
        RETURNING calm_since <= now() - make_interval(secs => %(calm_s)s)""",
        {"held": held, "calm": is_calm, "gap": GAP_S, "calm_s": limits.calm_s},
    )
    row = await cursor.fetchone()
    is_over = row is not None and bool(row[0])
    if not is_over and limits.safe_mode:
        return ""
    await connection.execute("UPDATE safe_mode SET since = NULL, reason = '', calm_since = NULL")
    why = f"nobody has been silent for {limits.calm_s:g} s" if is_over else "it is switched off"
    sentence = f"safe mode has ended: {why}"
    await _tell(connection, "safe_mode_ended", sentence)
    return sentence


async def _read(connection: Connection, lock: str = "") -> Mode:
    names = Mode.__struct_fields__
    columns = ", ".join(names[1:])
    cursor = await connection.execute(
        f"SELECT now(), {columns} FROM safe_mode {lock}".encode()  # noqa: S608 - our own words
    )
    row = await cursor.fetchone()
    if row is None:  # nobody has ever judged
        return Mode(now=datetime.now(UTC))
    return Mode(**dict(zip(names, row, strict=True)))


async def _tell(connection: Connection, kind: str, message: str) -> None:
    await events.record(
        connection,
        events.Event(object_kind="fleet", object_id=NO_ID, kind=kind, message=message),
    )
