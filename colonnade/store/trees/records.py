# SPDX-License-Identifier: Apache-2.0
"""Trees as they are shown: each object with the facts that its status is computed from.

A list of any length is one query, with the ids of children in it. What a filter or a sort key
may name is the table of expressions below, so that no text of a caller becomes SQL. This module
writes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import msgspec
import structlog

from colonnade.domain.attributes import Described, described
from colonnade.domain.errors import POLICY, Forbidden, NotFound
from colonnade.domain.ids import ProjectId
from colonnade.domain.node import Node
from colonnade.domain.shape import (
    BELOW,
    HEALTH_MONITORS,
    L7POLICIES,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    OF_TYPE,
    POOLS,
    Noun,
)
from colonnade.domain.status import Applied, Operating, Provisioning, provisioning
from colonnade.store.fleet.clusters import Failure
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import Newer
from colonnade.store.postgres.listing import Source, Wanted
from colonnade.store.rows.tables import DECODERS
from colonnade.store.trees.remembered import Issue

log = structlog.get_logger()

T = TypeVar("T", bound=Node)


class Record(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One object and its facts. `value` has no children; their ids are beside it."""

    value: T
    project_id: ProjectId
    load_balancer_id: str
    created: int
    changed: int
    deleted: bool
    created_at: datetime
    updated_at: datetime | None
    is_new: bool = False  # what the transaction that made it knows, not what is stored
    operating: Operating
    operating_reason: str = ""
    operating_since: datetime | None = None  # None: nothing was heard of it yet
    applied: Applied
    is_noop: bool = False  # nothing serves it, so nobody reports on it
    parent_id: str | None = None  # as the table's own column names it
    below: Mapping[str, Sequence[str]] = {}  # ids of children, by their word on the wire
    user_ids: Sequence[str] = ()  # of a pool: the listeners that send requests to it
    issues: Sequence[Issue] = ()
    last_error: Failure | None = None  # of its cluster, whoever's fault it is

    @property
    def provisioning(self) -> Provisioning:
        return provisioning(
            created=self.created, changed=self.changed, deleted=self.deleted, applied=self.applied
        )


_SETTLED = "t.changed <= c.applied_lowest"
# The same rule as `domain.status.provisioning`, for filters; a test holds the two together.
_PROVISIONING: Final = (
    f"CASE WHEN NOT {_SETTLED} AND c.failed_at >= t.changed THEN 'ERROR'"
    " WHEN t.deleted THEN 'PENDING_DELETE'"
    f" WHEN {_SETTLED} THEN 'ACTIVE'"
    " WHEN t.created > c.highest_settled THEN 'PENDING_CREATE' ELSE 'PENDING_UPDATE' END"
)


def _ids(noun: str, which: str, order: str = "x.created_at") -> str:
    return (
        f"ARRAY(SELECT x.id FROM {noun} x WHERE {which} AND NOT x.deleted"  # noqa: S608
        f" ORDER BY {order}, x.id)"
    )


def _ids_below(noun: Noun) -> str:
    order = "(x.body -> 'position')::int" if noun is L7POLICIES else "x.created_at"
    return _ids(noun.name, f"x.{noun.parent or 'load_balancer_id'} = t.id", order)


_USERS: Final = _ids(
    "listeners",
    "x.load_balancer_id = t.load_balancer_id"
    " AND (x.body ->> 'default_pool_id' = t.id::text OR x.id IN"
    " (SELECT p.listener_id FROM l7policies p"
    " WHERE p.load_balancer_id = t.load_balancer_id AND NOT p.deleted"
    " AND (p.body ->> 'redirect_pool_id' = t.id::text OR p.body -> 'redirect_pools'"
    " @> jsonb_build_array(jsonb_build_object('pool_id', t.id)))))",
)
_MONITOR: Final = "(SELECT x.id FROM health_monitors x WHERE x.pool_id = t.id AND NOT x.deleted)"


def _extras(table: Noun) -> str:
    """What `_record` finds after the facts."""
    users = [_USERS] if table is POOLS else []
    last = f"t.{table.parent}" if table.parent else "lb.issues"
    return ", ".join([*map(_ids_below, table.below), *users, last])


# What no amphora serves any more is gone for users, though its row may wait to be purged.
_FROM: Final[Mapping[str, str]] = {
    name: (
        " FROM load_balancers t JOIN load_balancers lb ON lb.id = t.id"
        " JOIN clusters c ON c.id = lb.cluster_id"
        if name == LOAD_BALANCERS.name
        else f" FROM {name} t JOIN load_balancers lb ON lb.id = t.load_balancer_id"
        " JOIN clusters c ON c.id = lb.cluster_id"
        " AND NOT (t.deleted AND t.changed <= c.applied_lowest)"
    )
    for name in DECODERS
}
_FACTS: Final = (
    "t.id, t.body::text, t.project_id, lb.id, t.created, t.changed, t.deleted, t.created_at,"
    " t.updated_at, t.operating_status, c.applied_lowest, c.highest_settled, c.failed_at,"
    " c.last_error::text, t.operating_reason, t.operating_since,"
    " c.noop_amphora_id IS NOT NULL"
)


def _lists(table: Noun) -> dict[str, str]:
    """The ids that are shown as lists."""
    found = {noun.word: _ids_below(noun) for noun in table.below if not noun.alone}
    if table.above is LOAD_BALANCERS:
        found["loadbalancers"] = "ARRAY[lb.id]"
    if table is POOLS:
        found["listeners"] = _USERS
    if table is HEALTH_MONITORS:
        found["pools"] = "ARRAY[t.pool_id]"
    return found


_IS_UP: Final = "(t.body -> 'admin_state_up')::boolean"
_QUIET: Final = (
    f"CASE WHEN {_IS_UP} AND {_PROVISIONING} = 'ACTIVE' THEN 'ONLINE' ELSE 'OFFLINE' END"
)
# As `api/resources/shown.py` shows it; a test walks every attribute and holds the two together.
_OF_MONITORS: Final = (
    "CASE WHEN t.operating_since IS NOT NULL"
    f" AND t.operating_status = 'OFFLINE' THEN 'OFFLINE' ELSE {_QUIET} END"
)
_TOLD: Final = (
    f"CASE WHEN {_IS_UP} OR c.noop_amphora_id IS NOT NULL THEN t.operating_status"
    " ELSE 'OFFLINE' END"
)


def _own(table: Noun) -> list[Described]:
    """The attributes that a word of a query can be the value of."""
    attributes = described(table.type).values()
    return [one for one in attributes if one.about.shown and not one.has_parts]


def _is_found_by_item(one: Described) -> bool:
    return one.is_list and one.name != "tags"  # which have words of their own


def _stored(one: Described) -> str:
    holder = f"t.body -> '{one.within}'" if one.within else "t.body"
    value = f"coalesce({holder} -> '{one.field}', 'null')"
    if _is_found_by_item(one):
        return f"ARRAY(SELECT jsonb_array_elements_text(nullif({value}, 'null')))"
    return value


def _attributes(table: Noun) -> dict[str, str]:
    """Each name that a filter or sort key may have, as an expression that is never NULL."""
    found = {one.name: _stored(one) for one in _own(table)}
    operating = _TOLD if table.reported else _QUIET
    if table is HEALTH_MONITORS:
        operating = _OF_MONITORS
    found |= {
        "id": "t.id",
        "project_id": "t.project_id",
        "tenant_id": "t.project_id",
        "created_at": "t.created_at",
        "updated_at": f"coalesce(t.updated_at, CASE {_PROVISIONING} WHEN 'PENDING_CREATE'"
        " THEN 'epoch' ELSE t.created_at END)",
        "operating_status": f"({operating})",
        "provisioning_status": f"({_PROVISIONING})",
        "loadbalancer_id": "lb.id",
    }
    found |= {n: f"({ids})::text[]" for n, ids in _lists(table).items()}
    if table.reported:
        found["operating_status_reason"] = (
            f"CASE WHEN {operating} = t.operating_status THEN t.operating_reason ELSE '' END"
        )
        found["operating_status_since"] = "coalesce(t.operating_since, 'epoch')"
    if table is LOAD_BALANCERS:
        found["vip_vnic_type"] = "left(t.id::text, 0) || 'normal'"
    if table is POOLS:
        found["healthmonitor_id"] = f"coalesce({_MONITOR}::text, '')"
    if table is MEMBERS:
        sriov = "coalesce((t.body -> 'request_sriov')::boolean, false)"
        found["vnic_type"] = f"CASE WHEN {sriov} THEN 'direct' ELSE 'normal' END"
    if table.parent:
        found[table.parent] = f"t.{table.parent}"
    return found


def _source(table: Noun) -> Source:
    own = _own(table)
    lists = {one.name for one in own if _is_found_by_item(one)}
    return Source(
        columns=f"{_FACTS}, {_extras(table)}",
        place=_FROM[table.name],
        attributes=_attributes(table),
        ids=frozenset({"id", "loadbalancer_id", table.parent}),
        times=frozenset({"created_at", "updated_at", "operating_status_since"}),
        addresses=frozenset(one.name for one in own if one.about.is_address),
        flags=frozenset(one.name for one in own if one.item is bool),
        lists=lists | _lists(table).keys(),
    )


SOURCES: Final[Mapping[str, Source]] = {table.name: _source(table) for table in OF_TYPE.values()}


async def find(connection: Connection, table: Noun, wanted: Wanted) -> list[Record[Any]]:
    """Objects in order, one page of them. Raises Invalid for names that there are not."""
    found = await listing.rows(connection, SOURCES[table.name], wanted)
    return [record for row in found if (record := _readable(table, row)) is not None]


async def get(
    connection: Connection, table: Noun, object_id: str, *, project: ProjectId | None
) -> Record[Any]:
    """One object. Raises NotFound, Forbidden."""
    row = await listing.row(connection, SOURCES[table.name], object_id)
    if row is None:
        raise NotFound(f"{table.noun} {object_id} not found.")
    record = _record(table, row)
    if project is not None and record.project_id != project:
        raise Forbidden(POLICY)
    return record


async def projects_of(
    connection: Connection, load_balancer_ids: Sequence[str]
) -> dict[str, ProjectId]:
    """Whose load balancers these are, as far as there are such."""
    cursor = await connection.execute(
        "SELECT id, project_id FROM load_balancers WHERE id = ANY(%s::uuid[])",
        [list(load_balancer_ids)],
    )
    return {row[0]: ProjectId(row[1]) for row in await cursor.fetchall()}


async def projects_of_vips(connection: Connection, port_ids: Sequence[str]) -> dict[str, ProjectId]:
    """Whose VIPs these ports are, as far as they are any."""
    cursor = await connection.execute(
        """SELECT body -> 'vip' ->> 'port_id', project_id FROM load_balancers
        WHERE NOT deleted AND body -> 'vip' ->> 'port_id' = ANY(%s::text[])""",
        [list(port_ids)],
    )
    return {row[0]: ProjectId(row[1]) for row in await cursor.fetchall()}


async def below(connection: Connection, load_balancer_id: str) -> dict[str, list[Record[Any]]]:
    """All objects under a load balancer, by the name of their table."""
    wanted = Wanted(filters={"loadbalancer_id": [load_balancer_id]})
    return {table.name: await find(connection, table, wanted) for table in BELOW}


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The five counters of the wire contract."""

    active_connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    request_errors: int = 0
    total_connections: int = 0


def bounded(total: str) -> str:
    """SQL of a total as a bigint, at most the largest that there is; 0 where nothing is summed."""
    return f"least(coalesce({total}, 0), {2**63 - 1})::bigint"


async def statistics(connection: Connection, table: Noun, object_id: str) -> Statistics:
    """Sums over all amphorae that ever served the listener, or the load balancer's listeners."""
    column = "l.id" if table is LISTENERS else "l.load_balancer_id"
    sums = ", ".join(bounded(f"sum(s.{name})") for name in Statistics.__struct_fields__)
    cursor = await connection.execute(
        f"SELECT {sums} FROM statistics s JOIN listeners l ON l.id = s.listener_id"  # noqa: S608
        f" WHERE {column} = %s AND NOT l.deleted",
        [object_id],
    )
    row = await cursor.fetchone()
    assert row is not None, "a sum always has a row"
    return Statistics(**dict(zip(Statistics.__struct_fields__, row, strict=True)))


def _readable(table: Noun, row: Sequence[Any]) -> Record[Any] | None:
    """None: what only a newer release can read. The others of a list are shown."""
    try:
        return _record(table, row)
    except Newer as error:
        log.warning("left out of a list", table=table.name, id=row[0], reason=str(error))
        return None


def _record(table: Noun, row: Sequence[Any]) -> Record[Any]:
    """The facts are the first columns, and what `_extras` says the rest."""
    return Record(
        value=DECODERS[table.name].decode(row[1]),
        project_id=row[2],
        load_balancer_id=row[3],
        created=row[4],
        changed=row[5],
        deleted=row[6],
        created_at=row[7],
        updated_at=row[8],
        operating=_OPERATING.get(row[9], Operating.OFFLINE),
        applied=Applied(lowest=row[10], highest_settled=row[11], failed_at=row[12]),
        last_error=_FAILURE.decode(row[13]) if row[13] is not None else None,
        operating_reason=row[14],
        operating_since=row[15],
        is_noop=row[16],
        **_own_facts(table, row[0], row[17:]),
    )


def _own_facts(table: Noun, object_id: str, extras: Sequence[Any]) -> dict[str, Any]:
    words = _WORDS_BELOW[table.name]
    found: dict[str, Any] = {"below": dict(zip(words, extras))} if words else {}  # noqa: B905
    if table.parent:
        found["parent_id"] = extras[-1]
        return found
    if table is POOLS:
        found["user_ids"] = extras[-2]
    path = "" if table is LOAD_BALANCERS else f"{table.name}/{object_id}"
    found["issues"] = _issues(extras[-1], path) if extras[-1] else ()
    return found


_WORDS_BELOW: Final = {t.name: tuple(noun.word for noun in t.below) for t in OF_TYPE.values()}
_FAILURE: Final = msgspec.json.Decoder(Failure)
_OPERATING: Final = {status.value: status for status in Operating}


def _issues(found: Sequence[Mapping[str, str]], path: str) -> tuple[Issue, ...]:
    return tuple(Issue(**issue) for issue in found if issue["path"].startswith(path))
