# SPDX-License-Identifier: Apache-2.0
"""A whole tree as it is stored now: remembered and looked at, caught up with, or loaded.

A tree that is remembered is not loaded again because others have written it: what they changed is
in the history. It is used only if it leads, change by change, from the remembered version to the
stored one; a writer that leaves no history breaks the chain, and the tree is loaded.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from colonnade.domain.errors import POLICY, Conflict, Contended, Forbidden, NotFound
from colonnade.domain.ids import ProjectId
from colonnade.domain.shape import LOAD_BALANCERS, Noun
from colonnade.store.catalogue import quotas
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.rows.history import KINDS, Changed
from colonnade.store.rows.replaying import replayed
from colonnade.store.rows.tables import ask_children, read_root, with_children
from colonnade.store.trees.remembered import (
    LOOKS,
    VERSION,
    Known,
    Remembered,
    remembered_by,
    version_of,
)

SINCE_MAX: Final = 100  # generations: after more, loading is no dearer
_CHANGES: Final = msgspec.json.Decoder(tuple[Changed, ...])


async def look(
    database: Database, table: Noun, object_id: str, *, project: ProjectId | None, fresh: bool
) -> Known:
    """The whole tree that the object is part of, with nothing locked: for what may take long.
    Unless `fresh`, it may be older than what is stored. Raises NotFound, Forbidden, and Conflict
    for a tree that is being deleted."""
    memory = remembered_by(database)
    known = memory.find(object_id)
    if known is not None and (not fresh or await _is_still(database, known)):
        check_project(known, project)
        return known
    async with database.pipeline() as connection:
        return await lock(connection, memory, table, object_id, project)


def check_project(known: Known, project: ProjectId | None) -> None:
    if project is not None and known.tree.project_id != project:
        raise Forbidden(POLICY)


async def check_still(database: Database, known: Known) -> None:
    """Raises Contended when the tree is no longer what is remembered."""
    if not await _is_still(database, known):
        remembered_by(database).lost(known)
        raise Contended("another change was in the way")


async def _is_still(database: Database, known: Known) -> bool:
    async with database.read() as connection:
        cursor = await connection.execute(
            "SELECT FROM load_balancers lb JOIN clusters c ON c.id = lb.cluster_id"
            f" WHERE lb.id = %s AND c.generation = %s AND {VERSION} = %s",
            [known.tree.id, known.generation, known.version],
        )
        return await cursor.fetchone() is not None


async def lock(
    connection: Connection,
    memory: Remembered,
    table: Noun,
    object_id: str,
    project: ProjectId | None,
) -> Known:
    """Two statements, for the second must see what whoever held the lock has written."""
    of_root = (
        "%(id)s::uuid"
        if table is LOAD_BALANCERS
        else f"(SELECT load_balancer_id FROM {table.name} WHERE id = %(id)s)"  # noqa: S608
    )
    # Both rows are locked: the one that waited must not go on with the older body.
    locked = await connection.execute(
        "SELECT lb.id, lb.project_id, lb.deleted, lb.body::text, c.generation,"  # noqa: S608
        f" {VERSION}, {quotas.OWN_ROW}"
        " FROM load_balancers lb JOIN clusters c ON c.id = lb.cluster_id"
        f" WHERE lb.id = {of_root} FOR UPDATE OF c, lb",
        {"id": object_id},
    )
    known = memory.find(object_id)
    since = await _ask_since(connection, known) if known is not None else None
    row = await locked.fetchone()
    if row is None:
        raise NotFound(f"{table.noun} {object_id} not found.")
    root_id, owner, deleted, body, generation, version, quota = row
    if project is not None and owner != project:
        raise Forbidden(POLICY)
    if deleted and table is LOAD_BALANCERS:
        raise Conflict(f"Invalid state PENDING_DELETE of loadbalancer resource {root_id}")
    if deleted:
        raise Conflict(f"Load Balancer {root_id} is immutable and cannot be updated.")
    if known is None and (known := memory.find(root_id)) is not None:
        since = await _ask_since(connection, known)  # the object is new to this process
    now = None
    if known is not None and since is not None:
        now = _caught_up(known, await since.fetchall(), generation, version)
    if now is None:
        children = await ask_children(connection, root_id)
        (tree,) = with_children([read_root(body)], await children.fetchall())
        now = Known(tree=tree, generation=generation, version=version)
    now = replace(now, quota=quota)
    memory.keep(now)
    return now


async def _ask_since(connection: Connection, known: Known) -> Any:
    """What history has after the generation that is remembered, to be fetched later."""
    return await connection.execute(
        f"SELECT generation, onto, {version_of('g')}, changes::text FROM generations g"  # noqa: S608
        " WHERE load_balancer_id = %s AND generation > %s ORDER BY generation LIMIT %s",
        [known.tree.id, known.generation, SINCE_MAX],
    )


def _caught_up(
    known: Known, since: Sequence[Sequence[Any]], generation: int, version: str
) -> Known | None:
    """As it is stored under that generation and version; None: history does not lead there."""
    at, changes = (known.generation, known.version), list[Changed]()
    for number, onto, by, changed in since:
        if (number - 1, onto) != at:
            return None
        at = number, by
        changes += _CHANGES.decode(changed)
    if at != (generation, version) or any(one.kind not in KINDS for one in changes):
        return None  # a newer release has other nouns; what it wrote of ours is loaded
    if not since:
        return replace(known, looks=max(known.looks - 1, 0))
    tree = replayed(known.tree, changes)
    return Known(tree=tree, generation=generation, version=version, looks=LOOKS)
