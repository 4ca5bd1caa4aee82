# SPDX-License-Identifier: Apache-2.0
"""What each generation of a load balancer changed, who asked for it, and the way back.

A row is as large as its change, not as the tree. For what was altered it keeps the attributes
that differ, before and after; undoing one generation after the other gives the tree of any
generation that is still kept. Where a load balancer is (its VIP, provider, flavor) stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from colonnade.domain.attributes import described
from colonnade.domain.errors import NotFound
from colonnade.domain.node import Node
from colonnade.domain.shape import LOAD_BALANCERS, OF_TYPE
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.runtime.config import KEPT, Kept
from colonnade.store.postgres.database import BATCH_ROWS, Connection
from colonnade.store.rows.difference import Difference, Place, places
from colonnade.store.rows.sentences import Names, plain_name
from colonnade.store.rows.tables import body_of, json_of, own_fields, read_root, with_children

ADDED, ALTERED, REMOVED = "added", "altered", "removed"
_FIXED: Final = frozenset({"id", "cluster_id", "flavor_id"}) | {
    name for name, one in described(LoadBalancer).items() if one.about.fixed
}
_OF_VIP: Final = [name for name, one in described(Vip).items() if not one.about.fixed]
KINDS: Final = {table.kind: table for table in OF_TYPE.values()}

INSERT: Final = """INSERT INTO generations (load_balancer_id, generation, project_id, user_name,
        verb, what, changes, onto)
    VALUES (%(load_balancer_id)s, %(generation)s, %(project)s, %(user)s, %(verb)s, %(what)s,
        %(changes)s, %(onto)s)"""


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """One object. `before` and `after` have the attributes that differ; of an object that comes
    or goes, all."""

    kind: str
    id: str
    action: str
    parent_id: str | None = None
    name: str = ""  # what people call it, as it was before a change of that
    parent_name: str = ""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class Written(msgspec.Struct, frozen=True, kw_only=True):
    load_balancer_id: str
    generation: int
    project: str
    user: str
    verb: str
    what: str
    changes: Sequence[Changed]
    onto: str = ""  # the version of the tree that it changed, and nothing beside it


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    generation: int
    at: datetime
    project: str
    user: str
    verb: str
    what: str
    changes: Sequence[Changed]


def parameters(written: Written) -> dict[str, Any]:
    return msgspec.structs.asdict(written) | {"changes": json_of(written.changes)}


def changes(
    before: LoadBalancer | None, after: LoadBalancer | None, found: Difference
) -> tuple[Changed, ...]:
    """The difference of two trees, with all that is needed to undo it."""
    return tuple(_changes(before, after, found))


def _changes(
    before: LoadBalancer | None, after: LoadBalancer | None, found: Difference
) -> Iterator[Changed]:
    names = Names(before, after)
    if before is None:
        assert after is not None, "a change has a tree before or after"
        yield _whole(Place(LOAD_BALANCERS, after.id, after), ADDED, names)
    elif after is None:
        yield _whole(Place(LOAD_BALANCERS, before.id, before), REMOVED, names)
    elif found.root_altered:
        yield _altered(Place(LOAD_BALANCERS, after.id, before), after, names)
    for place in found.added:
        yield _whole(place, ADDED, names)
    for place in found.altered:
        yield _altered(found.former[place.id], place.own, names)
    for place in found.removed:
        yield _whole(place, REMOVED, names)


def _whole(place: Place, action: str, names: Names) -> Changed:
    side = "after" if action == ADDED else "before"
    return Changed(
        kind=place.table.kind,
        id=place.id,
        action=action,
        parent_id=place.parent_id,
        name=plain_name(place.own),
        parent_name=names.of(place.parent_id),
        **{side: own_fields(place.own)},
    )


def _altered(was: Place, now: Node, parents: Names) -> Changed:
    old, new = own_fields(was.own), own_fields(now)
    names = [name for name in new if old[name] != new[name]]
    return Changed(
        kind=was.table.kind,
        id=was.id,
        action=ALTERED,
        parent_id=was.parent_id,
        name=plain_name(was.own),
        parent_name=parents.of(was.parent_id),
        before={name: old[name] for name in names},
        after={name: new[name] for name in names},
    )


async def generations(
    connection: Connection, load_balancer_id: str, *, below: int | None, limit: int
) -> list[Generation]:
    """The newest first. `below`: only those with a smaller number."""
    cursor = await connection.execute(
        "SELECT generation, at, project_id, user_name, verb, what, changes FROM generations"
        " WHERE load_balancer_id = %s AND (%s::bigint IS NULL OR generation < %s)"
        " ORDER BY generation DESC LIMIT %s",
        [load_balancer_id, below, below, limit],
    )
    names = Generation.__struct_fields__
    return [
        msgspec.convert(dict(zip(names, row, strict=True)), Generation)
        for row in await cursor.fetchall()
    ]


async def at_generation(
    connection: Connection, tree: LoadBalancer, now: int, generation: int
) -> LoadBalancer:
    """The tree as it was; `now`: the generation of `tree`. Raises NotFound for a generation that
    there never was or that is no longer kept."""
    cursor = await connection.execute(
        "SELECT generation, changes FROM generations"
        " WHERE load_balancer_id = %s AND generation BETWEEN %s AND %s ORDER BY generation DESC",
        [tree.id, generation, now],
    )
    rows = await cursor.fetchall()
    # The oldest are forgotten first, so where this one is kept, all after it are.
    if not rows or rows[-1][0] != generation:
        raise NotFound(
            f"Generation {generation} of Load Balancer {tree.id} not found: it never existed, or is"
            " no longer kept."
        )
    past = _Past(tree)
    for _, changed in rows[:-1]:
        past.undo(msgspec.convert(changed, tuple[Changed, ...]))
    return past.tree()


class _Past:
    """A tree on its way back, as rows."""

    def __init__(self, tree: LoadBalancer) -> None:
        self._now = tree
        self._root: dict[str, Any] = msgspec.json.decode(body_of(tree))
        self._rows: dict[str, tuple[str, str | None, dict[str, Any]]] = {
            place.id: (place.table.name, place.parent_id, _plain(own_fields(place.own)))
            for place in places(tree).values()
        }

    def undo(self, changed: Sequence[Changed]) -> None:
        for change in changed:
            if change.kind == LOAD_BALANCERS.kind:
                self._undo_root(change.before or {})
            elif change.action == ADDED:
                self._rows.pop(change.id, None)
            elif change.action == REMOVED:
                body = change.before or {}
                self._rows[change.id] = (KINDS[change.kind].name, change.parent_id, body)
            else:
                table, parent, body = self._rows[change.id]
                self._rows[change.id] = (table, parent, body | (change.before or {}))

    def _undo_root(self, before: Mapping[str, Any]) -> None:
        kept = {name: value for name, value in before.items() if name not in _FIXED}
        vip = kept.pop("vip", None)
        if vip is not None:
            words = {name: vip[name] for name in _OF_VIP}
            kept["vip"] = self._root["vip"] | words
        self._root |= kept

    def tree(self) -> LoadBalancer:
        root = replace(read_root(json_of(self._root)), cluster_id=self._now.cluster_id)
        rows = [
            (table, root.id, parent, json_of([body])) for table, parent, body in self._rows.values()
        ]
        (tree,) = with_children([root], rows)
        return tree


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(fields)
    return plain


async def forget_old(connection: Connection, kept: Kept = KEPT) -> int:
    """Delete one batch of generations that are too old and one of those that are too many, the
    oldest first: what is kept has no gaps. The newest always stays. Returns how many went."""
    old = await connection.execute(
        """DELETE FROM generations WHERE (load_balancer_id, generation) IN (
            SELECT g.load_balancer_id, g.generation FROM generations g
            WHERE at < now() - make_interval(secs => %(days)s * 86400)
              AND generation < (SELECT max(generation) FROM generations n
                WHERE n.load_balancer_id = g.load_balancer_id)
            ORDER BY at LIMIT %(batch)s FOR UPDATE SKIP LOCKED)""",
        {"days": kept.generations_days, "batch": BATCH_ROWS},
    )
    many = await connection.execute(
        """WITH many AS (SELECT load_balancer_id,
                (array_agg(generation ORDER BY generation DESC))[%(kept)s] AS oldest
            FROM generations GROUP BY load_balancer_id HAVING count(*) > %(kept)s)
        DELETE FROM generations WHERE (load_balancer_id, generation) IN (
            SELECT g.load_balancer_id, g.generation FROM generations g
            JOIN many USING (load_balancer_id) WHERE g.generation < many.oldest
            ORDER BY g.generation LIMIT %(batch)s FOR UPDATE OF g SKIP LOCKED)""",
        {"kept": kept.generations_max, "batch": BATCH_ROWS},
    )
    return old.rowcount + many.rowcount
