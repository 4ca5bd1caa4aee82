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

from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.store.database import Connection

Node: TypeAlias = LoadBalancer | Listener | Pool | Member | HealthMonitor


CHILDREN: Final = frozenset({"listeners", "pools", "members", "health_monitor"})


class Table(msgspec.Struct, frozen=True):
    """One kind of object: its table, its name in sentences, its value."""

    name: str
    noun: str
    type: type[Node]
    kind: str  # the word of the wire and of events
    below_pool: bool = False


LOAD_BALANCERS: Final = Table("load_balancers", "Load Balancer", LoadBalancer, "loadbalancer")
LISTENERS: Final = Table("listeners", "Listener", Listener, "listener")
POOLS: Final = Table("pools", "Pool", Pool, "pool")
MEMBERS: Final = Table("members", "Member", Member, "member", below_pool=True)
HEALTH_MONITORS: Final = Table(
    "health_monitors", "Health Monitor", HealthMonitor, "healthmonitor", below_pool=True
)
TABLES: Final[Mapping[type[Node], Table]] = {
    table.type: table for table in (LOAD_BALANCERS, LISTENERS, POOLS, MEMBERS, HEALTH_MONITORS)
}

_listener = msgspec.json.Decoder(Listener)
_pool = msgspec.json.Decoder(Pool)
_member = msgspec.json.Decoder(Member)
_health_monitor = msgspec.json.Decoder(HealthMonitor)
_load_balancer = msgspec.json.Decoder(LoadBalancer)


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


DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    table.name: msgspec.json.Decoder(_unchecked(table.type)) for table in TABLES.values()
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


_CHILDREN_SQL: Final = """
SELECT 'listener', load_balancer_id, NULL, body::text, created_at, id
  FROM listeners WHERE {place} AND NOT deleted
UNION ALL
SELECT 'pool', load_balancer_id, id, body::text, created_at, id
  FROM pools WHERE {place} AND NOT deleted
UNION ALL
SELECT 'member', load_balancer_id, pool_id, body::text, created_at, id
  FROM members WHERE {place} AND NOT deleted
UNION ALL
SELECT 'health_monitor', load_balancer_id, pool_id, body::text, created_at, id
  FROM health_monitors WHERE {place} AND NOT deleted
ORDER BY 5, 6
"""
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
    listeners: dict[str, list[Listener]] = defaultdict(list)
    pools: dict[str, list[Pool]] = defaultdict(list)
    members: dict[str, list[Member]] = defaultdict(list)
    monitors: dict[str, HealthMonitor] = {}
    for kind, root, pool, body, _, _ in rows:
        match kind:
            case "listener":
                listeners[root].append(_listener.decode(body))
            case "pool":
                pools[root].append(_pool.decode(body))
            case "member":
                members[pool].append(_member.decode(body))
            case _:
                monitors[pool] = _health_monitor.decode(body)
    return tuple(
        replace(
            root,
            listeners=tuple(listeners[root.id]),
            pools=tuple(
                replace(
                    pool,
                    members=tuple(members[pool.id]),
                    health_monitor=monitors.get(pool.id),
                )
                for pool in pools[root.id]
            ),
        )
        for root in roots
    )


def read_root(body: str) -> LoadBalancer:
    """A load balancer without its children."""
    return _load_balancer.decode(body)
