# SPDX-License-Identifier: Apache-2.0
"""How far the message bus was told of load balancers, and what it was told of each.

The table of events is the queue, as it is for webhooks. `position` only rises: of all events up to
it the bus was told, or they are none for it. What a notification says is not known here.
"""

from collections.abc import Collection
from typing import Final

import msgspec
from msgspec.structs import replace

from colonnade.domain.errors import NotFound
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.domain.tree import LoadBalancer
from colonnade.store.extras.webhooks import Sort
from colonnade.store.postgres.database import Connection
from colonnade.store.queue import events, work
from colonnade.store.queue.events import HORIZON, Recorded, Sought
from colonnade.store.rows.tables import body_of, json_of, read_root
from colonnade.store.trees import records
from colonnade.store.trees.records import Record

KIND: Final = "notification"  # of work
KEY: Final = f"{KIND}:bus"
APPLIED: Final = "applied"
GONE: Final = "gone"
KINDS: Final = (APPLIED, GONE)
_NEWS: Final = f"e.kind IN ('{APPLIED}', '{GONE}') AND {HORIZON}"


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What the bus may have to be told of next, as `webhooks.Waiting` has it."""

    events: list[Recorded]
    position: int
    reached: int
    forgotten: bool


async def begin(connection: Connection) -> None:
    """The first time, the bus is told of what comes from now on; what is served is known to be."""
    await connection.execute(
        f"""WITH begun AS (
            INSERT INTO notifications (position)
            SELECT coalesce(max(id), 0) FROM events WHERE {HORIZON}
            ON CONFLICT DO NOTHING RETURNING position)
        INSERT INTO notified (load_balancer_id, body)
        SELECT lb.id, lb.body FROM load_balancers lb JOIN clusters c ON c.id = lb.cluster_id
        WHERE c.highest_settled >= lb.created AND EXISTS (SELECT FROM begun)
        ON CONFLICT DO NOTHING""".encode()  # noqa: S608 - our own text
    )


async def waiting(connection: Connection, limit: int) -> Waiting:
    cursor = await connection.execute(
        "SELECT position, (SELECT up_to FROM events_forgotten) FROM notifications"
    )
    row = await cursor.fetchone()
    assert row is not None, "a notifier begins before it tells"
    position, forgotten = row
    reached = await events.last_id(connection)
    return Waiting(
        events=await events.newer_than(connection, position, limit, Sought(kinds=KINDS)),
        position=position,
        reached=reached,
        forgotten=forgotten is not None and position < forgotten,
    )


async def told(connection: Connection, load_balancer_id: str) -> LoadBalancer | None:
    """As the bus knows it; without what is below it."""
    cursor = await connection.execute(
        "SELECT body::text FROM notified WHERE load_balancer_id = %s", [load_balancer_id]
    )
    row = await cursor.fetchone()
    return None if row is None else read_root(row[0])


async def present(connection: Connection, load_balancer_id: str) -> Record[LoadBalancer] | None:
    """As it is shown to its owner, None when it is gone."""
    try:
        found = await records.get(connection, LOAD_BALANCERS, load_balancer_id, project=None)
    except NotFound:
        return None
    return replace(found, value=read_root(json_of(found.value)))  # of the type that `told` is of


async def record_told(connection: Connection, event: Recorded, now: LoadBalancer | None) -> None:
    """The bus has taken what this event says. `now`: None of one that is gone."""
    load_balancer_id = event.event.load_balancer_id
    if now is None:
        await connection.execute(
            "DELETE FROM notified WHERE load_balancer_id = %s", [load_balancer_id]
        )
    else:
        await connection.execute(
            """INSERT INTO notified (load_balancer_id, body) VALUES (%s, %s)
            ON CONFLICT (load_balancer_id) DO UPDATE SET body = EXCLUDED.body""",
            [load_balancer_id, body_of(now)],
        )
    await record_reached(connection, event.id)


async def record_reached(connection: Connection, reached: int) -> None:
    """There is nothing more to tell up to this id."""
    await connection.execute(
        "UPDATE notifications SET position = %s WHERE position < %s", [reached, reached]
    )


async def record_missed(connection: Connection, position: int) -> None:
    """Events after `position` were forgotten before they could be told."""
    await connection.execute(
        """UPDATE notifications SET missed_at = now(),
            position = greatest(position, (SELECT up_to FROM events_forgotten))
        WHERE position = %s""",
        [position],
    )


async def wake(connection: Connection, sorts: Collection[Sort]) -> None:
    if any(sort.kind in KINDS for sort in sorts):
        await _mark(connection)


async def sweep(connection: Connection) -> None:
    cursor = await connection.execute(
        f"""SELECT EXISTS (SELECT FROM events e
            WHERE e.id > (SELECT position FROM notifications) AND {_NEWS})""".encode()  # noqa: S608
    )
    row = await cursor.fetchone()
    if row is not None and row[0]:
        await _mark(connection)


async def lag_s(connection: Connection) -> float:
    """For how long the first event waits."""
    cursor = await connection.execute(
        f"""SELECT coalesce(extract(epoch FROM now() - (SELECT e.at FROM events e
            WHERE e.id > (SELECT position FROM notifications) AND {_NEWS}
            ORDER BY e.id LIMIT 1)), 0)::float""".encode()  # noqa: S608 - our own text
    )
    row = await cursor.fetchone()
    return 0.0 if row is None else float(row[0])


async def _mark(connection: Connection) -> None:
    """A bus that failed is tried again in its own time."""
    await connection.execute(
        """WITH marked AS (
            INSERT INTO work (key) VALUES (%(key)s)
            ON CONFLICT (key) DO UPDATE SET dirty = work.dirty + 1 WHERE work.attempts = 0
            RETURNING key)
        SELECT pg_notify(%(channel)s, key) FROM marked""",
        {"key": KEY, "channel": work.CHANNEL},
    )
