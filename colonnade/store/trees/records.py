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

from colonnade.domain.errors import Forbidden, NotFound
from colonnade.domain.ids import ProjectId
from colonnade.domain.status import Applied, Operating, Provisioning, provisioning
from colonnade.store.fleet.clusters import Failure
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import Newer
from colonnade.store.postgres.listing import Source, Wanted
from colonnade.store.rows.tables import (
    BELOW,
    CHILDREN,
    DECODERS,
    HEALTH_MONITORS,
    L7POLICIES,
    L7RULES,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    POOLS,
    TABLES,
    Node,
    Table,
)
from colonnade.store.trees.remembered import Issue
from colonnade.store.trees.wishes import POLICY

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
    listener_ids: Sequence[str] = ()
    pool_ids: Sequence[str] = ()
    member_ids: Sequence[str] = ()
    health_monitor_id: str | None = None
    policy_ids: Sequence[str] = ()
    rule_ids: Sequence[str] = ()
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

_IDS = "ARRAY(SELECT x.id FROM {} x WHERE {} AND NOT x.deleted ORDER BY x.created_at, x.id)"
_USERS: Final = _IDS.format(
    "listeners",
    "x.load_balancer_id = t.load_balancer_id"
    " AND (x.body ->> 'default_pool_id' = t.id::text OR x.id IN"
    " (SELECT p.listener_id FROM l7policies p"
    " WHERE p.load_balancer_id = t.load_balancer_id AND NOT p.deleted"
    " AND (p.body ->> 'redirect_pool_id' = t.id::text OR p.body -> 'redirect_pools'"
    " @> jsonb_build_array(jsonb_build_object('pool_id', t.id)))))",
)
_MONITOR: Final = "(SELECT x.id FROM health_monitors x WHERE x.pool_id = t.id AND NOT x.deleted)"
_OF_VIP: Final = (
    "vip_address",
    "vip_port_id",
    "vip_subnet_id",
    "vip_network_id",
    "vip_qos_policy_id",
    "vip_sg_ids",
)
_EXTRAS: Final[Mapping[str, str]] = {
    LOAD_BALANCERS.name: ", ".join(
        [
            _IDS.format("listeners", "x.load_balancer_id = t.id"),
            _IDS.format("pools", "x.load_balancer_id = t.id"),
            "lb.issues",
        ]
    ),
    LISTENERS.name: "ARRAY(SELECT x.id FROM l7policies x WHERE x.listener_id = t.id"
    " AND NOT x.deleted ORDER BY (x.body -> 'position')::int, x.id), lb.issues",
    POOLS.name: ", ".join(
        [
            _IDS.format("members", "x.pool_id = t.id"),
            _USERS,
            _MONITOR,
            "lb.issues",
        ]
    ),
    MEMBERS.name: "t.pool_id",
    HEALTH_MONITORS.name: "t.pool_id",
    L7POLICIES.name: "t.listener_id, " + _IDS.format("l7rules", "x.l7policy_id = t.id"),
    L7RULES.name: "t.l7policy_id",
}
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
    for name in _EXTRAS
}
_FACTS: Final = (
    "t.id, t.body::text, t.project_id, lb.id, t.created, t.changed, t.deleted, t.created_at,"
    " t.updated_at, t.operating_status, c.applied_lowest, c.highest_settled, c.failed_at,"
    " c.last_error::text, t.operating_reason, t.operating_since,"
    " c.noop_amphora_id IS NOT NULL"
)


# What has a shape of its own cannot be named by a word of a query; the rest is not shown.
_UNFILTERED: Final = CHILDREN | {
    "vip",
    "additional_vips",
    "cluster_id",
    "insert_headers",
    "access_log",
    "session_persistence",
    "outlier_ejection",
    "request_sriov",
    "redirect_pools",
    "rate_limit",
    "fixed_response",
    "rewrite",
}
_TEXTS: Final = frozenset(
    {"allowed_cidrs", "sni_container_refs", "tls_versions", "alpn_protocols", "vip_sg_ids"}
)
_IDS_SHOWN: Final[Mapping[str, Mapping[str, str]]] = {
    LOAD_BALANCERS.name: {
        "listeners": _IDS.format("listeners", "x.load_balancer_id = t.id"),
        "pools": _IDS.format("pools", "x.load_balancer_id = t.id"),
    },
    LISTENERS.name: {
        "l7policies": _IDS.format("l7policies", "x.listener_id = t.id"),
        "loadbalancers": "ARRAY[lb.id]",
    },
    POOLS.name: {
        "members": _IDS.format("members", "x.pool_id = t.id"),
        "listeners": _USERS,
        "loadbalancers": "ARRAY[lb.id]",
    },
    MEMBERS.name: {},
    HEALTH_MONITORS.name: {"pools": "ARRAY[t.pool_id]"},
    L7POLICIES.name: {"rules": _IDS.format("l7rules", "x.l7policy_id = t.id")},
    L7RULES.name: {},
}
_IS_UP: Final = "(t.body -> 'admin_state_up')::boolean"
_QUIET: Final = (
    f"CASE WHEN {_IS_UP} AND {_PROVISIONING} = 'ACTIVE' THEN 'ONLINE' ELSE 'OFFLINE' END"
)
# As `api/resources/shown.py` shows it; a test walks every attribute and holds the two together.
_OPERATING_OF: Final[Mapping[str, str]] = {
    HEALTH_MONITORS.name: "CASE WHEN t.operating_since IS NOT NULL"
    f" AND t.operating_status = 'OFFLINE' THEN 'OFFLINE' ELSE {_QUIET} END",
    L7POLICIES.name: _QUIET,
    L7RULES.name: _QUIET,
}
_TOLD: Final = (
    f"CASE WHEN {_IS_UP} OR c.noop_amphora_id IS NOT NULL THEN t.operating_status"
    " ELSE 'OFFLINE' END"
)


def _attributes(table: Table) -> dict[str, str]:
    """Each name that a filter or sort key may have, as an expression that is never NULL."""
    own = [f for f in table.type.__struct_fields__ if f not in _UNFILTERED]
    found = {f: f"coalesce(t.body -> '{f}', 'null')" for f in own}
    operating = _OPERATING_OF.get(table.name, _TOLD)
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
    found |= {n: f"({ids})::text[]" for n, ids in _IDS_SHOWN[table.name].items()}
    if table in (L7POLICIES, L7RULES):
        if table is L7RULES:
            del found["name"]  # it has none on the wire
    else:
        found["operating_status_reason"] = (
            f"CASE WHEN {operating} = t.operating_status THEN t.operating_reason ELSE '' END"
        )
        found["operating_status_since"] = "coalesce(t.operating_since, 'epoch')"
    if table is LOAD_BALANCERS:
        for name in _OF_VIP:
            key = name.removeprefix("vip_")
            found[name] = f"coalesce(t.body -> 'vip' -> '{key}', 'null')"
        found["vip_vnic_type"] = "left(t.id::text, 0) || 'normal'"
    if table is POOLS:
        found["healthmonitor_id"] = f"coalesce({_MONITOR}::text, '')"
    if table is MEMBERS:
        sriov = "coalesce((t.body -> 'request_sriov')::boolean, false)"
        found["vnic_type"] = f"CASE WHEN {sriov} THEN 'direct' ELSE 'normal' END"
    if table.parent:
        found[table.parent] = f"t.{table.parent}"
    for name in _TEXTS & found.keys():
        found[name] = f"ARRAY(SELECT jsonb_array_elements_text(nullif({found[name]}, 'null')))"
    return found


def _source(table: Table) -> Source:
    attributes = _attributes(table)
    return Source(
        columns=f"{_FACTS}, {_EXTRAS[table.name]}",
        place=_FROM[table.name],
        attributes=attributes,
        ids=frozenset({"id", "loadbalancer_id", table.parent}),
        times=frozenset({"created_at", "updated_at", "operating_status_since"}),
        addresses=frozenset({"address", "monitor_address", "vip_address"}),
        lists=(_TEXTS | _IDS_SHOWN[table.name].keys()) & attributes.keys(),
    )


SOURCES: Final[Mapping[str, Source]] = {table.name: _source(table) for table in TABLES.values()}


async def find(connection: Connection, table: Table, wanted: Wanted) -> list[Record[Any]]:
    """Objects in order, one page of them. Raises Invalid for names that there are not."""
    found = await listing.rows(connection, SOURCES[table.name], wanted)
    return [record for row in found if (record := _readable(table, row)) is not None]


async def get(
    connection: Connection, table: Table, object_id: str, *, project: ProjectId | None
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


async def statistics(connection: Connection, table: Table, object_id: str) -> Statistics:
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


def _readable(table: Table, row: Sequence[Any]) -> Record[Any] | None:
    """None: what only a newer release can read. The others of a list are shown."""
    try:
        return _record(table, row)
    except Newer as error:
        log.warning("left out of a list", table=table.name, id=row[0], reason=str(error))
        return None


def _record(table: Table, row: Sequence[Any]) -> Record[Any]:
    """The facts are the first columns and `extras` the rest, as `_EXTRAS` has them."""
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
        **_extras(table, row[0], row[17:]),
    )


def _extras(table: Table, object_id: str, extras: Sequence[Any]) -> dict[str, Any]:
    if table is LOAD_BALANCERS:
        listeners, pools, issues = extras
        return {
            "listener_ids": listeners,
            "pool_ids": pools,
            "issues": _issues(issues, ""),
        }
    if table is LISTENERS:
        policies, issues = extras
        return {"policy_ids": policies, "issues": _issues(issues, f"listeners/{object_id}")}
    if table is POOLS:
        members, listeners, monitor, issues = extras
        return {
            "member_ids": members,
            "listener_ids": listeners,
            "health_monitor_id": monitor,
            "issues": _issues(issues, f"pools/{object_id}"),
        }
    if table is L7POLICIES:
        return {"parent_id": extras[0], "rule_ids": extras[1]}
    return {"parent_id": extras[0]}


_FAILURE: Final = msgspec.json.Decoder(Failure)
_OPERATING: Final = {status.value: status for status in Operating}


def _issues(found: Sequence[Mapping[str, str]], path: str) -> tuple[Issue, ...]:
    return tuple(Issue(**issue) for issue in found if issue["path"].startswith(path))
