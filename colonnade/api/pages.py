# SPDX-License-Identifier: Apache-2.0
"""Objects of trees as answers: lists of them, and one of them.

How a list is asked for is the same for all kinds of objects, and said in `api/lists.py`.
"""

from collections.abc import Mapping
from typing import Final

from colonnade.api.call import JSON, Call
from colonnade.api.lists import Kind, listed, trimmed
from colonnade.api.user.shown import show
from colonnade.domain.errors import NotFound
from colonnade.store import records
from colonnade.store.added import record_of
from colonnade.store.edits import Edit
from colonnade.store.records import SOURCES
from colonnade.store.rows import TABLES, Table


def _kind(table: Table) -> Kind:
    return Kind(
        source=SOURCES[table.name],
        find=lambda connection, wanted: records.find(connection, table, wanted),
        key=lambda record: str(record.value.id),
        show=lambda record: show(table, record),
        has_tags=True,
    )


_KINDS: Final[Mapping[str, Kind]] = {table.name: _kind(table) for table in TABLES.values()}


async def page(
    call: Call, table: Table, word: str, *, within: Mapping[str, str] | None = None
) -> JSON:
    """The list that the query string asks for, and its links. `within`: parents in the path."""
    return await listed(call, _KINDS[table.name], word, within=within)


async def one(
    call: Call, table: Table, object_id: str, wrapper: str, *, parent_id: str | None = None
) -> JSON:
    """One object. `parent_id`: what the path says it is in."""
    record = await call.record(table, object_id)
    if parent_id is not None and record.parent_id != parent_id:
        raise NotFound(f"{table.noun} {object_id} not found.")
    return {wrapper: trimmed(call, show(table, record))}


def added(call: Call, edit: Edit, table: Table, object_id: str, wrapper: str) -> JSON:
    """One object that the edit has added, without another look."""
    return {wrapper: trimmed(call, show(table, record_of(edit.stored, table, object_id)))}
