# SPDX-License-Identifier: Apache-2.0
"""Lists and single objects as answers: filters, order, pages, and the choice of fields.

The words of a query string are the wire contract's. A page is full when as many objects came as
were asked for; its `next` link may then lead to an empty page. Filters are not repeated in links.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from colonnade.api.call import JSON, Call
from colonnade.api.user.shown import Shown, show
from colonnade.domain.errors import Forbidden, Invalid, NotFound
from colonnade.domain.ids import ProjectId, is_id, read_id
from colonnade.domain.limits import PAGE_MAX
from colonnade.store import records, trees
from colonnade.store.added import record_of
from colonnade.store.records import ATTRIBUTES, Record, Wanted
from colonnade.store.rows import Table
from colonnade.store.trees import Edit

PAGING: Final = frozenset(
    {"limit", "marker", "sort", "sort_key", "sort_dir", "page_reverse", "fields"}
)
TAGS: Final = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})
FLAGS: Final = frozenset(
    {
        "admin_state_up",
        "backup",
        "compression",
        "deletion_protection",
        "hsts_include_subdomains",
        "hsts_preload",
        "http2",
        "invert",
        "tls_enabled",
    }
)
IDS: Final = frozenset({"id", "loadbalancer_id", "pool_id", "listener_id", "l7policy_id"})


async def page(
    call: Call, table: Table, word: str, *, within: Mapping[str, str] | None = None
) -> JSON:
    """The list that the query string asks for, and its links. `within`: parents in the path."""
    wanted = _wanted(call, table, within or {})
    if wanted is None:
        return {word: [], f"{word}_links": []}
    async with call.site.database.read() as connection:
        if wanted.marker is not None:
            await _check_marker(connection, table, wanted.marker)
        found = await records.find(connection, table, wanted)
    shown = [_fields(call, show(table, record)) for record in found]
    return {word: shown, f"{word}_links": _links(call, found, wanted)}


async def one(
    call: Call, table: Table, object_id: str, wrapper: str, *, parent_id: str | None = None
) -> JSON:
    """One object. `parent_id`: what the path says it is in."""
    record = await call.record(table, object_id)
    if parent_id is not None and record.parent_id != parent_id:
        raise NotFound(f"{table.noun} {object_id} not found.")
    return {wrapper: _fields(call, show(table, record))}


def added(call: Call, edit: Edit, table: Table, object_id: str, wrapper: str) -> JSON:
    """One object that the edit has added, without another look."""
    return {wrapper: _fields(call, show(table, record_of(edit.stored, table, object_id)))}


def _fields(call: Call, shown: Shown) -> Shown:
    chosen = call.query.get("fields")
    if not chosen:
        return shown
    names = {name for text in chosen for name in text.split(",")}
    return {name: value for name, value in shown.items() if name in names}


def _wanted(call: Call, table: Table, within: Mapping[str, str]) -> Wanted | None:
    """None: nothing can match."""
    project = call.project
    asked = [*call.query.get("project_id", ()), *call.query.get("tenant_id", ())]
    if asked:
        if project not in (None, asked[-1]):
            raise Forbidden(trees.POLICY)
        project = ProjectId(asked[-1])
    filters: dict[str, Sequence[str]] = {name: [value] for name, value in within.items()}
    for name, values in call.query.items():
        if name in PAGING or name in TAGS or name in ("project_id", "tenant_id"):
            continue
        if name not in ATTRIBUTES[table.name] or name in within:
            raise Invalid("One or more arguments are either duplicate or invalid")
        filters[name] = [_word(name, value) for value in values]
        if name in IDS and not all(is_id(value) for value in values):
            return None
    tags = {word: _listed(call, word) for word in TAGS if word in call.query}
    return Wanted(
        project=project,
        filters=filters,
        tags=tags,
        sort=_sort(call),
        marker=_marker(call),
        limit=_limit(call),
        reverse=call.flag("page_reverse"),
    )


def _word(name: str, value: str) -> str:
    if name not in FLAGS:
        return value
    return "false" if value.lower() in ("false", "0", "no", "off", "f", "n", "") else "true"


def _listed(call: Call, word: str) -> list[str]:
    return [item for text in call.query.get(word, ()) for item in text.split(",") if item]


def _sort(call: Call) -> list[tuple[str, bool]]:
    pairs: list[tuple[str, str]] = []
    for item in _listed(call, "sort"):
        key, _, direction = item.partition(":")
        pairs.append((key, direction or "asc"))
    directions = _listed(call, "sort_dir")
    for place, key in enumerate(_listed(call, "sort_key")):
        pairs.append((key, directions[place] if place < len(directions) else "asc"))
    for _, direction in pairs:
        if direction not in ("asc", "desc"):
            raise Invalid(f"Supplied sort direction '{direction}' is not valid.")
    return [(key, direction == "desc") for key, direction in pairs]


def _limit(call: Call) -> int:
    text = call.query.get("limit", ["infinite"])[-1]
    if text == "infinite":
        return PAGE_MAX
    try:
        limit = int(text)
    except ValueError as error:
        raise Invalid(f"Supplied pagination limit '{text}' is not valid.") from error
    return min(limit, PAGE_MAX) if limit >= 1 else PAGE_MAX


def _marker(call: Call) -> str | None:
    text = call.query.get("marker", [""])[-1]
    if not text:
        return None
    if not is_id(text):
        raise Invalid(f"Supplied pagination marker '{text}' is not valid.")
    return read_id(text)


async def _check_marker(connection: Any, table: Table, marker: str) -> None:
    if not await records.exists(connection, table, marker):
        raise Invalid(f"Supplied pagination marker '{marker}' is not valid.")


def _links(call: Call, found: Sequence[Record[Any]], wanted: Wanted) -> list[dict[str, str]]:
    if not found:
        return []
    links = []
    full = len(found) == wanted.limit
    if full or (wanted.reverse and wanted.marker is not None):
        links.append(_link(call, "next", found[-1].value.id, wanted.limit))
    if (wanted.marker is not None and not wanted.reverse) or (wanted.reverse and full):
        links.append(_link(call, "previous", found[0].value.id, wanted.limit))
    return links


def _link(call: Call, rel: str, marker: str, limit: int | None) -> dict[str, str]:
    words: list[tuple[str, str]] = [("limit", str(limit))]
    for name in ("sort", "sort_key", "sort_dir"):
        words += [(name, value) for value in call.query.get(name, ())]
    words.append(("marker", marker))
    if rel == "previous":
        words.append(("page_reverse", "True"))
    return {"rel": rel, "href": f"{call.base}{call.path}?{urlencode(words)}"}
