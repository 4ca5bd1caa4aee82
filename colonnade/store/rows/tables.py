# SPDX-License-Identifier: Apache-2.0
"""Rows of trees and the values they hold: the one place where the two meet.

A row's `body` is its value's own attributes as JSON; children have rows of their own. What is
decoded here was checked when it was written, and is checked again as the value is made. This
module knows nothing of transactions, generations or statuses.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import LenientDecoder

Node: TypeAlias = LoadBalancer | Listener | Pool | Member | HealthMonitor | L7Policy | L7Rule


CHILDREN: Final = frozenset(
    {"listeners", "pools", "members", "health_monitor", "l7policies", "rules"}
)


class Table(msgspec.Struct, frozen=True):
    """One kind of object: its table, its name in sentences, its value."""

    name: str
    noun: str
    type: type[Node]
    kind: str  # the word of the wire and of events
    parent: str = ""  # the column that names its parent, when that is not the load balancer


LOAD_BALANCERS: Final = Table("load_balancers", "Load Balancer", LoadBalancer, "loadbalancer")
LISTENERS: Final = Table("listeners", "Listener", Listener, "listener")
POOLS: Final = Table("pools", "Pool", Pool, "pool")
MEMBERS: Final = Table("members", "Member", Member, "member", "pool_id")
HEALTH_MONITORS: Final = Table(
    "health_monitors", "Health Monitor", HealthMonitor, "healthmonitor", "pool_id"
)
L7POLICIES: Final = Table("l7policies", "L7 Policy", L7Policy, "l7policy", "listener_id")
L7RULES: Final = Table("l7rules", "L7 Rule", L7Rule, "l7rule", "l7policy_id")
# Parents before children.
BELOW: Final = (LISTENERS, POOLS, MEMBERS, HEALTH_MONITORS, L7POLICIES, L7RULES)
TABLES: Final[Mapping[type[Node], Table]] = {
    table.type: table for table in (LOAD_BALANCERS, *BELOW)
}


def _array_of(kind: Any) -> LenientDecoder[Any]:
    return LenientDecoder(list[kind])


_checked: Final[Mapping[str, LenientDecoder[Any]]] = {
    table.name: _array_of(table.type) for table in BELOW
}
_load_balancer: Final[LenientDecoder[LoadBalancer]] = LenientDecoder(LoadBalancer)


def _unchecked(kind: type[Node]) -> type[msgspec.Struct]:
    """The same attributes without the checks: what is only shown was checked as it was stored,
    and a list has a thousand of them."""
    fields: list[Any] = []
    for one in msgspec.structs.fields(kind):
        if one.required:
            fields.append((one.name, one.type))
        elif one.default is not msgspec.NODEFAULT:
            fields.append((one.name, one.type, one.default))
        else:
            fields.append((one.name, one.type, msgspec.field(default_factory=one.default_factory)))
    return msgspec.defstruct(kind.__name__, fields, frozen=True, kw_only=True)


DECODERS: Final[Mapping[str, LenientDecoder[Any]]] = {
    table.name: LenientDecoder(_unchecked(table.type)) for table in TABLES.values()
}


def body_of(node: Node) -> str:
    """The node's own attributes, as its row keeps them."""
    return json_of(own_fields(node))


def own_fields(node: Node) -> dict[str, Any]:
    return {f: getattr(node, f) for f in _OWN[type(node)]}


def json_of(value: Any) -> str:
    """As a parameter for PostgreSQL."""
    return msgspec.json.encode(value).decode()


_OWN: Final = {
    kind: tuple(f for f in kind.__struct_fields__ if f not in CHILDREN) for kind in TABLES
}


def _select_children(table: Table) -> str:
    """One row for all children of one parent, for each row costs more than what is in it."""
    parent = table.parent or "NULL::uuid"
    bodies = "'[' || string_agg(body::text, ',' ORDER BY created_at, id) || ']'"
    return (
        f"SELECT '{table.name}', load_balancer_id, {parent}, {bodies}"  # noqa: S608
        f" FROM {table.name} WHERE {{place}} AND NOT deleted GROUP BY 2, 3"
    )


_CHILDREN_SQL: Final = " UNION ALL ".join(map(_select_children, BELOW))
_CHILDREN_OF_MANY: Final = _CHILDREN_SQL.format(place="load_balancer_id = ANY(%(ids)s::uuid[])")


async def load_trees(
    connection: Connection, roots: Sequence[LoadBalancer]
) -> tuple[LoadBalancer, ...]:
    """The whole trees under these roots, one query for all of them."""
    if not roots:
        return ()
    cursor = await connection.execute(_CHILDREN_OF_MANY, {"ids": [root.id for root in roots]})
    return with_children(roots, await cursor.fetchall())


async def ask_children(connection: Connection, of_root: str, object_id: str) -> Any:
    """The rows under one root, to be fetched later. `of_root`: the root's id as SQL, from that of
    an object, `%(id)s`."""
    place = f"load_balancer_id = {of_root}"
    return await connection.execute(_CHILDREN_SQL.format(place=place).encode(), {"id": object_id})


def with_children(
    roots: Sequence[LoadBalancer], rows: Sequence[Sequence[Any]]
) -> tuple[LoadBalancer, ...]:
    """`rows`: (table, root's id, parent's id, bodies as one JSON array in the order of
    creation)."""
    below: dict[str, dict[str, list[Any]]] = {table.name: defaultdict(list) for table in BELOW}
    for table, root, parent, bodies in rows:
        below[table][parent or root] += _checked[table].decode(bodies)
    return tuple(
        replace(
            root,
            listeners=tuple(_listener(x, below) for x in below[LISTENERS.name][root.id]),
            pools=tuple(_pool(pool, below) for pool in below[POOLS.name][root.id]),
        )
        for root in roots
    )


def _pool(pool: Pool, below: Mapping[str, Mapping[str, list[Any]]]) -> Pool:
    monitors = below[HEALTH_MONITORS.name][pool.id]
    members = tuple(below[MEMBERS.name][pool.id])
    if not members and not monitors:
        return pool
    return replace(pool, members=members, health_monitor=monitors[0] if monitors else None)


def _listener(listener: Listener, below: Mapping[str, Mapping[str, list[Any]]]) -> Listener:
    policies = below[L7POLICIES.name][listener.id]
    if not policies:
        return listener
    rules = below[L7RULES.name]
    return listener.with_policies(
        replace(policy, rules=tuple(rules[policy.id]))
        for policy in sorted(policies, key=lambda policy: policy.position)
    )


def read_root(body: str) -> LoadBalancer:
    """A load balancer without its children."""
    return _load_balancer.decode(body)
