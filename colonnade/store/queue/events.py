# SPDX-License-Identifier: Apache-2.0
"""What happened, for people: one row and one NOTIFY each, in the transaction of what it tells of.

Messages are safe to show to the owner of the load balancer. Nothing is decided by reading them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from colonnade.domain import shape
from colonnade.domain.texts import storable
from colonnade.runtime.config import KEPT, Kept
from colonnade.store.postgres.database import BATCH_ROWS, Connection

CHANNEL = "events"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    object_kind: str  # "load_balancer", "cluster", "amphora", ...
    object_id: str
    kind: str  # a word of `domain/event_kinds.py`
    message: str
    load_balancer_id: str | None = None
    project_id: str | None = None
    generation: int | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    at: datetime
    event: Event
    object_name: str | None = None  # what it is called now; of what is gone, nobody knows
    load_balancer_name: str | None = None


RECORD: Final = """INSERT INTO events (object_kind, object_id, kind, message, load_balancer_id,
        project_id, generation)
    VALUES (%(object_kind)s, %(object_id)s, %(kind)s, %(message)s, %(load_balancer_id)s,
        %(project_id)s, %(generation)s) RETURNING id"""


async def record(connection: Connection, event: Event) -> None:
    """Whatever the message quotes, the event can be stored."""
    event = msgspec.structs.replace(event, message=storable(event.message))
    await connection.execute(
        f"WITH written AS ({RECORD}) SELECT pg_notify('{CHANNEL}', id::text) FROM written",  # noqa: S608
        msgspec.structs.asdict(event),
    )


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """Which events. None: of any project, any load balancer, any kind, about anything."""

    project: str | None = None
    load_balancer_id: str | None = None
    kinds: Sequence[str] | None = None
    object_kinds: Sequence[str] | None = None

    def has(self, event: Event) -> bool:
        return (
            self.project in (None, event.project_id)
            and self.load_balancer_id in (None, event.load_balancer_id)
            and (self.kinds is None or event.kind in self.kinds)
            and (self.object_kinds is None or event.object_kind in self.object_kinds)
        )


# An id is given out before its transaction commits. Until all that began before have ended, one
# with a lower id may still come. A transaction that this server has not begun yet cannot have
# written what is there: such a row was restored from another one.
HORIZON: Final = (
    "(xid < pg_snapshot_xmin(pg_current_snapshot())"
    " OR xid >= pg_snapshot_xmax(pg_current_snapshot()))"
)
_COLUMNS: Final = (
    "id, at, object_kind, object_id, kind, message, load_balancer_id, project_id, generation"
)
# The tables of what events are about, by the word for it.
NODES: Final[Mapping[str, str]] = {noun.one: noun.name for noun in shape.NOUNS if noun.reported}
_NAMELESS: Final = {  # what tells those apart that have no name
    "member": "concat(CASE strpos(n.body->>'address', ':') WHEN 0 THEN n.body->>'address'"
    " ELSE concat('[', n.body->>'address', ']') END, ':', n.body->>'protocol_port')",
    "listener": "concat(n.body->>'protocol', ':', n.body->>'protocol_port')",
    "health_monitor": "n.body->>'type'",
}


def _name(kind: str, table: str) -> str:
    nameless = _NAMELESS.get(kind, "NULL")
    return (
        f"SELECT coalesce(nullif(n.body->>'name', ''), {nameless}) FROM {table} n"  # noqa: S608
        " WHERE n.id = e.object_id"
    )


# Each is found by its key, so a page of events costs a look for each.
_NAMES: Final = ", ".join(
    (
        "CASE object_kind "
        + " ".join(f"WHEN '{kind}' THEN ({_name(kind, table)})" for kind, table in NODES.items())
        + " END",
        "(SELECT nullif(n.body->>'name', '') FROM load_balancers n"
        " WHERE n.id = e.load_balancer_id)",
    )
)


async def newer_than(
    connection: Connection, after: int, limit: int = 100, sought: Sought | None = None
) -> list[Recorded]:
    """Events with an id above `after`, the oldest first: none with a lower id comes later."""
    where, parameters = _where(sought or Sought())
    return await _read(
        connection,
        f"{where} AND id > %(after)s ORDER BY id LIMIT %(limit)s",
        parameters | {"after": after, "limit": limit},
    )


async def newest(connection: Connection, limit: int, sought: Sought) -> list[Recorded]:
    """The newest ones, the oldest of them first."""
    where, parameters = _where(sought)
    found = await _read(
        connection, f"{where} ORDER BY id DESC LIMIT %(limit)s", parameters | {"limit": limit}
    )
    return found[::-1]


async def last_id(connection: Connection) -> int:
    cursor = await connection.execute(
        f"SELECT coalesce(max(id), 0) FROM events WHERE {HORIZON}"  # noqa: S608 - our own text
    )
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0


def _where(sought: Sought) -> tuple[str, dict[str, Any]]:
    conditions = [HORIZON]
    if sought.project is not None:
        conditions.append("project_id = %(project)s")
    if sought.load_balancer_id is not None:
        conditions.append("load_balancer_id = %(load_balancer_id)s")
    if sought.kinds is not None:
        conditions.append("kind = ANY(%(kinds)s)")
    if sought.object_kinds is not None:
        conditions.append("object_kind = ANY(%(object_kinds)s)")
    parameters = msgspec.structs.asdict(sought)
    parameters["kinds"] = list(sought.kinds or ())
    parameters["object_kinds"] = list(sought.object_kinds or ())
    return " AND ".join(conditions), parameters


async def _read(
    connection: Connection, where: str, parameters: Mapping[str, Any]
) -> list[Recorded]:
    cursor = await connection.execute(
        f"SELECT {_COLUMNS}, {_NAMES} FROM events e WHERE {where}".encode(),  # noqa: S608
        parameters,
    )
    names = _COLUMNS.split(", ")[2:]
    return [
        Recorded(
            id=row[0],
            at=row[1],
            event=Event(**dict(zip(names, row[2:-2], strict=True))),
            object_name=row[-2],
            load_balancer_name=row[-1],
        )
        for row in await cursor.fetchall()
    ]


async def forget_old(connection: Connection, kept: Kept = KEPT) -> int:
    """One batch of those that are too old or too many, the oldest first. How many went. Up to which
    id they went is remembered, for whoever has not read as far."""
    cursor = await connection.execute(
        """WITH gone AS (DELETE FROM events WHERE id IN (
            SELECT id FROM events
            WHERE id <= (SELECT max(id) FROM
                    (SELECT id FROM events ORDER BY id LIMIT %(batch)s) oldest)
                AND (at < now() - make_interval(secs => %(days)s * 86400)
                    OR id <= (SELECT max(id) FROM events) - %(most)s)
            FOR UPDATE SKIP LOCKED) RETURNING id),
        told AS (INSERT INTO events_forgotten AS f (up_to)
            SELECT max(id) FROM gone HAVING count(*) > 0
            ON CONFLICT (one) DO UPDATE SET up_to = greatest(f.up_to, EXCLUDED.up_to))
        SELECT count(*) FROM gone""",
        {"batch": BATCH_ROWS, "days": kept.events_days, "most": kept.events_max},
    )
    row = await cursor.fetchone()
    assert row is not None, "a count is one row"
    return int(row[0])
