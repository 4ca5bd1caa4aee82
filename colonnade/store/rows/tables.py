# SPDX-License-Identifier: Apache-2.0
"""Rows of trees and the values they hold: the one place where the two meet.

A row's `body` is its value's own attributes as JSON; children have rows of their own. A body was
checked when it was written, and is checked again when a value is made of it. This
module knows nothing of transactions, generations or statuses.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from colonnade.domain.listeners import packed
from colonnade.domain.node import Node
from colonnade.domain.shape import BELOW, CHILD_FIELDS, LOAD_BALANCERS, OF_TYPE, Noun
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import LenientDecoder

N = TypeVar("N", bound=Node)


def _array_of(kind: Any) -> LenientDecoder[Any]:
    return LenientDecoder(list[kind])


_checked: Final[Mapping[str, LenientDecoder[Any]]] = {
    table.name: _array_of(table.type) for table in BELOW
}
_load_balancer: Final[LenientDecoder[LoadBalancer]] = LenientDecoder(LoadBalancer)


def _unchecked(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
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
    table.name: LenientDecoder(_unchecked(table.type)) for table in OF_TYPE.values()
}


def body_of(node: Node) -> str:
    """The node's own attributes, as its row keeps them."""
    return json_of(own_body(node))


def own_fields(node: Node) -> dict[str, Any]:
    return dict(zip(_OWN[type(node)], own_values(node), strict=True))


def own_values(node: Node) -> tuple[Any, ...]:
    """The same without their names: to be compared with those of another of its kind."""
    values: tuple[Any, ...] = _values[type(node)](node)
    return values


def own_body(node: Node) -> Any:
    """What encodes as its own attributes: where there are no others, it does so itself."""
    return own_fields(node) if OF_TYPE[type(node)].below else node


def json_of(value: Any) -> str:
    """As a parameter for PostgreSQL."""
    return msgspec.json.encode(value).decode()


_OWN: Final = {
    kind: tuple(f for f in kind.__struct_fields__ if f not in CHILD_FIELDS) for kind in OF_TYPE
}
_values: Final[Mapping[type[Node], Any]] = {kind: attrgetter(*_OWN[kind]) for kind in OF_TYPE}


def _select_children(table: Noun) -> str:
    """One row for all children of one parent, for each row costs more than what is in it."""
    parent = table.parent or "NULL::uuid"
    bodies = "'[' || string_agg(body::text, ',' ORDER BY created_at, id) || ']'"
    return (
        f"SELECT '{table.name}', load_balancer_id, {parent}, {bodies}"  # noqa: S608
        f" FROM {table.name} WHERE {{place}} AND NOT deleted GROUP BY 2, 3"
    )


_CHILDREN_SQL: Final = " UNION ALL ".join(map(_select_children, BELOW))
_CHILDREN_OF_ONE: Final = _CHILDREN_SQL.format(place="load_balancer_id = %(id)s")
_CHILDREN_OF_MANY: Final = _CHILDREN_SQL.format(place="load_balancer_id = ANY(%(ids)s::uuid[])")


async def load_trees(
    connection: Connection, roots: Sequence[LoadBalancer]
) -> tuple[LoadBalancer, ...]:
    """The whole trees under these roots, one query for all of them."""
    if not roots:
        return ()
    cursor = await connection.execute(_CHILDREN_OF_MANY, {"ids": [root.id for root in roots]})
    return with_children(roots, await cursor.fetchall())


async def ask_children(connection: Connection, root_id: str) -> Any:
    """The rows under one root, to be fetched later."""
    return await connection.execute(_CHILDREN_OF_ONE, {"id": root_id})


def with_children(
    roots: Sequence[LoadBalancer], rows: Sequence[Sequence[Any]]
) -> tuple[LoadBalancer, ...]:
    """`rows`: (table, root's id, parent's id, bodies as one JSON array in the order of
    creation)."""
    below: dict[str, dict[str, list[Any]]] = {table.name: defaultdict(list) for table in BELOW}
    for table, root, parent, bodies in rows:
        below[table][parent or root] += _checked[table].decode(bodies)
    return tuple(_whole(LOAD_BALANCERS, root, below) for root in roots)


def _whole(table: Noun, node: N, below: Mapping[str, Mapping[str, list[Any]]]) -> N:
    """The node with all that is below it."""
    held: dict[str, Any] = {}
    for noun in table.below:
        children: Sequence[Any] = below[noun.name].get(node.id, ())
        if not children:
            continue
        if noun.below:
            children = [_whole(noun, child, below) for child in children]
        children = arranged(noun, children)
        held[noun.field] = children[0] if noun.alone else tuple(children)
    return replace(node, **held) if held else node


def arranged(table: Noun, children: Sequence[Any]) -> Sequence[Any]:
    """In the order that their own attributes give them, if any."""
    if table.ordered:
        return packed(sorted(children, key=lambda policy: int(policy.position)))
    return children


def read_root(body: str) -> LoadBalancer:
    """A load balancer without its children."""
    return _load_balancer.decode(body)


def read_node(table: Noun, body: str) -> Any:
    """The same for any noun."""
    return (
        read_root(body) if table is LOAD_BALANCERS else _checked[table.name].decode(f"[{body}]")[0]
    )
