# SPDX-License-Identifier: Apache-2.0
"""Traffic of listeners and members in detail, summed over amphorae, and the last day of it.

Counters are absolute and never go back; those of amphorae that are gone stay in the sums. Values of
the moment (connections, queue, response time) count only if they were reported of late. An amphora
can report only on the cluster that it serves. The day is a ring of slots for each listener, so it
is bounded without anything being deleted.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from colonnade.domain.ids import AmphoraId, ListenerId, LoadBalancerId, MemberId, PoolId, ProjectId
from colonnade.store.postgres.database import Connection
from colonnade.store.trees.records import bounded

SLOT_S: Final = 10
SLOTS: Final = 8640  # a day; the schema says so too
FRESH: Final = "interval '35 seconds'"  # three times the time between two reports, and a little
POINTS_MAX: Final = 20_000  # of one answer; more are thinned out evenly
OBJECTS_MAX: Final = 5_000  # listeners, and members, of one answer


class ListenerTraffic(msgspec.Struct, frozen=True, kw_only=True):
    active_connections: int = 0
    total_connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0
    request_errors: int = 0
    denied_requests: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0


class MemberTraffic(msgspec.Struct, frozen=True, kw_only=True):
    active_connections: int = 0
    queued: int = 0
    response_ms: int = 0
    total_connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0
    connection_errors: int = 0
    response_errors: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0


class ListenerCounted(msgspec.Struct, frozen=True):
    load_balancer_id: LoadBalancerId
    load_balancer_name: str
    id: ListenerId
    name: str
    traffic: ListenerTraffic


class MemberCounted(msgspec.Struct, frozen=True):
    load_balancer_id: LoadBalancerId
    load_balancer_name: str
    pool_id: PoolId
    pool_name: str
    id: MemberId
    name: str
    traffic: MemberTraffic


class Point(msgspec.Struct, frozen=True):
    """The sums of one listener at one time."""

    at: datetime
    traffic: ListenerTraffic


class Series(msgspec.Struct, frozen=True):
    step_s: int  # between two points
    points: Mapping[ListenerId, Sequence[Point]]


OF_NOW: Final = frozenset({"active_connections", "queued", "response_ms"})
_LISTENER: Final = ListenerTraffic.__struct_fields__
_MEMBER: Final = MemberTraffic.__struct_fields__
Traffic = TypeVar("Traffic", ListenerTraffic, MemberTraffic)


async def record(
    connection: Connection,
    amphora_id: AmphoraId,
    listeners: Mapping[ListenerId, ListenerTraffic],
    members: Mapping[MemberId, MemberTraffic],
) -> None:
    """The newest counters of one amphora, and the listeners' sums into their rings."""
    if listeners:
        await connection.execute(_UPSERT_LISTENERS, _parameters(amphora_id, listeners, _LISTENER))
        await connection.execute(_INTO_RING, [sorted(listeners)])
    if members:
        await connection.execute(_UPSERT_MEMBERS, _parameters(amphora_id, members, _MEMBER))


async def of_load_balancer(
    connection: Connection, load_balancer_id: LoadBalancerId
) -> tuple[list[ListenerCounted], list[MemberCounted]]:
    """All its listeners and members, also those that carried nothing yet."""
    return await _counted(connection, "lb.id = %(of)s", load_balancer_id)


async def of_project(
    connection: Connection, project_id: ProjectId | None
) -> tuple[list[ListenerCounted], list[MemberCounted]]:
    """Of all load balancers of a project, None: of all. The first `OBJECTS_MAX` of each."""
    place = "lb.project_id = %(of)s" if project_id is not None else "true"
    return await _counted(connection, place, project_id)


async def series(
    connection: Connection, load_balancer_id: LoadBalancerId, since: datetime, now: datetime
) -> Series:
    """The listeners' points after `since`, oldest first; fewer of them where they are many."""
    since = max(since, now - timedelta(seconds=SLOTS * SLOT_S))
    cursor = await connection.execute(
        "SELECT count(*) FROM listeners WHERE load_balancer_id = %s AND NOT deleted",
        [load_balancer_id],
    )
    (row,) = await cursor.fetchall()
    wanted = max(1, row[0]) * max(0.0, (now - since).total_seconds()) / SLOT_S
    every = max(1, -int(-wanted // POINTS_MAX))
    cursor = await connection.execute(
        f"""SELECT s.listener_id::text, s.at, {", ".join(f"s.{name}" for name in _LISTENER)}
        FROM listener_series s JOIN listeners l ON l.id = s.listener_id
        WHERE l.load_balancer_id = %s AND NOT l.deleted AND s.at > %s AND s.slot %% %s = 0
        ORDER BY s.at""",  # noqa: S608 - names of our own columns
        [load_balancer_id, since, every],
    )
    points: dict[ListenerId, list[Point]] = {}
    for listener_id, at, *numbers in await cursor.fetchall():
        found = points.setdefault(ListenerId(listener_id), [])
        found.append(Point(at, _traffic(ListenerTraffic, numbers)))
    return Series(every * SLOT_S, points)


async def _counted(
    connection: Connection, place: str, of: str | None
) -> tuple[list[ListenerCounted], list[MemberCounted]]:
    parameters = {"of": of, "max": OBJECTS_MAX}
    cursor = await connection.execute(_LISTENERS.format(place=place).encode(), parameters)
    listeners = [
        ListenerCounted(row[0], row[1], row[2], row[3], _traffic(ListenerTraffic, row[4:]))
        for row in await cursor.fetchall()
    ]
    cursor = await connection.execute(_MEMBERS.format(place=place).encode(), parameters)
    members = [
        MemberCounted(
            row[0], row[1], row[2], row[3], row[4], row[5], _traffic(MemberTraffic, row[6:])
        )
        for row in await cursor.fetchall()
    ]
    return listeners, members


def _traffic(kind: type[Traffic], numbers: Sequence[int]) -> Traffic:
    return kind(**dict(zip(kind.__struct_fields__, numbers, strict=True)))


def _parameters(
    amphora_id: AmphoraId, told: Mapping[Any, Any], names: Sequence[str]
) -> dict[str, Any]:
    columns = {name: [getattr(counted, name) for counted in told.values()] for name in names}
    return {"amphora": amphora_id, "ids": list(told), **columns}


def _upsert(table: str, objects: str, key: str, names: Sequence[str]) -> bytes:
    newest = ", ".join(
        f"{name} = EXCLUDED.{name}"
        if name in OF_NOW
        else f"{name} = greatest(t.{name}, EXCLUDED.{name})"
        for name in names
    )
    return f"""INSERT INTO {table} AS t ({key}, amphora_id, {", ".join(names)})
        SELECT o.id, a.id, {", ".join(f"n.{name}" for name in names)}
        FROM unnest(%(ids)s::uuid[], {", ".join(f"%({name})s::bigint[]" for name in names)})
            AS n (id, {", ".join(names)})
        JOIN {objects} o ON o.id = n.id
        JOIN load_balancers lb ON lb.id = o.load_balancer_id
        JOIN amphorae a ON a.id = %(amphora)s AND a.cluster_id = lb.cluster_id
        ORDER BY o.id
        ON CONFLICT ({key}, amphora_id) DO UPDATE SET at = now(), {newest}""".encode()  # noqa: S608


def _sum(name: str) -> str:
    """A sum that is a bigint whatever the rows hold: one absurd row is not the end of all sums."""
    fresh = f"FILTER (WHERE t.at > now() - {FRESH})"
    if name == "response_ms":
        # The mean of the amphorae's means, by how much each has answered.
        answered = f"sum(t.response_ms::numeric * t.requests) {fresh}"
        return bounded(f"{answered} / nullif(sum(t.requests) {fresh}, 0)")
    return bounded(f"sum(t.{name}) {fresh if name in OF_NOW else ''}")


def _sums(names: Sequence[str]) -> str:
    return ", ".join(map(_sum, names))


_UPSERT_LISTENERS: Final = _upsert("listener_traffic", "listeners", "listener_id", _LISTENER)
_UPSERT_MEMBERS: Final = _upsert("member_traffic", "members", "member_id", _MEMBER)
_INTO_RING: Final = f"""INSERT INTO listener_series (listener_id, slot, at, {", ".join(_LISTENER)})
    SELECT t.listener_id, extract(epoch FROM now())::bigint / {SLOT_S} % {SLOTS}, now(),
        {_sums(_LISTENER)}
    FROM listener_traffic t WHERE t.listener_id = ANY(%s::uuid[])
    GROUP BY t.listener_id ORDER BY t.listener_id
    ON CONFLICT (listener_id, slot) DO UPDATE SET at = EXCLUDED.at,
        {", ".join(f"{name} = EXCLUDED.{name}" for name in _LISTENER)}""".replace(  # noqa: S608
    f" % {SLOTS}", f" %% {SLOTS}"
).encode()
_LISTENERS: Final = f"""SELECT lb.id::text, lb.body ->> 'name', l.id::text, l.body ->> 'name',
        {_sums(_LISTENER)}
    FROM load_balancers lb JOIN listeners l ON l.load_balancer_id = lb.id
    LEFT JOIN listener_traffic t ON t.listener_id = l.id
    WHERE {{place}} AND NOT lb.deleted AND NOT l.deleted
    GROUP BY lb.id, l.id ORDER BY lb.created_at, lb.id, l.created_at, l.id
    LIMIT %(max)s"""  # noqa: S608
_MEMBERS: Final = f"""SELECT lb.id::text, lb.body ->> 'name', p.id::text, p.body ->> 'name',
        m.id::text, m.body ->> 'name', {_sums(_MEMBER)}
    FROM load_balancers lb JOIN members m ON m.load_balancer_id = lb.id
    JOIN pools p ON p.id = m.pool_id
    LEFT JOIN member_traffic t ON t.member_id = m.id
    WHERE {{place}} AND NOT lb.deleted AND NOT p.deleted AND NOT m.deleted
    GROUP BY lb.id, p.id, m.id ORDER BY lb.created_at, lb.id, p.created_at, p.id, m.created_at, m.id
    LIMIT %(max)s"""  # noqa: S608
