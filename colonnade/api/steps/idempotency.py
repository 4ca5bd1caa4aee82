# SPDX-License-Identifier: Apache-2.0
"""`Idempotency-Key`: a POST that is sent again makes no second object, and answers the first.

Where the request makes an object of a tree, the store writes the key together with it, so that not
even a crash comes between. For other objects a claim is written first and the answer last. The key
belongs to the caller's project, and to one request: with another path or body it is refused. A
request without a key costs a look into its headers.
"""

import asyncio
from hashlib import sha256
from typing import Final
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from colonnade.api.http.answers import Answer, Within
from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.lists import trimmed
from colonnade.api.resources.full_trees import full_tree
from colonnade.api.resources.shown import show
from colonnade.domain.errors import (
    ColonnadeError,
    Conflict,
    Invalid,
    NotFound,
    OverQuota,
    Unavailable,
    Unprocessable,
)
from colonnade.domain.shape import LOAD_BALANCERS, OF_TYPE, Noun
from colonnade.store.requests import idempotency
from colonnade.store.requests.context import Key
from colonnade.store.requests.idempotency import Made

HEADER: Final = "idempotency-key"
KEY_MAX: Final = 255
REPLAYED: Final = {"idempotency-replayed": "true"}
# The other request with this key may not have committed yet.
LOOKS_S: Final = (0.0, 0.05, 0.2, 0.5)
_KINDS: Final = {table.kind: table for table in OF_TYPE.values()}
# Two requests with one key at this process wait for each other; those at others meet in the store.
_LOCKS: Final[WeakValueDictionary[tuple[str, str], asyncio.Lock]] = WeakValueDictionary()


async def idempotent(route: Route, call: Call, within: Within) -> Answer:
    """The step."""
    text = call.headers.get(HEADER)
    if text is None or route.method != "POST" or call.is_dry_run:
        return await within(call)
    key = _key(route, call, text)
    lock = _LOCKS.setdefault((key.project, key.word), asyncio.Lock())
    async with lock:
        made = await _look(call, key)
        if made is not None:
            return await _again(route, call, made)
        if not key.kind:
            return await _apart(call, within, key)
        return await _together(route, replace(call, key=key), within)


def _key(route: Route, call: Call, text: str) -> Key:
    if not 0 < len(text) <= KEY_MAX or not text.isprintable():
        raise Invalid(f"An Idempotency-Key has 1 to {KEY_MAX} printable characters.")
    noun = route.rule.split(":")[1]
    told = f"{route.method} {route.path} {sorted(call.places.items())}\n".encode()
    return Key(
        project=call.caller.project or "",
        word=text,
        digest=sha256(told + call.raw).digest(),
        kind=noun if noun in _KINDS else "",
    )


async def _look(call: Call, key: Key) -> Made | None:
    """Raises Unprocessable when the key belongs to another request."""
    async with call.site.database.read() as connection:
        made = await idempotency.find(connection, key.project, key.word)
    if made is not None and made.digest != key.digest:
        raise Unprocessable(
            "This Idempotency-Key was used for another request; a new request needs a new key."
        )
    return made


async def _together(route: Route, call: Call, within: Within) -> Answer:
    assert call.key is not None, "called with a key"
    try:
        return await within(call)
    except (Conflict, OverQuota, Unavailable):
        # Another request with this key may have made the object first, which is the conflict; or
        # all was written and only the answer was lost.
        for pause_s in LOOKS_S:
            await asyncio.sleep(pause_s)
            made = await _look(call, call.key)
            if made is not None:
                return await _again(route, call, made)
        raise


async def _apart(call: Call, within: Within, key: Key) -> Answer:
    async with call.site.database.read() as connection:
        if not await idempotency.claim(connection, key):
            raise idempotency.Repeated()
    try:
        answer = await within(call)
    except ColonnadeError:
        async with call.site.database.read() as connection:
            await idempotency.unclaim(connection, key)
        raise
    async with call.site.database.read() as connection:
        await idempotency.answered(connection, key, answer.status, answer.body)
    return answer


async def _again(route: Route, call: Call, made: Made) -> Answer:
    if made.object_id is not None:
        table = _KINDS[made.kind]
        shown = await _shown(call, table, made.object_id)
        body = msgspec.json.encode({table.wrapper: shown})
        return Answer(status=route.success, body=body, headers=REPLAYED)
    if made.answer is None or made.status is None:
        raise Conflict(
            "A request with this Idempotency-Key is being carried out, or its answer was lost;"
            " check whether the object exists."
        )
    return Answer(status=made.status, body=made.answer, headers=REPLAYED)


async def _shown(call: Call, table: Noun, object_id: str) -> JSON:
    """The object as it is now, in the shape in which it is answered when it is made."""
    try:
        record = await call.record(table, object_id)
    except NotFound as error:
        raise Conflict(
            f"The {table.noun} {object_id} that this Idempotency-Key made is gone."
        ) from error
    if table is LOAD_BALANCERS and any(record.below):
        async with call.site.database.read() as connection:
            return await full_tree(connection, object_id)
    return trimmed(call, show(table, record))
