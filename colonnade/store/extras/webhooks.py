# SPDX-License-Identifier: Apache-2.0
"""Webhooks as rows, which of them wait for events, and what became of their messages.

The table of events is the queue. `position` only rises: all events up to it were taken by the
receiver, or are none for that webhook. Secrets come and go sealed; who opens them is not known
here.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

import msgspec

from colonnade.domain import flat_nouns
from colonnade.domain.webhooks import Delivery, Sending, Webhook
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.times import time_sql
from colonnade.store.queue import events, work
from colonnade.store.queue.events import HORIZON, Event, Recorded, Sought
from colonnade.store.queue.shown_events import OBJECT_TYPE_SQL, object_kinds
from colonnade.store.rows.flat_rows import FlatTable, Stored, value_of

DELIVERIES_KEPT: Final = 20
SLACK: Final = 1000  # so many ids a position may be behind before it is written for nothing
_OWN: Final = Webhook.__struct_fields__
_TIMES: Final = ("last_success_at", "last_failure_at", "failing_since", "retry_at", "missed_at")
_TOLD: Final = {
    "status": "CASE WHEN NOT t.enabled THEN 'DISABLED'"
    " WHEN t.failing_since IS NOT NULL THEN 'FAILING' ELSE 'OK' END",
    "reason": "coalesce(nullif(t.disabled_reason, ''), t.last_failure)",
}
WEBHOOKS: Final = FlatTable(
    noun=flat_nouns.WEBHOOKS,
    facts={
        **_TOLD,
        **{name: time_sql(f"t.{name}") for name in _TIMES},
        "deliveries": "t.deliveries::text",
        "secrets": "t.secrets",
    },
    filters=_TOLD,
    lists=frozenset({"kinds", "object_types"}),
)


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as whoever sends its messages sees it."""

    webhook: Webhook
    project_id: str
    secrets: bytes  # sealed
    position: int
    ping: str  # the id of a trial that is to be sent, or ""
    failing_since: datetime | None

    @property
    def sought(self) -> Sought:
        own = self.webhook
        return Sought(
            project=None if own.all_projects else self.project_id,
            kinds=own.kinds or None,
            object_kinds=object_kinds(own.object_types) if own.object_types else None,
        )


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook is to be told next. `reached`: no other event for it comes up to this id;
    `forgotten`: some that it was not told of are gone."""

    events: list[Recorded]
    reached: int
    forgotten: bool


class Sort(msgspec.Struct, frozen=True):
    """Events of one project, one kind, about one type of objects."""

    project_id: str | None
    kind: str
    object_type: str


class Standing(msgspec.Struct, frozen=True):
    """How all webhooks do. `lag_s`: for how long the first event waits, of those that do not
    fail."""

    fine: int
    failing: int
    disabled: int
    lag_s: float


def key(webhook_id: str) -> str:
    """Of the work for it."""
    return f"webhook:{webhook_id}"


def sending(stored: Stored[Webhook]) -> Sending:
    facts = stored.facts
    latest = msgspec.json.decode(facts["deliveries"], type=list[Delivery])
    return Sending(deliveries=latest, **{name: facts[name] for name in _TIMES})


async def find(connection: Connection, webhook_id: str) -> Subscription | None:
    columns = ", ".join(f"t.{name}" for name in _OWN)
    cursor = await connection.execute(
        f"SELECT {columns}, project_id, secrets, position, ping, failing_since"  # noqa: S608
        " FROM webhooks t WHERE id = %s",
        [webhook_id],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    own, rest = row[: len(_OWN)], row[len(_OWN) :]
    return Subscription(
        webhook=value_of(flat_nouns.WEBHOOKS, own),
        project_id=rest[0],
        secrets=bytes(rest[1]),
        position=rest[2],
        ping=rest[3],
        failing_since=rest[4],
    )


async def waiting(connection: Connection, one: Subscription, limit: int) -> Waiting:
    reached = await events.last_id(connection)
    found = await events.newer_than(connection, one.position, limit, one.sought)
    cursor = await connection.execute("SELECT up_to FROM events_forgotten")
    row = await cursor.fetchone()
    return Waiting(
        events=found, reached=reached, forgotten=row is not None and one.position < row[0]
    )


_MATCHES: Final = (
    "(w.all_projects OR {e}.project_id = w.project_id)"
    " AND (w.kinds = '{{}}' OR {e}.kind = ANY(w.kinds))"
    " AND (w.object_types = '{{}}' OR {type} = ANY(w.object_types))"
)
_EVENT_MATCHES: Final = _MATCHES.format(e="e", type=OBJECT_TYPE_SQL)
# One whose latest message failed waits for its own time. One that is being sent to is looked at
# once more. The others are due.
_MARK: Final = f"""WITH marked AS (
        INSERT INTO work (key) SELECT 'webhook:' || w.id FROM webhooks w
        WHERE w.enabled AND {{where}}
        ON CONFLICT (key) DO UPDATE SET dirty = work.dirty + 1 WHERE work.attempts = 0
        RETURNING key)
    SELECT pg_notify('{work.CHANNEL}', key) FROM marked"""  # noqa: S608 - our own text


async def wake(connection: Connection, sorts: Collection[Sort]) -> None:
    """There is something new of these sorts: mark the webhooks that want it."""
    told = list(sorts)
    matches = _MATCHES.format(e="n", type="n.object_type")
    where = (
        "EXISTS (SELECT FROM unnest(%s::text[], %s::text[], %s::text[])"
        f" AS n (project_id, kind, object_type) WHERE {matches})"
    )
    await connection.execute(
        _MARK.format(where=where).encode(),
        [
            [one.project_id for one in told],
            [one.kind for one in told],
            [one.object_type for one in told],
        ],
    )


async def sweep(connection: Connection) -> None:
    """Mark every webhook that something waits for; the others have come as far as the events."""
    reached = await events.last_id(connection)
    cursor = await connection.execute(
        f"""SELECT w.id, w.position < coalesce((SELECT up_to FROM events_forgotten), 0)
            OR EXISTS (SELECT FROM events e WHERE e.id > w.position AND {HORIZON}
                AND {_EVENT_MATCHES})
        FROM webhooks w WHERE w.enabled""".encode()  # noqa: S608 - our own text
    )
    found = await cursor.fetchall()
    await connection.execute(
        _MARK.format(where="w.id = ANY(%s::uuid[])").encode(), [[row[0] for row in found if row[1]]]
    )
    await connection.execute(
        "UPDATE webhooks SET position = %s WHERE id = ANY(%s::uuid[]) AND position < %s",
        [reached, [row[0] for row in found if not row[1]], reached - SLACK],
    )


_REMEMBER: Final = (
    "deliveries = jsonb_path_query_array(jsonb_build_array(%(delivery)s::jsonb) || deliveries,"
    f" '$[0 to {DELIVERIES_KEPT - 1}]')"
)


async def record_nothing(connection: Connection, webhook_id: str, reached: int) -> None:
    """There was nothing to tell up to this id."""
    await connection.execute(
        "UPDATE webhooks SET position = %s WHERE id = %s AND position < %s",
        [reached, webhook_id, reached],
    )


async def record_delivered(
    connection: Connection, webhook_id: str, reached: int, delivery: Delivery, *, missed: bool
) -> None:
    await connection.execute(
        f"""UPDATE webhooks SET position = greatest(position, %(reached)s),
            last_success_at = now(), last_failure = '', failing_since = NULL, retry_at = NULL,
            missed_at = CASE WHEN %(missed)s THEN now() ELSE missed_at END, {_REMEMBER}
        WHERE id = %(id)s""".encode(),  # noqa: S608 - our own text
        {"reached": reached, "missed": missed, "id": webhook_id, "delivery": _text(delivery)},
    )


async def record_trial(connection: Connection, webhook_id: str, delivery: Delivery) -> None:
    """What became of a trial, which says nothing of the events."""
    await connection.execute(
        f"UPDATE webhooks SET ping = '', {_REMEMBER}"  # noqa: S608 - our own text
        " WHERE id = %(id)s AND ping = %(ping)s",
        {"id": webhook_id, "ping": delivery.id, "delivery": _text(delivery)},
    )


async def record_failed(
    connection: Connection,
    webhook_id: str,
    failure: str,
    delivery: Delivery | None,
    *,
    retry_in_s: float,
) -> datetime | None:
    """Since when it fails; None when it is gone."""
    remember = f", {_REMEMBER}" if delivery is not None else ""
    cursor = await connection.execute(
        f"""UPDATE webhooks SET last_failure_at = now(), last_failure = %(failure)s,
            failing_since = coalesce(failing_since, now()),
            retry_at = now() + make_interval(secs => %(s)s){remember}
        WHERE id = %(id)s RETURNING failing_since""".encode(),  # noqa: S608 - our own text
        {
            "failure": failure,
            "s": retry_in_s,
            "id": webhook_id,
            "delivery": _text(delivery) if delivery is not None else None,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def disable(connection: Connection, webhook_id: str, reason: str) -> None:
    """It is not called any more until somebody enables it again; people are told."""
    cursor = await connection.execute(
        """UPDATE webhooks SET enabled = false, disabled_reason = %s, retry_at = NULL
        WHERE id = %s AND enabled RETURNING project_id, name""",
        [reason, webhook_id],
    )
    row = await cursor.fetchone()
    if row is None:
        return
    event = Event(
        object_kind="webhook",
        object_id=webhook_id,
        kind="webhook_disabled",
        message=f"webhook {row[1] or webhook_id} was disabled: {reason}",
        project_id=row[0],
    )
    await events.record(connection, event)


async def ask_trial(connection: Connection, webhook_id: str, ping: str) -> None:
    await connection.execute("UPDATE webhooks SET ping = %s WHERE id = %s", [ping, webhook_id])
    await work.mark(connection, key(webhook_id))


async def look(connection: Connection) -> Standing:
    cursor = await connection.execute(
        f"""SELECT count(*) FILTER (WHERE w.enabled AND w.failing_since IS NULL),
            count(*) FILTER (WHERE w.enabled AND w.failing_since IS NOT NULL),
            count(*) FILTER (WHERE NOT w.enabled),
            coalesce(extract(epoch FROM max(now() - (
                SELECT e.at FROM events e WHERE e.id > w.position AND {_EVENT_MATCHES}
                ORDER BY e.id LIMIT 1)) FILTER (WHERE w.enabled AND w.failing_since IS NULL)),
                0)::float
        FROM webhooks w""".encode()  # noqa: S608 - our own text
    )
    (row,) = await cursor.fetchall()
    return Standing(*row)


def _text(delivery: Delivery) -> str:
    return msgspec.json.encode(delivery).decode()
