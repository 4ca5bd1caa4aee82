# SPDX-License-Identifier: Apache-2.0
"""The work there is to do: a set of dirty keys (`cluster:<id>`, `amphora:<id>`, `spares:<name>`).

Marking a key twice is one round of work, and marking it while somebody works on it is one more.
A lease ends by itself, so a dead controller's work is taken by another; whoever lost a lease
changes nothing with it. NOTIFY only wakes early; the rows are the truth. What a key means is not
known here.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from colonnade.store.postgres.database import Connection

CHANNEL = "work"


class Lease(msgspec.Struct, frozen=True):
    """The right to work on a key. `token` is this lease's alone."""

    key: str
    token: str
    dirty: int
    attempts: int  # failures in a row, before this one


MARK: Final = """INSERT INTO work (key, due_at)
    VALUES (%(key)s, now() + make_interval(secs => %(s)s))
    ON CONFLICT (key) DO UPDATE
    SET dirty = work.dirty + 1, due_at = least(work.due_at, EXCLUDED.due_at)
    RETURNING key"""


async def mark(connection: Connection, key: str, delay_s: float = 0) -> None:
    """There is something to do for the key, from `delay_s` on. Part of the caller's transaction."""
    await connection.execute(
        f"WITH marked AS ({MARK})"  # noqa: S608 - our own text
        f" SELECT pg_notify('{CHANNEL}', key) FROM marked WHERE %(s)s <= 0",
        {"key": key, "s": delay_s},
    )


class Free(msgspec.Struct, frozen=True):
    """How many keys may be taken: in all, and of them such as failed the last time."""

    all: int
    retries: int


_OF_KINDS: Final = "(%(kinds)s::text[] IS NULL OR split_part(key, ':', 1) = ANY(%(kinds)s::text[]))"
_DUE: Final = f"""{_OF_KINDS} AND due_at <= clock_timestamp()
              AND (leased_until IS NULL OR leased_until <= clock_timestamp())"""


async def lease(
    connection: Connection,
    free: Free,
    lease_s: float,
    holder: str = "",
    kinds: Sequence[str] | None = None,
) -> Sequence[Lease]:
    """Keys that are due and nobody else's: first those that did not fail the last time, of each
    kind the longest due first. `kinds`: those that the caller knows; others are a newer
    release's."""
    cursor = await connection.execute(
        f"""WITH fresh AS (
            SELECT key FROM work WHERE {_DUE} AND attempts = 0
            ORDER BY due_at LIMIT %(all)s FOR UPDATE SKIP LOCKED),
        again AS (
            SELECT key FROM work WHERE {_DUE} AND attempts > 0
            ORDER BY due_at LIMIT least(%(retries)s, %(all)s - (SELECT count(*) FROM fresh))
            FOR UPDATE SKIP LOCKED),
        due AS (SELECT key FROM fresh UNION ALL SELECT key FROM again)
        UPDATE work SET leased_by = gen_random_uuid(), holder = %(holder)s,
            leased_until = clock_timestamp() + make_interval(secs => %(s)s)
        FROM due WHERE work.key = due.key
        RETURNING work.key, work.leased_by, work.dirty, work.attempts""",  # noqa: S608
        {
            "all": free.all,
            "retries": free.retries,
            "s": lease_s,
            "holder": holder,
            "kinds": None if kinds is None else list(kinds),
        },
    )
    return [Lease(*row) for row in await cursor.fetchall()]


async def extend(connection: Connection, lease: Lease, lease_s: float) -> bool:
    """Keep the lease for another `lease_s`. False: it is lost."""
    cursor = await connection.execute(
        """UPDATE work SET leased_until = clock_timestamp() + make_interval(secs => %(s)s)
        WHERE key = %(key)s AND leased_by = %(token)s""",
        {"key": lease.key, "token": lease.token, "s": lease_s},
    )
    return cursor.rowcount == 1


async def void(connection: Connection, holder: str) -> None:
    """End the leases of this holder's earlier life; only for who knows that it is over."""
    await connection.execute(
        "UPDATE work SET leased_by = NULL, leased_until = NULL WHERE holder = %s", [holder]
    )


async def finish(connection: Connection, lease: Lease, again_in_s: float | None = None) -> bool:
    """Done, or to be looked at again in a while. True: it was marked meanwhile and is due now."""
    if again_in_s is None:
        gone = await connection.execute(
            "DELETE FROM work WHERE key = %s AND leased_by = %s AND dirty = %s",
            [lease.key, lease.token, lease.dirty],
        )
        if gone.rowcount == 1:
            return False
    return await _give_back(connection, lease, again_in_s or 0, attempts=0)


async def fail(connection: Connection, lease: Lease, backoff_s: float) -> bool:
    """To be tried again in `backoff_s`. True: it was marked meanwhile and is due now."""
    return await _give_back(connection, lease, backoff_s, attempts=lease.attempts + 1)


async def next_due_s(
    connection: Connection, *, fresh_only: bool = False, kinds: Sequence[str] | None = None
) -> float | None:
    """Seconds until the next key may be leased, None when there is none at all. `fresh_only`:
    among those that did not fail the last time."""
    cursor = await connection.execute(
        f"""SELECT extract(epoch FROM min(greatest(due_at, leased_until)) - clock_timestamp())
        FROM work WHERE (attempts = 0 OR NOT %(fresh)s) AND {_OF_KINDS}""",  # noqa: S608
        {"fresh": fresh_only, "kinds": None if kinds is None else list(kinds)},
    )
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else max(0.0, float(row[0]))


async def _give_back(connection: Connection, lease: Lease, pause_s: float, attempts: int) -> bool:
    cursor = await connection.execute(
        """UPDATE work SET leased_by = NULL, leased_until = NULL, attempts = %(attempts)s,
            due_at = clock_timestamp() + make_interval(
                secs => CASE WHEN dirty = %(dirty)s THEN %(s)s::float ELSE 0 END)
        WHERE key = %(key)s AND leased_by = %(token)s RETURNING dirty <> %(dirty)s""",
        {
            "key": lease.key,
            "token": lease.token,
            "dirty": lease.dirty,
            "attempts": attempts,
            "s": pause_s,
        },
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])
