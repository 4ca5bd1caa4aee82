# SPDX-License-Identifier: Apache-2.0
"""Notice that the database is not the one it was: restored from a dump, or a promoted copy.

Such a database may know less than the amphorae: they served what was written after the dump, under
generations that the database has not reached. Amphorae refuse older generations, so every change
would be refused until the generations catch up. Therefore all generations are raised far above any
that was given out, once for each incarnation; the amphorae then accept what the database says.
Knows no driver.
"""

from typing import Final

import structlog
from psycopg.errors import InsufficientPrivilege

from colonnade.store.postgres.database import Connection, Database
from colonnade.store.queue import events, work

SKIPPED: Final = 1_000_000  # generations: more than anybody writes after a dump
LOCK: Final = 0x434F_4C4F_494E  # "COLOIN": any number that nobody else locks

log = structlog.get_logger()


async def notice(database: Database) -> bool:
    """Call it before any work is begun. True: it is another database than the last time, and all
    clusters are marked."""
    name = await _name(database)
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor = await connection.execute("SELECT name FROM incarnation")
        row = await cursor.fetchone()
        if row is not None and row[0] == name:
            return False
        await connection.execute(
            """INSERT INTO incarnation (name) VALUES (%s)
            ON CONFLICT (is_this) DO UPDATE SET name = EXCLUDED.name, since = now()""",
            [name],
        )
        if row is None:
            return False
        await _raise_generations(connection)
    log.warning("the database was restored or promoted: all amphorae are told anew", now=name)
    return True


async def _raise_generations(connection: Connection) -> None:
    cursor = await connection.execute(
        "UPDATE clusters SET generation = generation + %s RETURNING id", [SKIPPED]
    )
    found = [row[0] for row in await cursor.fetchall()]
    for cluster_id in found:
        await work.mark(connection, f"cluster:{cluster_id}")
        await events.record(
            connection,
            events.Event(
                object_kind="cluster",
                object_id=cluster_id,
                kind="restored",
                message="the database was restored or promoted: the amphorae are told anew",
            ),
        )


async def _name(database: Database) -> str:
    """Of the server's data, the database in it, and its timeline, as far as they may be read."""
    parts = (
        "SELECT oid::text FROM pg_database WHERE datname = current_database()",
        "SELECT system_identifier::text FROM pg_control_system()",
        # Not of pg_control_checkpoint(): after a promotion it is the old one for a while.
        "SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int::text",
    )
    found = []
    for part in parts:
        try:
            async with database.read() as connection:
                row = await (await connection.execute(part.encode())).fetchone()
            found.append(str(row[0]) if row is not None else "")
        except InsufficientPrivilege:  # a server that others manage
            found.append("")
    return "/".join(found)
