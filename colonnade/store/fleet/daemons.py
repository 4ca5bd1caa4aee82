# SPDX-License-Identifier: Apache-2.0
"""Which processes of the control plane run, where amphorae find them, and which are missed.

Each process records regularly that it runs, and then looks at the records of the others. A process
that ends removes its record. One that falls silent is missed: people are told once, and again when
it is back. Nothing replaces it, and the list decides nothing but where to send things. A process
whose own record was not written for a while, as after an outage of the database, misses nobody.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec
from prometheus_client import Gauge

from colonnade.domain.errors import ColonnadeError, Unavailable
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.queue import events

REFRESH_S: Final = 10.0
LIVE_S: Final = 35.0
FORGOTTEN_S: Final = 86_400.0
MISSED: Final = Gauge(
    "colonnade_missed_daemons", "Processes that run no more and did not say so", ["kind"]
)


class Kind(StrEnum):
    CONTROLLER = "controller"
    HEALTH = "health"
    NETWORK = "network"  # registered by the controller that calls it
    NOTIFIER = "notifier"


class Daemon(msgspec.Struct, frozen=True):
    id: str  # a new one for each run of a process
    kind: Kind
    # "address:port" on the LB network; of a network daemon, where it is called; of a notifier, the
    # machine that it runs on.
    address: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One of the list, for people. `missed_since`: when it was last seen, of one that is missed."""

    kind: str
    address: str
    seen_at: datetime
    missed_since: datetime | None = None


async def register(connection: Connection, daemon: Daemon) -> None:
    """Record that it runs now; to be repeated every `REFRESH_S`. An older process at that address
    is gone."""
    cursor = await connection.execute(
        """DELETE FROM daemons WHERE id <> %s AND ((kind = %s AND address = %s)
            OR seen_at < now() - make_interval(secs => %s))
        RETURNING missed_since IS NOT NULL AND kind = %s AND address = %s""",
        [daemon.id, daemon.kind, daemon.address, FORGOTTEN_S, daemon.kind, daemon.address],
    )
    is_back = any(row[0] for row in await cursor.fetchall())
    cursor = await connection.execute(
        """WITH before AS (SELECT missed_since FROM daemons WHERE id = %(id)s)
        INSERT INTO daemons AS d (id, kind, address) VALUES (%(id)s, %(kind)s, %(address)s)
        ON CONFLICT (id) DO UPDATE SET address = EXCLUDED.address, seen_at = now(),
            missed_since = NULL, since = CASE
                WHEN d.seen_at < now() - make_interval(secs => %(live_s)s) THEN now()
                ELSE d.since END
        RETURNING (SELECT missed_since IS NOT NULL FROM before)""",
        {"id": daemon.id, "kind": daemon.kind, "address": daemon.address, "live_s": LIVE_S},
    )
    row = await cursor.fetchone()
    if is_back or (row is not None and row[0]):
        await _tell(connection, daemon, "daemon_back", "is back")
    await _watch(connection, daemon)


@contextlib.asynccontextmanager
async def registered(
    database: Database, daemon: Daemon, call: Callable[[], Awaitable[object]] | None = None
) -> AsyncIterator[None]:
    """Listed, from now until the end, as one that runs; as long as the call, if any, succeeds."""
    refreshing = asyncio.create_task(_refresh(database, daemon, call))
    try:
        yield
    finally:
        refreshing.cancel()
        with contextlib.suppress(Unavailable):
            async with database.transaction() as connection:
                await forget(connection, daemon)


async def _refresh(
    database: Database, daemon: Daemon, call: Callable[[], Awaitable[object]] | None
) -> None:
    while True:
        with contextlib.suppress(ColonnadeError):
            if call is not None:
                await call()
            async with database.transaction() as connection:
                await register(connection, daemon)
        await asyncio.sleep(REFRESH_S)


async def forget(connection: Connection, daemon: Daemon) -> None:
    await connection.execute("DELETE FROM daemons WHERE id = %s", [daemon.id])


async def live(connection: Connection, kind: Kind) -> list[str]:
    """Addresses of those that run, in no order."""
    cursor = await connection.execute(
        """SELECT address FROM daemons
        WHERE kind = %s AND seen_at > now() - make_interval(secs => %s)""",
        [kind, LIVE_S],
    )
    return [row[0] for row in await cursor.fetchall()]


async def everyone(connection: Connection) -> Sequence[Seen]:
    """Those that run and those that are missed."""
    cursor = await connection.execute(
        "SELECT kind, address, seen_at, missed_since FROM daemons ORDER BY kind, address"
    )
    return [
        Seen(kind=row[0], address=row[1], seen_at=row[2], missed_since=row[3])
        for row in await cursor.fetchall()
    ]


async def _watch(connection: Connection, watcher: Daemon) -> None:
    """Mark the silent processes as missed, if the watcher itself has run long enough to tell."""
    cursor = await connection.execute(
        """UPDATE daemons d SET missed_since = d.seen_at FROM daemons me
        WHERE me.id = %(me)s AND me.since < now() - make_interval(secs => %(live_s)s)
          AND d.missed_since IS NULL AND d.seen_at < now() - make_interval(secs => %(live_s)s)
        RETURNING d.id, d.kind, d.address""",
        {"me": watcher.id, "live_s": LIVE_S},
    )
    for row in await cursor.fetchall():
        gone = Daemon(row[0], row[1], row[2])
        await _tell(connection, gone, "daemon_missed", f"has not been seen for {LIVE_S:g} s")
    counts = dict.fromkeys(Kind, 0)
    for one in await everyone(connection):
        if one.missed_since is not None and one.kind in counts:
            counts[Kind(one.kind)] += 1
    for kind, count in counts.items():
        MISSED.labels(kind=kind).set(count)


async def _tell(connection: Connection, daemon: Daemon, kind: str, words: str) -> None:
    await events.record(
        connection,
        events.Event(
            object_kind="daemon",
            object_id=daemon.id,
            kind=kind,
            message=f"the {daemon.kind} process at {daemon.address} {words}",
        ),
    )
