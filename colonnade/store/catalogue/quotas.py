# SPDX-License-Identifier: Apache-2.0
"""How much a project may have, and that it has no more.

A limit of -1 costs nothing. Other limits are checked after the change is written, in the same
transaction and under the project's own lock: of two changes that race, the second counts what the
first has stored. Objects that are being deleted no longer count. Knows no caller and no role.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from colonnade.domain.errors import NotFound, OverQuota
from colonnade.domain.ids import ProjectId
from colonnade.domain.shape import LOAD_BALANCERS, Noun
from colonnade.runtime.config import Quotas
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.listing import Source, Wanted
from colonnade.store.rows.difference import Difference

NAMES: Final = Quotas.__struct_fields__
UNLIMITED: Final = Quotas()

Row = Mapping[str, int | None]  # what a project's own row says; None: the default


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one project."""

    project_id: ProjectId
    limits: Quotas


def source(defaults: Quotas) -> Source:
    """Projects with a row of their own."""
    limits = {name: f"coalesce(t.{name}, {int(getattr(defaults, name))})" for name in NAMES}
    twins = {"load_balancer": limits["loadbalancer"], "health_monitor": limits["healthmonitor"]}
    return Source(
        columns=", ".join(["t.project_id", *limits.values()]),
        place=" FROM quotas t",
        attributes=limits | twins | {"project_id": "t.project_id", "tenant_id": "t.project_id"},
        ids=frozenset(),
        key="t.project_id",
        last=("t.created_at", "t.project_id"),
    )


async def find(connection: Connection, defaults: Quotas, wanted: Wanted) -> list[Quota]:
    found = await listing.rows(connection, source(defaults), wanted)
    return [_read(row) for row in found]


async def get(connection: Connection, defaults: Quotas, project_id: ProjectId) -> Quota:
    row = await listing.row(connection, source(defaults), project_id)
    return Quota(project_id=project_id, limits=defaults) if row is None else _read(row)


async def change(connection: Connection, project_id: ProjectId, values: Row) -> None:
    """Set what is named, leave the rest. None: back to the default."""
    names = [name for name in NAMES if name in values]
    into = "".join(f", {name}" for name in names)
    take = "".join(f", %({name})s" for name in names)
    pairs = ", ".join(f"{name} = EXCLUDED.{name}" for name in ["project_id", *names])
    await connection.execute(
        f"INSERT INTO quotas (project_id{into}) VALUES (%(project)s{take})"  # noqa: S608
        f" ON CONFLICT (project_id) DO UPDATE SET {pairs}".encode(),
        {"project": project_id, **{name: values[name] for name in names}},
    )


async def reset(connection: Connection, project_id: ProjectId) -> None:
    """Raises NotFound for a project that has no quota of its own."""
    cursor = await connection.execute("DELETE FROM quotas WHERE project_id = %s", [project_id])
    if cursor.rowcount != 1:
        raise NotFound(f"Quota {project_id} not found.")


# For a query that reads a load balancer, `lb`, too: its project's own row.
OWN_ROW: Final = "(SELECT to_jsonb(q) FROM quotas q WHERE q.project_id = lb.project_id)"


async def ask_row(connection: Connection, project_id: ProjectId) -> Any:
    """A project's own row, to be read later."""
    return await connection.execute(
        "SELECT to_jsonb(q) FROM quotas q WHERE q.project_id = %s", [project_id]
    )


async def read_row(asked: Any) -> Row | None:
    row = await asked.fetchone()
    return None if row is None else row[0]


def bounds(added: Mapping[Noun, int], limits: Quotas) -> Mapping[Noun, int]:
    """What bounds the kinds that become more: nothing where there is no limit, or no such quota."""
    more = (table for table, count in added.items() if count > 0)
    found = {table: getattr(limits, table.kind, -1) for table in more}
    return {table: bound for table, bound in found.items() if bound >= 0}


async def enforce(
    connection: Connection, project_id: str, added: Mapping[Noun, int], limits: Quotas
) -> None:
    """To be called after the change is written. Raises OverQuota."""
    there = bounds(added, limits)
    if not there:
        return
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"quota:{project_id}"]
    )
    counts = ", ".join(
        f"(SELECT count(*) FROM (SELECT FROM {table.name} WHERE project_id = %(project)s"  # noqa: S608
        f" AND NOT deleted LIMIT {bound + 1}) x)"
        for table, bound in there.items()
    )
    cursor = await connection.execute(f"SELECT {counts}".encode(), {"project": project_id})
    (row,) = await cursor.fetchall()
    for (table, bound), count in zip(there.items(), row, strict=True):
        if count > bound:
            raise OverQuota(f"Quota has been met for resources: {table.noun}")


def increase(found: Difference, *, is_new: bool = False) -> Mapping[Noun, int]:
    """How many more of each kind there are after the change. In a whole new tree the contract
    counts no L7 policies and rules."""
    counts = Counter(place.table for place in found.added)
    counts.subtract(place.table for place in found.removed)
    if is_new:
        counts[LOAD_BALANCERS] = 1
        for table in [table for table in counts if table.kind in ("l7policy", "l7rule")]:
            del counts[table]
    return counts


def holding(defaults: Quotas, own: Row | None) -> Quotas:
    """What holds for a project with this row."""
    if own is None:
        return defaults
    given = {name: own[name] for name in NAMES if own[name] is not None}
    return msgspec.structs.replace(defaults, **given) if given else defaults


def _read(row: Iterable[Any]) -> Quota:
    project_id, *limits = row
    return Quota(project_id=project_id, limits=Quotas(**dict(zip(NAMES, limits, strict=True))))
