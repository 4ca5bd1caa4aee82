# SPDX-License-Identifier: Apache-2.0
"""Flat nouns as rows: each value's fields are its table's columns.

Foreign keys of the database keep what is in use from being deleted, and a project from using
another project's objects, whichever of two requests comes first. What is special about a noun's
rows is in its `FlatTable`; this module knows no noun.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

import msgspec
import psycopg.errors

from colonnade.domain.attributes import described
from colonnade.domain.errors import POLICY, Conflict, Forbidden, Invalid, NotFound, OverQuota
from colonnade.domain.flat import FlatNoun
from colonnade.domain.ids import ProjectId
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.listing import Source, Wanted

T = TypeVar("T", bound=msgspec.Struct)

_OWNED: Final = ("project_id", "created_at", "updated_at")


class FlatTable(msgspec.Struct, Generic[T], frozen=True, kw_only=True, dict=True):
    """A noun's rows. `facts`: what its rows tell besides the value, each an expression over the
    row, `t`. `filters`: expressions to be found by, where they are not the columns."""

    noun: FlatNoun[T]
    refers: Mapping[str, FlatNoun[Any]] = {}  # which column names an object of which noun
    facts: Mapping[str, str] = {}
    filters: Mapping[str, str] = {}
    lists: frozenset[str] = frozenset()  # those that are text[]

    @cached_property
    def source(self) -> Source:
        noun, columns = self.noun, {name: f"t.{name}" for name in self.noun.columns}
        owned = {name: f"t.{name}" for name in _OWNED} if noun.is_owned else {}
        twins = {"tenant_id": "t.project_id", "updated_at": "coalesce(t.updated_at, 'epoch')"}
        own_order = ("t.id",) if noun.key == "id" else ("t.created_at", f"t.{noun.key}")
        attributes = described(noun.type).values()
        ids = {one.name for one in attributes if one.is_id}
        return Source(
            columns=", ".join([*columns.values(), *owned.values(), *self.facts.values()]),
            place=f" FROM {noun.table} t",
            attributes={**columns, **owned, **(twins if noun.is_owned else {}), **self.filters},
            ids=frozenset(ids | {"id"} & columns.keys()),
            flags=frozenset(one.name for one in attributes if one.item is bool),
            lists=self.lists,
            key=f"t.{noun.key}",
            last=("t.created_at", "t.id") if noun.is_owned else own_order,
        )


class Stored(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A value and the facts about it; the first three of an owned noun alone."""

    value: T
    project_id: ProjectId | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    facts: Mapping[str, Any] = {}


async def find(connection: Connection, table: FlatTable[T], wanted: Wanted) -> list[Stored[T]]:
    return [_read(table, row) for row in await listing.rows(connection, table.source, wanted)]


async def get(
    connection: Connection, table: FlatTable[T], key: str, *, project: ProjectId | None = None
) -> Stored[T]:
    """Raises NotFound, and Forbidden for what is not this project's."""
    row = await listing.row(connection, table.source, key)
    if row is None:
        raise NotFound(f"{table.noun.named(key)} not found.")
    stored = _read(table, row)
    if table.noun.is_owned and project is not None and stored.project_id != project:
        raise Forbidden(POLICY)
    return stored


async def lock(connection: Connection, noun: FlatNoun[Any], key: str) -> None:
    """Keep others from changing the row until the transaction ends; they may begin to use it."""
    await connection.execute(
        f"SELECT FROM {noun.table} WHERE {noun.key} = %s FOR NO KEY UPDATE",
        [key],
    )


async def insert(connection: Connection, table: FlatTable[T], value: T, **more: Any) -> None:
    """`more`: columns besides the value's. Raises Conflict for a name that is taken, Invalid for
    a reference to what is not there, OverQuota."""
    await _check_quota(connection, table.noun, more.get("project_id"))
    values = _columns(value) | more
    names, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    statement = f"INSERT INTO {table.noun.table} ({names}) VALUES ({places})"  # noqa: S608
    await _write(connection, table, value, statement, values)


async def update(connection: Connection, table: FlatTable[T], value: T, **more: Any) -> None:
    """Raises Conflict for a name that is taken, Invalid for a reference to what is not there."""
    noun = table.noun
    values = _columns(value) | more
    pairs = [f"{name} = %({name})s" for name in values if name != noun.key]
    changed = ", ".join([*pairs, "updated_at = now()"] if noun.is_owned else pairs)
    statement = f"UPDATE {noun.table} SET {changed} WHERE {noun.key} = %({noun.key})s"  # noqa: S608
    await _write(connection, table, value, statement, values)


async def _write(
    connection: Connection, table: FlatTable[T], value: T, statement: str, values: dict[str, Any]
) -> None:
    try:
        await connection.execute(statement.encode(), values)
    except psycopg.errors.UniqueViolation as error:
        raise _taken(table, value) from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise _lost(table, value, error) from error


async def delete(connection: Connection, noun: FlatNoun[Any], key: str) -> None:
    """Raises Conflict while something has it."""
    try:
        await connection.execute(
            f"DELETE FROM {noun.table} WHERE {noun.key} = %s".encode(),  # noqa: S608
            [key],
        )
    except psycopg.errors.ForeignKeyViolation as error:
        raise in_use(noun, key) from error


def in_use(noun: FlatNoun[Any], key: str) -> Conflict:
    return Conflict(f"{noun.named(key)} {noun.in_use}")


async def _check_quota(connection: Connection, noun: FlatNoun[Any], project: str | None) -> None:
    if not noun.per_project_max:
        return
    # Two requests that race for the last place must not both find it free.
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{noun.table}:{project}"]
    )
    cursor = await connection.execute(
        f"SELECT count(*) FROM {noun.table} WHERE project_id = %s".encode(),  # noqa: S608
        [project],
    )
    (row,) = await cursor.fetchall()
    if row[0] >= noun.per_project_max:
        raise OverQuota(noun.over_quota or f"Quota has been met for resources: {noun.noun}")


def _columns(value: msgspec.Struct) -> dict[str, Any]:
    """A tuple would be a row to PostgreSQL; a list is an array."""
    own = msgspec.structs.asdict(value)
    return {name: list(one) if isinstance(one, tuple) else one for name, one in own.items()}


def _taken(table: FlatTable[Any], value: Any) -> Conflict:
    return Conflict(f"A {table.noun.noun.lower()} of {value.name} already exists.")


def _lost(table: FlatTable[Any], value: Any, error: psycopg.errors.ForeignKeyViolation) -> Invalid:
    constraint = error.diag.constraint_name or ""
    column = next(name for name in table.refers if f"_{name}_" in constraint)
    return Invalid(f"{table.refers[column].named(getattr(value, column))} not found.")


def _read(table: FlatTable[T], row: Sequence[Any]) -> Stored[T]:
    noun = table.noun
    value, rest = row[: len(noun.columns)], row[len(noun.columns) :]
    owned = rest[: len(_OWNED)] if noun.is_owned else ()
    facts = rest[len(owned) :]
    return Stored(
        value=value_of(noun, value),
        facts=dict(zip(table.facts, facts, strict=True)),
        **dict(zip(_OWNED, owned, strict=False)),
    )


def value_of(noun: FlatNoun[T], row: Sequence[Any]) -> T:
    """The value of a row that begins with its columns."""
    values = dict(zip(noun.columns, row, strict=True))
    for name, one in described(noun.type).items():
        if one.is_list:
            values[name] = tuple(values[name])
        elif isinstance(one.item, type) and issubclass(one.item, Enum):
            values[name] = one.item(values[name])
    return noun.type(**values)
