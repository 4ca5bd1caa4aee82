# SPDX-License-Identifier: Apache-2.0
"""What a row of a tree's noun shows, and can be asked for by, as SQL.

The columns are those of `Record` in `records.py`, in its order. What a filter or a sort key may
name is a table of expressions, so that no text of a caller becomes SQL. Nothing is asked here.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from colonnade.domain.attributes import Described, described
from colonnade.domain.shape import (
    HEALTH_MONITORS,
    L7POLICIES,
    LOAD_BALANCERS,
    MEMBERS,
    OF_TYPE,
    POOLS,
    Noun,
)
from colonnade.store.postgres.listing import Source
from colonnade.store.postgres.times import time_sql
from colonnade.store.rows.tables import DECODERS

_SETTLED = "t.changed <= c.applied_lowest"
# The same rule as `domain.status.provisioning`; a test holds the two together.
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


# A deleted object is hidden as soon as no amphora serves it. Its row may be purged later.
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


def _columns(table: Noun) -> str:
    """The fields of `Record` as `records.py` reads them: first what it decodes."""
    has_parent = bool(table.parent)
    return ", ".join(
        (
            "t.body::text",
            f"{_PROVISIONING}",
            "t.operating_status",
            "NULL::text" if has_parent else "nullif(lb.issues, '[]')::text",
            "c.last_error::text",
            "t.project_id",
            "lb.id",
            f"t.{table.parent}" if has_parent else "NULL::uuid",
            time_sql("t.created_at"),
            time_sql("t.updated_at"),
            "t.operating_reason",
            time_sql("t.operating_since"),
            "c.noop_amphora_id IS NOT NULL",
            _USERS if table is POOLS else "NULL::uuid[]",
            "NULL::text" if has_parent else "c.topology",
            *map(_ids_below, table.below),
        )
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
        found["topology"] = "c.topology"
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
        columns=_columns(table),
        place=_FROM[table.name],
        attributes=_attributes(table),
        ids=frozenset({"id", "loadbalancer_id", table.parent}),
        times=frozenset({"created_at", "updated_at", "operating_status_since"}),
        addresses=frozenset(one.name for one in own if one.about.is_address),
        flags=frozenset(one.name for one in own if one.item is bool),
        lists=lists | _lists(table).keys(),
        indexed={"name": "t.body ->> 'name'"} if table is LOAD_BALANCERS else {},
    )


SOURCES: Final[Mapping[str, Source]] = {table.name: _source(table) for table in OF_TYPE.values()}
# Of one object whose project is all that is asked for.
OWNERS: Final[Mapping[str, Source]] = {
    name: replace(source, columns="t.project_id") for name, source in SOURCES.items()
}
