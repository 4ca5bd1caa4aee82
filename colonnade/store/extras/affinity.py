# SPDX-License-Identifier: Apache-2.0
"""Affinity groups as rows: load balancers that shall, or shall not, be served side by side.

That a group in use does not go, and that nobody uses another project's, is held by the database's
own references. Where anything is placed is not decided here.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
import psycopg.errors

from colonnade.domain.errors import Conflict, Forbidden, NotFound, OverQuota
from colonnade.domain.ids import ProjectId
from colonnade.domain.limits import AFFINITY_GROUPS_PER_PROJECT_MAX
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.listing import Source, Wanted
from colonnade.store.trees.wishes import POLICY


class AffinityPolicy(StrEnum):
    COLOCATION = "colocation"
    APOLOCATION = "apolocation"
    SOFT_COLOCATION = "soft-colocation"
    SOFT_APOLOCATION = "soft-apolocation"


class AffinityGroup(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: ProjectId
    name: str = ""
    description: str = ""
    policy: AffinityPolicy


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A group and the facts about it."""

    group: AffinityGroup
    created_at: datetime
    updated_at: datetime | None
    load_balancer_ids: Sequence[str]


_LOAD_BALANCERS: Final = """ARRAY(SELECT lb.id FROM load_balancers lb
    WHERE lb.affinity_group_id = t.id AND NOT lb.deleted ORDER BY lb.created_at, lb.id)"""
_OWN: Final = AffinityGroup.__struct_fields__
_NAMED: Final = {name: f"t.{name}" for name in _OWN}
SOURCE: Final = Source(
    columns=", ".join([*_NAMED.values(), "t.created_at", "t.updated_at", _LOAD_BALANCERS]),
    place=" FROM affinity_groups t",
    attributes={
        **_NAMED,
        "tenant_id": "t.project_id",
        "created_at": "t.created_at",
        "updated_at": "coalesce(t.updated_at, 'epoch')",
        "loadbalancers": f"({_LOAD_BALANCERS})::text[]",
    },
    lists=frozenset({"loadbalancers"}),
)


async def find(connection: Connection, wanted: Wanted) -> list[Kept]:
    return [_read(row) for row in await listing.rows(connection, SOURCE, wanted)]


async def get(connection: Connection, group_id: str, *, project: ProjectId | None) -> Kept:
    """Raises NotFound, Forbidden."""
    row = await listing.row(connection, SOURCE, group_id)
    if row is None:
        raise NotFound(f"Affinity Group {group_id} not found.")
    kept = _read(row)
    if project is not None and kept.group.project_id != project:
        raise Forbidden(POLICY)
    return kept


async def insert(connection: Connection, group: AffinityGroup) -> None:
    """Raises OverQuota when the project has as many as it may."""
    cursor = await connection.execute(
        "INSERT INTO affinity_groups (id, project_id, name, description, policy)"
        " SELECT %(id)s, %(project_id)s, %(name)s, %(description)s, %(policy)s"
        " WHERE (SELECT count(*) FROM affinity_groups WHERE project_id = %(project_id)s) < %(max)s",
        msgspec.structs.asdict(group) | {"max": AFFINITY_GROUPS_PER_PROJECT_MAX},
    )
    if cursor.rowcount != 1:
        raise OverQuota("Quota has been met for resources: Affinity Group")


async def update(connection: Connection, group: AffinityGroup) -> None:
    await connection.execute(
        "UPDATE affinity_groups SET name = %(name)s, description = %(description)s,"
        " updated_at = now() WHERE id = %(id)s",
        msgspec.structs.asdict(group),
    )


async def delete(connection: Connection, group_id: str) -> None:
    """Raises Conflict for a group that a load balancer is in."""
    try:
        await connection.execute("DELETE FROM affinity_groups WHERE id = %s", [group_id])
    except psycopg.errors.ForeignKeyViolation as error:
        raise Conflict(f"Affinity Group {group_id} is in use and cannot be deleted.") from error


def _read(row: Sequence[Any]) -> Kept:
    facts = dict(zip(_OWN, row, strict=False))
    created_at, updated_at, ids = row[len(_OWN) :]
    return Kept(
        group=msgspec.convert(facts, AffinityGroup),
        created_at=created_at,
        updated_at=updated_at,
        load_balancer_ids=ids,
    )
