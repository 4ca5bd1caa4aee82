# SPDX-License-Identifier: Apache-2.0
"""Lists: filters, order and pages over any SELECT.

What a filter or a sort key may name is a table of expressions, so that no text of a caller
becomes SQL; none of them is ever NULL, so that a marker always has a place in the order. The
listed rows are called `t`. This module knows no noun.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

import msgspec

from colonnade.domain.errors import Invalid
from colonnade.domain.ids import ProjectId
from colonnade.store.postgres.database import Connection


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects, in which order, and which page of them."""

    project: ProjectId | None = None
    filters: Mapping[str, Sequence[str]] = {}
    tags: Mapping[str, Sequence[str]] = {}  # "tags", "tags-any", "not-tags", "not-tags-any"
    sort: Sequence[tuple[str, bool]] = ()  # (key, descending)
    marker: str | None = None
    limit: int | None = None
    reverse: bool = False  # the page before the marker


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a list comes from, and what it may be asked by."""

    columns: str
    place: str  # " FROM ...", where the listed rows are `t`
    attributes: Mapping[str, str]  # each name of a filter or sort key, as an expression
    ids: frozenset[str] = frozenset({"id"})  # those that are UUIDs: for them there are indexes
    times: frozenset[str] = frozenset({"created_at", "updated_at"})  # 'epoch' where there is none
    addresses: frozenset[str] = frozenset()  # compared as such, whatever their spelling
    flags: frozenset[str] = frozenset()  # true or false, in any spelling of these
    lists: Set[str] = frozenset()  # text[]: found by any of their items
    indexed: Mapping[str, str] = {}  # texts that have an index, as that has them: NULL if empty
    key: str = "t.id"  # what a marker names
    last: Sequence[str] = ("t.created_at", "t.id")  # the order when nothing else decides


# Objects with all, any, not all or none of the tags.
_TAGS: Final[Mapping[str, str]] = {
    "tags": "t.body -> 'tags' ?& %({})s::text[]",
    "tags-any": "t.body -> 'tags' ?| %({})s::text[]",
    "not-tags": "NOT t.body -> 'tags' ?& %({})s::text[]",
    "not-tags-any": "NOT t.body -> 'tags' ?| %({})s::text[]",
}


async def rows(connection: Connection, source: Source, wanted: Wanted) -> list[Sequence[Any]]:
    """Rows in order, one page of them. Raises Invalid for names that there are not."""
    where, parameters = _where(source, wanted)
    order = _order(source, wanted)
    if wanted.marker is not None:
        condition, marks = _after_marker(source, order, wanted.marker)
        where.append(condition)
        parameters |= marks
    by = ", ".join(f"{expression} {'DESC' if down else 'ASC'}" for expression, down in order)
    query = f"SELECT {source.columns}{source.place}"
    query += f" WHERE {' AND '.join(where) or 'true'} ORDER BY {by}"
    if wanted.limit is not None:
        # Not a parameter: PostgreSQL keeps one plan for many calls only if it knows how few rows
        # are wanted.
        query += f" LIMIT {wanted.limit:d}"
    cursor = await connection.execute(query.encode(), parameters)
    found = await cursor.fetchall()
    return found[::-1] if wanted.reverse else found


async def row(connection: Connection, source: Source, key: str) -> Sequence[Any] | None:
    """The one row that has the key."""
    query = f"SELECT {source.columns}{source.place} WHERE {source.key} = %s"
    cursor = await connection.execute(query.encode(), [key])
    found: Sequence[Any] | None = await cursor.fetchone()
    return found


def _where(source: Source, wanted: Wanted) -> tuple[list[str], dict[str, Any]]:
    where: list[str] = []
    parameters: dict[str, Any] = {}
    owner = source.attributes.get("project_id")
    if wanted.project is not None and owner is not None:
        where.append(f"{owner} = %(project)s")
        parameters["project"] = wanted.project
    for number, (name, values) in enumerate(wanted.filters.items()):
        expression = source.attributes.get(name)
        if expression is None:
            raise Invalid("One or more arguments are either duplicate or invalid")
        where.append(_matches(source, name, expression, values).format(f"%(f{number})s"))
        parameters[f"f{number}"] = list(values)
    for number, (word, tags) in enumerate(wanted.tags.items()):
        where.append(_TAGS[word].format(f"t{number}"))
        parameters[f"t{number}"] = list(tags)
    return where, parameters


def _matches(source: Source, name: str, expression: str, values: Sequence[str]) -> str:
    """The condition to have one of the values, which stand for the braces. Nothing, and no items,
    is the empty text."""
    expression = expression.replace("{", "{{").replace("}", "}}")
    if name in source.ids:
        # With one value the rows come in the order of the rest of the index.
        return f"{expression} = " + ("({}::uuid[])[1]" if len(values) == 1 else "ANY({}::uuid[])")
    if name in source.times:
        return f"date_trunc('second', {expression}) = ANY({{}}::timestamptz[])"
    if name in source.lists:
        return f"({expression} && {{0}}::text[] OR {expression} = '{{{{}}}}' AND '' = ANY({{0}}))"
    if name in source.indexed and all(values):
        return f"{source.indexed[name]} = ANY({{}}::text[])"
    text = _text(expression)
    if name in source.addresses:
        is_one = f"nullif({text}, '')::inet = ANY(array_remove({{0}}, '')::inet[])"
        return f"({is_one} OR {text} = '' AND '' = ANY({{0}}))"
    return f"{text} = ANY({{}}::text[])"


def _text(expression: str) -> str:
    """One text to compare with: a JSON text loses its quotes, null is the empty text."""
    if expression.startswith("coalesce(t.body "):
        return f"coalesce({expression} #>> '{{{{}}}}', '')"
    return f"{expression}::text"


def _order(source: Source, wanted: Wanted) -> list[tuple[str, bool]]:
    order: dict[str, bool] = {}
    for key, descending in wanted.sort:
        expression = source.attributes.get(key)
        if expression is None:
            raise Invalid(f"Supplied sort key '{key}' is not valid.")
        order.setdefault(expression, descending)
    for expression in source.last:
        order.setdefault(expression, False)
    return [(expression, down != wanted.reverse) for expression, down in order.items()]


def _after_marker(
    source: Source, order: Sequence[tuple[str, bool]], marker: str
) -> tuple[str, dict[str, Any]]:
    """The condition to be after the marked object in this order."""
    keys = ", ".join(expression for expression, _ in order)
    # The marker's own row under the same names, one scope further in.
    mark = f"(SELECT {{}}{source.place} WHERE {source.key} = %(marker)s)"
    if len({down for _, down in order}) == 1:
        # As one comparison of rows, so that an index leads there.
        return f"({keys}) {'<' if order[0][1] else '>'} {mark.format(keys)}", {"marker": marker}
    marks = [mark.format(expression) for expression, _ in order]
    cases = []
    for place, (expression, down) in enumerate(order):
        equal = [f"{e} = {m}" for (e, _), m in zip(order[:place], marks[:place], strict=True)]
        cases.append(" AND ".join([*equal, f"{expression} {'<' if down else '>'} {marks[place]}"]))
    return "(" + " OR ".join(f"({case})" for case in cases) + ")", {"marker": marker}
