# SPDX-License-Identifier: Apache-2.0
"""What happened to load balancers, as a list or as a stream that goes on.

Ids rise, and none is passed by: whoever asks for what came after the last one it has seen misses
nothing that is still kept. A stream reads at its reader's pace; nothing is gathered for a slow one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace

from colonnade.api.extras.history import number
from colonnade.api.http.answers import Answer
from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.lists import asked_project
from colonnade.api.http.open_requests import until_gone
from colonnade.api.resources.objects import listed
from colonnade.api.resources.past_objects import EventObject
from colonnade.api.user.load_balancers import ROOT_PATH
from colonnade.domain.errors import Invalid, NotAuthenticated, NotFound, Unavailable
from colonnade.domain.event_kinds import KINDS
from colonnade.domain.limits import PAGE_MAX
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.store.queue import events
from colonnade.store.queue.events import Recorded, Sought
from colonnade.store.queue.feed import BATCH, feed_of
from colonnade.store.queue.shown_events import show

STREAM_TYPE: Final = "text/event-stream"
LIMIT: Final = 100
KEEP_ALIVE_S: Final = 15.0
RETRY_S: Final = 1.0


async def list_events(call: Call) -> JSON:
    return await _answer(call, Sought(project=asked_project(call)))


async def list_events_of_one(call: Call) -> JSON:
    sought = Sought(project=call.project, load_balancer_id=call.id("load_balancer_id"))
    await _check_known(call, sought)
    return await _answer(call, sought)


async def _check_known(call: Call, sought: Sought) -> None:
    """What happened to one that is gone may still be read. Raises NotFound, Forbidden."""
    assert sought.load_balancer_id is not None, "of one load balancer"
    try:
        await call.check(LOAD_BALANCERS, sought.load_balancer_id)
    except NotFound:
        async with call.site.database.read() as connection:
            if not await events.newest(connection, 1, sought):
                raise


async def _answer(call: Call, sought: Sought) -> JSON:
    kinds = [kind for text in call.query.get("kind", ()) for kind in text.split(",") if kind]
    for kind in kinds:
        if kind not in KINDS:
            raise Invalid(f"kind is one of {', '.join(KINDS)}, not '{kind[:40]}'", field="kind")
    sought = replace(sought, kinds=tuple(kinds) if kinds else None)
    if STREAM_TYPE in call.headers.get("accept", ""):
        give_back = call.site.open_requests.take(*call.reader)
        try:
            stream = _stream(call, sought, await _start(call), give_back)
        except BaseException:
            give_back()
            raise
        until_gone(stream, give_back)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return Answer(status=200, media_type=STREAM_TYPE, headers=headers, stream=stream)
    since = _since(call)
    limit = min(number(call, "limit") or LIMIT, PAGE_MAX)
    async with call.site.database.read() as connection:
        if since is None:
            found = await events.newest(connection, limit, sought)
        else:
            found = await events.newer_than(connection, since, limit, sought)
    links = []
    if since is not None and len(found) == limit:
        words = [("limit", str(limit)), ("since", str(found[-1].id))]
        words += [("kind", kind) for kind in kinds]
        words += [("project_id", asked) for asked in call.query.get("project_id", ())]
        links.append({"rel": "next", "href": f"{call.base}{call.path}?{urlencode(words)}"})
    return {"events": [show(one) for one in found], "events_links": links}


def _since(call: Call) -> int | None:
    for word in ("since", "after"):
        if call.query.get(word, [""])[-1] == "0":
            return 0
        found = number(call, word)
        if found is not None:
            return found
    return None


async def _start(call: Call) -> int:
    """Where a stream begins: after the last event that its reader has seen, or now."""
    seen = call.headers.get("last-event-id", "")
    if seen.isascii() and seen.isdigit():
        return min(int(seen[:19]), 2**63 - 1)
    since = _since(call)
    if since is not None:
        return since
    async with call.site.database.read() as connection:
        return await events.last_id(connection)


async def _stream(
    call: Call, sought: Sought, last: int, give_back: Callable[[], None]
) -> AsyncIterator[bytes]:
    feed = feed_of(call.site.database)
    with ExitStack() as stack:
        stack.callback(give_back)
        news = stack.enter_context(feed.news(sought.load_balancer_id))
        yield b"retry: %d\n\n" % round(RETRY_S * 1000)
        while True:
            news.clear()
            try:
                await _ask_again_who_reads(call)
                found, last, more = await _next(call, sought, last)
            except NotAuthenticated:
                return
            except Unavailable:
                await asyncio.sleep(RETRY_S)
                found, more = [], False
            for one in found:
                yield _told(one)
            if more:
                continue
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await news.wait()
            except TimeoutError:
                yield b": still here\n\n"


async def _ask_again_who_reads(call: Call) -> None:
    """A stream outlives many tokens. Raises NotAuthenticated once the reader's is no longer good;
    mostly it is remembered, and nobody is asked."""
    headers = {name.encode(): value.encode("latin-1") for name, value in call.headers.items()}
    await call.site.identity.caller(headers)


async def _next(call: Call, sought: Sought, last: int) -> tuple[list[Recorded], int, bool]:
    """What came after `last`, how far that reaches, and whether there is more at once."""
    feed = feed_of(call.site.database)
    kept = feed.since(last)
    if kept is not None:
        return (
            [one for one in kept if sought.has(one.event)],
            kept[-1].id if kept else last,
            False,
        )
    reached = feed.position
    async with call.site.database.read() as connection:
        found = await events.newer_than(connection, last, BATCH, sought)
    if len(found) == BATCH:
        return found, found[-1].id, True
    return found, max(last, reached, found[-1].id if found else 0), False


def _told(one: Recorded) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        one.id,
        one.event.kind.encode(),
        msgspec.json.encode(show(one)),
    )


_QUERY: Final = ("since", "limit", "kind")
EVENTS_PATH: Final = "/v2/lbaas/events"
ROUTES = [
    Route(
        method="GET",
        path=EVENTS_PATH,
        handler=list_events,
        rule="os_load-balancer_api:event:get_all",
        query=(*_QUERY, "project_id"),
        answers=listed("events", EventObject),
        summary="What happened to load balancers, as a list or a stream",
    ),
    Route(
        method="GET",
        path=ROOT_PATH + "/events",
        handler=list_events_of_one,
        rule="os_load-balancer_api:loadbalancer:get_events",
        query=_QUERY,
        answers=listed("events", EventObject),
        summary="What happened to a load balancer, as a list or a stream",
    ),
]
