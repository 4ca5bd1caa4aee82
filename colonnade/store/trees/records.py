# SPDX-License-Identifier: Apache-2.0
"""Trees as they are shown: each object with its facts.

A list of any length is one query, with the ids of children in it; which, says `sources.py`. This
module writes nothing.
"""

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
import structlog

from colonnade.domain.errors import POLICY, Forbidden, NotFound
from colonnade.domain.ids import ProjectId
from colonnade.domain.node import Node
from colonnade.domain.shape import BELOW, LISTENERS, LOAD_BALANCERS, Noun
from colonnade.domain.status import Operating, Provisioning
from colonnade.store.fleet.clusters import Failure
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import Newer
from colonnade.store.postgres.listing import Wanted
from colonnade.store.rows.tables import DECODERS
from colonnade.store.trees.remembered import Issue
from colonnade.store.trees.sources import OWNERS, SOURCES

log = structlog.get_logger()

T = TypeVar("T", bound=Node)


class Record(msgspec.Struct, Generic[T], frozen=True):
    """One object and its facts. `value` has no children; their ids are beside it."""

    value: T
    provisioning: Provisioning
    operating: Operating
    issues: Sequence[Issue]
    last_error: Failure | None  # of its cluster, whoever's fault it is
    below: Sequence[Sequence[str]]  # ids of children, one list for each noun below
    project_id: ProjectId
    load_balancer_id: str
    parent_id: str | None  # as the table's own column names it
    created_at: str  # times as they are shown
    updated_at: str | None
    operating_reason: str
    operating_since: str | None  # None: nothing was heard of it yet
    is_noop: bool  # nothing serves it, so nobody reports on it
    user_ids: Sequence[str] | None  # of a pool: the listeners that send requests to it
    topology: str | None  # of a load balancer: the amphorae that it has
    is_new: bool = False  # what the transaction that made it knows, not what is stored


async def find(connection: Connection, table: Noun, wanted: Wanted) -> list[Record[Any]]:
    """Objects in order, one page of them. Raises Invalid for names that there are not."""
    found = await listing.rows(connection, SOURCES[table.name], wanted)
    return [record for row in found if (record := _readable(table, row)) is not None]


async def get(
    connection: Connection, table: Noun, object_id: str, *, project: ProjectId | None
) -> Record[Any]:
    """One object. Raises NotFound, Forbidden."""
    row = await listing.row(connection, SOURCES[table.name], object_id)
    if row is None:
        raise NotFound(f"{table.noun} {object_id} not found.")
    record = _record(table, row)
    if project is not None and record.project_id != project:
        raise Forbidden(POLICY)
    return record


async def check(
    connection: Connection, table: Noun, object_id: str, *, project: ProjectId | None
) -> None:
    """Is there such an object, and may it be touched? Raises NotFound, Forbidden."""
    row = await listing.row(connection, OWNERS[table.name], object_id)
    if row is None:
        raise NotFound(f"{table.noun} {object_id} not found.")
    if project is not None and row[0] != project:
        raise Forbidden(POLICY)


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


async def statistics(connection: Connection, table: Noun, object_id: str) -> Statistics:
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


def _readable(table: Noun, row: Sequence[Any]) -> Record[Any] | None:
    """None: what only a newer release can read. The others of a list are shown."""
    try:
        return _record(table, row)
    except Newer as error:
        object_id = msgspec.json.decode(row[0]).get("id")
        log.warning("left out of a list", table=table.name, id=object_id, reason=str(error))
        return None


def _record(table: Noun, row: Sequence[Any]) -> Record[Any]:
    """What comes first is decoded; the rest is as the columns of `sources.py` have it."""
    body, status, operating, issues, failure = row[:_DECODED]
    value = DECODERS[table.name].decode(body)
    return Record(
        value,
        _PROVISIONING[status],
        _OPERATING.get(operating, Operating.OFFLINE),
        _issues(table, value.id, issues) if issues is not None else (),
        _FAILURE.decode(failure) if failure is not None else None,
        row[_FACTS:],
        *row[_DECODED:_FACTS],
    )


_DECODED: Final = Record.__struct_fields__.index("below")
_FACTS: Final = Record.__struct_fields__.index("is_new") - 1
_FAILURE: Final = msgspec.json.Decoder(Failure)
_ISSUES: Final = msgspec.json.Decoder(tuple[Issue, ...])
_PROVISIONING: Final = {status.value: status for status in Provisioning}
_OPERATING: Final = {status.value: status for status in Operating}


def _issues(table: Noun, object_id: str, found: str) -> Sequence[Issue]:
    """Those of the tree that are this object's own."""
    path = "" if table is LOAD_BALANCERS else f"{table.name}/{object_id}"
    return [issue for issue in _ISSUES.decode(found) if issue.path.startswith(path)]
