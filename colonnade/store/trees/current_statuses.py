# SPDX-License-Identifier: Apache-2.0
"""Which statuses there are now: of each object of a project, and how many of each in all.

The expressions are those that lists are filtered by, so both show the same statuses.
Writes nothing.
"""

from typing import Final

import msgspec

from colonnade.domain.ids import ProjectId
from colonnade.domain.shape import LISTENERS, LOAD_BALANCERS, MEMBERS, POOLS, Noun
from colonnade.store.postgres.database import Connection
from colonnade.store.trees.sources import SOURCES

OF: Final = (LOAD_BALANCERS, LISTENERS, POOLS, MEMBERS)


class Status(msgspec.Struct, frozen=True):
    """One object. `pool_id` and `pool_name` of a member, else empty."""

    load_balancer_id: str
    load_balancer_name: str
    id: str
    name: str
    pool_id: str
    pool_name: str
    provisioning: str
    operating: str


class Count(msgspec.Struct, frozen=True):
    provisioning: str
    operating: str
    number: int


def _statement(table: Noun, columns: str, rest: str) -> bytes:
    source = SOURCES[table.name]
    statuses = (source.attributes[f"{word}_status"] for word in ("provisioning", "operating"))
    return f"SELECT {columns}{', '.join(statuses)}{rest}".replace("{place}", source.place).encode()


def _of_project(table: Noun) -> bytes:
    pool = "p.id::text, p.body ->> 'name', " if table is MEMBERS else "'', '', "
    join = " JOIN pools p ON p.id = t.pool_id" if table is MEMBERS else ""
    return _statement(
        table,
        f"lb.id::text, lb.body ->> 'name', t.id::text, t.body ->> 'name', {pool}",
        f"{{place}}{join} WHERE (%(project)s::text IS NULL OR t.project_id = %(project)s)"
        " AND NOT t.deleted ORDER BY t.created_at, t.id LIMIT %(max)s",
    )


_OF_PROJECT: Final = {table.name: _of_project(table) for table in OF}
_COUNTED: Final = _statement(LOAD_BALANCERS, "", ", count(*){place} GROUP BY 1, 2")


async def of_project(
    connection: Connection, project: ProjectId | None, table: Noun, limit: int
) -> list[Status]:
    """The first `limit` of a project, None: of all."""
    cursor = await connection.execute(_OF_PROJECT[table.name], {"project": project, "max": limit})
    return [Status(*row) for row in await cursor.fetchall()]


async def of_load_balancers(connection: Connection) -> list[Count]:
    """How many load balancers have which statuses, in all projects."""
    cursor = await connection.execute(_COUNTED)
    return [Count(*row) for row in await cursor.fetchall()]
