# SPDX-License-Identifier: Apache-2.0
"""`?wait=SECONDS`: the answer comes when what was asked for is served, or when the time is up.

The request is carried out at once, as without; only its answer waits, and then shows the object as
it is by then, with the same status. No connection to the database is held meanwhile: a NOTIFY or a
sweep leads to a short look. A request without the word costs a look into its query.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from colonnade.api.http.answers import Answer, Within
from colonnade.api.http.call import NOUNS, Call, Route
from colonnade.api.http.lists import trimmed
from colonnade.api.resources.full_trees import full_tree
from colonnade.api.resources.shown import show
from colonnade.api.steps import dry_run
from colonnade.domain.errors import Invalid, NotFound
from colonnade.domain.ids import is_id, read_id
from colonnade.domain.shape import LOAD_BALANCERS, OF_TYPE, Noun
from colonnade.domain.status import Provisioning
from colonnade.store.queue.feed import feed_of

WORD: Final = "wait"
WAIT_S_MAX: Final = 300.0
SWEEP_S: Final = 1.0
_WRAPPERS: Final = {table.wrapper: table for table in OF_TYPE.values()}
_PENDING: Final = frozenset(
    {Provisioning.PENDING_CREATE, Provisioning.PENDING_UPDATE, Provisioning.PENDING_DELETE}
)

Found = tuple[Noun, str]


async def waiting(route: Route, call: Call, within: Within) -> Answer:
    """The step. Raises Invalid for a time that is none."""
    if WORD not in call.query:
        return await within(call)
    wait_s = _seconds(call.query[WORD][-1])
    until = asyncio.get_running_loop().time() + wait_s
    words = {name: values for name, values in call.query.items() if name != WORD}
    call = replace(call, query=words)
    with call.site.open_requests.place(*call.reader):
        return await _answered_late(route, call, within, until)


async def _answered_late(route: Route, call: Call, within: Within, until: float) -> Answer:
    place = _place(call)
    if route.method == "GET":
        if place is not None:
            await _settled(call, place, until, gone=False)
        return await within(call)
    answer = await within(call)
    if call.flag(dry_run.WORD):
        return answer
    if route.method == "DELETE":
        if place is not None:
            await _settled(call, place, until, gone=True)
        return answer
    return await _after_write(call, answer, place, until)


async def _after_write(call: Call, answer: Answer, place: Found | None, until: float) -> Answer:
    body = msgspec.json.decode(answer.body) if answer.body else {}
    shown = _shown(body)
    if shown is not None:
        place = shown
    if place is None:
        return answer
    await _settled(call, place, until, gone=False)
    if shown is None:
        return answer
    table, object_id = shown
    fresh = await _fresh(call, table, object_id, body[table.wrapper])
    return replace(answer, body=msgspec.json.encode({table.wrapper: fresh}))


async def _fresh(call: Call, table: Noun, object_id: str, before: Mapping[str, Any]) -> Any:
    """As the answer was, but as it is now."""
    children = [*before.get("listeners", ()), *before.get("pools", ())]
    if table is LOAD_BALANCERS and any(len(child) > 1 for child in children):
        async with call.site.database.read() as connection:
            return await full_tree(connection, object_id)
    return trimmed(call, show(table, await call.record(table, object_id)))


async def _settled(call: Call, place: Found, until: float, *, gone: bool) -> None:
    """Return when it is; `gone`: when there is no such object any more."""
    table, object_id = place
    clock = asyncio.get_running_loop().time
    try:
        root_id = (await call.record(table, object_id)).load_balancer_id
        with feed_of(call.site.database).news(root_id) as news:
            while True:
                news.clear()
                record = await call.record(table, object_id)
                left_s = until - clock()
                if (not gone and record.provisioning not in _PENDING) or left_s <= 0:
                    return
                try:
                    async with asyncio.timeout(min(SWEEP_S, left_s)):
                        await news.wait()
                except TimeoutError:
                    continue
    except NotFound:
        return


def _shown(body: Any) -> Found | None:
    """The one object that an answer shows."""
    if not isinstance(body, dict) or len(body) != 1:
        return None
    ((wrapper, value),) = body.items()
    known = wrapper in _WRAPPERS and isinstance(value, dict) and "id" in value
    return (_WRAPPERS[wrapper], value["id"]) if known else None


def _place(call: Call) -> Found | None:
    """The object that the path leads to: the last that it names."""
    named = [name for name in call.places if name in NOUNS]
    if not named or not is_id(call.places[named[-1]]):
        return None
    return NOUNS[named[-1]], read_id(call.places[named[-1]])


def _seconds(text: str) -> float:
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1.0
    if not 0 <= wait_s < float("inf"):
        raise Invalid(f"wait is a number of seconds, not '{text[:20]}'", field=WORD)
    return min(wait_s, WAIT_S_MAX)
