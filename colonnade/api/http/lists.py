# SPDX-License-Identifier: Apache-2.0
"""Lists as answers: filters, order, pages, links and the choice of fields, for any kind of object.

The words of a query string are the wire contract's. A page is full when as many objects came as
were asked for; its `next` link may then lead to an empty page. Filters are not repeated in links.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec.structs import asdict

from colonnade.api.http.call import JSON, Call
from colonnade.api.http.decoding import read_flag
from colonnade.domain.addresses import canonical, is_address
from colonnade.domain.errors import POLICY, Forbidden, Invalid
from colonnade.domain.ids import ProjectId, is_id, read_id
from colonnade.domain.limits import PAGE_MAX
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.listing import Source, Wanted

PAGING: Final = frozenset(
    {"limit", "marker", "sort", "sort_key", "sort_dir", "page_reverse", "fields"}
)
BAD_FILTER: Final = "One or more arguments are either duplicate or invalid"
TAGS: Final = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})
FLAGS: Final = frozenset({"cert_busy", "enabled", "expiring"})  # of what has no table

Shown = dict[str, Any]
_NEVER: Final = datetime.fromtimestamp(0, UTC)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a list needs to know of one kind of object."""

    source: Source  # says what may be filtered by
    find: Callable[[Connection, Wanted], Awaitable[Sequence[Any]]]
    key: Callable[[Any], str]  # what a marker names it by
    show: Callable[[Any], msgspec.Struct | Shown]
    key_name: str = "id"  # the attribute that a marker is
    has_tags: bool = False


async def listed(
    call: Call, kind: Kind, word: str, *, links: str = "", within: Mapping[str, str] | None = None
) -> JSON:
    """The list that the query string asks for, and its links. `within`: parents in the path;
    `links`: their key, where the contract has a word of its own."""
    links = links or f"{word}_links"
    wanted = _wanted(call, kind, within or {})
    if wanted is None:
        return {word: [], links: []}
    async with call.site.database.read() as connection:
        if wanted.marker is not None:
            await _check_marker(connection, kind, wanted.project, wanted.marker)
        found = await kind.find(connection, wanted)
    shown = [kind.show(one) for one in found]
    if "fields" in call.query:
        shown = [trimmed(call, one) for one in shown]
    ends = [kind.key(one) for one in (*found[:1], *found[-1:])]
    return {word: shown, links: _links(call, ends, len(found), wanted)}


async def _check_marker(
    connection: Connection, kind: Kind, project: ProjectId | None, marker: str
) -> None:
    """A marker must be an object that the caller may see: its place in the order tells about it."""
    alone = Wanted(project=project, filters={kind.key_name: [marker]})
    if not await kind.find(connection, alone):
        raise Invalid(f"Supplied pagination marker '{marker}' is not valid.")


def trimmed(call: Call, shown: msgspec.Struct | Shown) -> JSON:
    """Only the fields that the query string chooses."""
    chosen = call.query.get("fields")
    if not chosen:
        return shown
    names = {name for text in chosen for name in text.split(",")}
    values = shown if isinstance(shown, dict) else asdict(shown)
    return {name: value for name, value in values.items() if name in names}


def asked_project(call: Call) -> ProjectId | None:
    """Whose objects are listed: who sees all may ask for one project's. Raises Forbidden."""
    asked = [*call.query.get("project_id", ()), *call.query.get("tenant_id", ())]
    if not asked:
        return call.project
    if call.project not in (None, asked[-1]):
        raise Forbidden(POLICY)
    return ProjectId(asked[-1])


def _wanted(call: Call, kind: Kind, within: Mapping[str, str]) -> Wanted | None:
    """None: nothing can match."""
    project = asked_project(call)
    filters: dict[str, Sequence[str]] = {name: [value] for name, value in within.items()}
    for name, values in call.query.items():
        if name in PAGING or name in TAGS or name in ("project_id", "tenant_id"):
            continue
        if name in within and {*values} == {within[name]}:
            continue  # said twice, in the path and in the query
        if name not in kind.source.attributes or name in within:
            raise Invalid(BAD_FILTER)
        filters[name] = [word for value in values for word in _spellings(kind.source, name, value)]
        if not filters[name]:
            return None
    tags = {word: _words(call, word) for word in TAGS if kind.has_tags and word in call.query}
    return Wanted(
        project=project,
        filters=filters,
        tags=tags,
        sort=_sort(call),
        marker=_marker(call, kind),
        limit=_limit(call),
        reverse=call.flag("page_reverse"),
    )


def _spellings(source: Source, name: str, value: str) -> list[str]:
    """The value as it is compared; none for what can be no value of the attribute."""
    if name in source.times:
        return [_time(name, value)]
    if name in source.addresses:
        if not value:
            return [value]
        return [canonical(value)] if is_address(value) else []
    if name in source.ids:
        return [read_id(value)] if is_id(value) else []
    if (name.endswith("_id") or name in source.lists) and is_id(value):
        return [read_id(value)]
    return [_word(source, name, value)]


def _time(name: str, value: str) -> str:
    """As it is shown, or in any other spelling of ISO 8601; nothing is the beginning of time."""
    try:
        # A "+" of a time zone is a space to those who read query strings.
        found = datetime.fromisoformat(value.replace(" ", "+")) if value else _NEVER
    except ValueError as error:
        raise Invalid(
            f"Invalid input for {name}. Value: '{value[:50]}'. Value should be a time as in"
            " 2026-01-31T12:00:00"
        ) from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return found.replace(microsecond=0).isoformat()


def _word(source: Source, name: str, value: str) -> str:
    if name not in source.flags | FLAGS:
        return value
    return "true" if read_flag(name, value) else "false"


def _words(call: Call, word: str) -> list[str]:
    return [item for text in call.query.get(word, ()) for item in text.split(",") if item]


def _sort(call: Call) -> list[tuple[str, bool]]:
    pairs: list[tuple[str, str]] = []
    for item in _words(call, "sort"):
        key, _, direction = item.partition(":")
        pairs.append((key, direction or "asc"))
    directions = _words(call, "sort_dir")
    for place, key in enumerate(_words(call, "sort_key")):
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


def _marker(call: Call, kind: Kind) -> str | None:
    text = call.query.get("marker", [""])[-1]
    if not text or kind.key_name != "id":
        return text or None
    if not is_id(text):
        raise Invalid(f"Supplied pagination marker '{text}' is not valid.")
    return read_id(text)


def _links(call: Call, ends: Sequence[str], count: int, wanted: Wanted) -> list[dict[str, str]]:
    """`ends`: the keys of the page's first and last."""
    if not ends:
        return []
    links = []
    first, last = ends
    full = count == wanted.limit
    if full or (wanted.reverse and wanted.marker is not None):
        links.append(_link(call, "next", last, wanted.limit))
    if (wanted.marker is not None and not wanted.reverse) or (wanted.reverse and full):
        links.append(_link(call, "previous", first, wanted.limit))
    return links


def _link(call: Call, rel: str, marker: str, limit: int | None) -> dict[str, str]:
    words: list[tuple[str, str]] = [("limit", str(limit))]
    for name in ("sort", "sort_key", "sort_dir"):
        words += [(name, value) for value in call.query.get(name, ())]
    words.append(("marker", marker))
    if rel == "previous":
        words.append(("page_reverse", "True"))
    return {"rel": rel, "href": f"{call.base}{call.path}?{urlencode(words)}"}
