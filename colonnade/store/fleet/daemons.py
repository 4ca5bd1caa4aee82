# SPDX-License-Identifier: Apache-2.0
"""Which controllers and health receivers run, and where amphorae find them.

A process that has not said so for a while is no longer listed. Nothing is decided by this list
but where to send things.
"""

from enum import StrEnum
from typing import Final

import msgspec

from colonnade.store.postgres.database import Connection

REFRESH_S: Final = 10.0
LIVE_S: Final = 35.0
FORGOTTEN_S: Final = 3600.0


class Kind(StrEnum):
    CONTROLLER = "controller"
    HEALTH = "health"


class Daemon(msgspec.Struct, frozen=True):
    id: str  # a new one for each run of a process
    kind: Kind
    address: str  # "address:port" on the LB network


async def register(connection: Connection, daemon: Daemon) -> None:
    """Say that it runs now; again every `REFRESH_S`. Whoever was at that address is no more."""
    await connection.execute(
        """DELETE FROM daemons WHERE id <> %s AND ((kind = %s AND address = %s)
            OR seen_at < now() - make_interval(secs => %s))""",
        [daemon.id, daemon.kind, daemon.address, FORGOTTEN_S],
    )
    await connection.execute(
        """INSERT INTO daemons (id, kind, address) VALUES (%s, %s, %s)
        ON CONFLICT (id) DO UPDATE SET address = EXCLUDED.address, seen_at = now()""",
        [daemon.id, daemon.kind, daemon.address],
    )


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
