# SPDX-License-Identifier: Apache-2.0
"""Objects of trees as answers: lists of them, and one of them.

How a list is asked for is the same for all kinds of objects, and said in `api/http/lists.py`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from colonnade.api.http.call import JSON, Call
from colonnade.api.http.lists import Kind, listed, trimmed
from colonnade.api.resources.shown import show
from colonnade.domain.errors import NotFound
from colonnade.domain.shape import OF_TYPE, Noun
from colonnade.store.trees import records
from colonnade.store.trees.edits import Edit
from colonnade.store.trees.sources import SOURCES
from colonnade.store.trees.written_records import record_of


def _kind(table: Noun) -> Kind:
    return Kind(
        source=SOURCES[table.name],
        find=lambda connection, wanted: records.find(connection, table, wanted),
        key=lambda record: str(record.value.id),
        show=partial(show, table),
        has_tags=True,
    )


_KINDS: Final[Mapping[str, Kind]] = {table.name: _kind(table) for table in OF_TYPE.values()}


async def page(
    call: Call, table: Noun, word: str, *, within: Mapping[str, str] | None = None
) -> JSON:
    """The list that the query string asks for, and its links. `within`: parents in the path."""
    return await listed(call, _KINDS[table.name], word, within=within)


async def one(
    call: Call, table: Noun, object_id: str, wrapper: str, *, parent_id: str | None = None
) -> JSON:
    """One object. `parent_id`: what the path says it is in."""
    record = await call.record(table, object_id)
    if parent_id is not None and record.parent_id != parent_id:
        raise NotFound(f"{table.noun} {object_id} not found.")
    return {wrapper: trimmed(call, show(table, record))}


def added(call: Call, edit: Edit, table: Noun, object_id: str, wrapper: str) -> JSON:
    """One object that the edit has added, without another look."""
    return {wrapper: trimmed(call, show(table, record_of(edit.stored, table, object_id)))}
