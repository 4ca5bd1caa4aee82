# SPDX-License-Identifier: Apache-2.0
"""What happened, for people: one row and one NOTIFY each, in the transaction of what it tells of.

Messages are safe to show to the owner of the load balancer. Nothing is decided by reading them.
"""

from datetime import datetime
from typing import Final

import msgspec

from colonnade.store.database import Connection

CHANNEL = "events"
KEPT_MAX = 100_000


class Event(msgspec.Struct, frozen=True, kw_only=True):
    object_kind: str  # "load_balancer", "cluster", "amphora", ...
    object_id: str
    kind: str  # one word: "failed", "applied", ...
    message: str
    load_balancer_id: str | None = None
    project_id: str | None = None
    generation: int | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    at: datetime
    event: Event


RECORD: Final = """INSERT INTO events (object_kind, object_id, kind, message, load_balancer_id,
        project_id, generation)
    VALUES (%(object_kind)s, %(object_id)s, %(kind)s, %(message)s, %(load_balancer_id)s,
        %(project_id)s, %(generation)s) RETURNING id"""


async def record(connection: Connection, event: Event) -> None:
    await connection.execute(
        f"WITH written AS ({RECORD}) SELECT pg_notify('{CHANNEL}', id::text) FROM written",  # noqa: S608
        msgspec.structs.asdict(event),
    )


async def newer_than(connection: Connection, after: int, limit: int = 100) -> list[Recorded]:
    """Events with an id above `after`, the oldest first."""
    cursor = await connection.execute(
        """SELECT id, at, object_kind, object_id, kind, message, load_balancer_id, project_id,
            generation FROM events WHERE id > %s ORDER BY id LIMIT %s""",
        [after, limit],
    )
    names = ("object_kind", "object_id", "kind", "message")
    more = ("load_balancer_id", "project_id", "generation")
    return [
        Recorded(id=row[0], at=row[1], event=Event(**dict(zip(names + more, row[2:], strict=True))))
        for row in await cursor.fetchall()
    ]


async def forget_old(connection: Connection) -> None:
    """Keep the newest `KEPT_MAX`."""
    await connection.execute(
        "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - %s", [KEPT_MAX]
    )
