# SPDX-License-Identifier: Apache-2.0
"""Names in place of ids, for people: one list of a noun gives all its names.

An id whose name cannot be found out, or that has none, stays an id. JSON is never changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from colonnade.cli.nouns.description import Column
from colonnade.cli.objects.session import Session
from colonnade.domain.errors import ColonnadeError

Row = Mapping[str, Any]


class NamesOfIds:
    """What the objects of an endpoint are called. Each list is asked for once."""

    def __init__(self, session: Session) -> None:
        self._desk = session
        self._names: dict[str, dict[str, str]] = {}

    async def of(self, word: str) -> Mapping[str, str]:
        """Names by id, of those that have one."""
        if word not in self._names:
            self._names[word] = await self._read(word)
        return self._names[word]

    async def rows(self, rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
        """The rows with names in the columns that refer to other objects."""
        named = [dict(row) for row in rows]
        for column in columns:
            if column.refers and any(row.get(column.of) for row in rows):
                names = await self.of(column.refers)
                for row in named:
                    row[column.of] = _renamed(row.get(column.of), names)
        return list(named)

    async def _read(self, word: str) -> dict[str, str]:
        noun = self._desk.names.noun(word)
        try:
            found = await self._desk.names.every(noun, query={"fields": ["id", "name"]})
        except ColonnadeError:  # an endpoint without such a list, or one that is not for us
            return {}
        return {str(one.get("id")): str(one["name"]) for one in found if one.get("name")}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case str():
            return names.get(value, value)
        case {"id": str(found)}:
            return names.get(found, found)
        case list():
            return [_renamed(one, names) for one in value]
    return value
