# SPDX-License-Identifier: Apache-2.0
"""An answer before it is sent, and the steps that may stand between a request and its handler.

A step gets the call and what lies within, and gives an answer: it may ask within with another
call, once, again or not at all, and make something else of what comes back. It sees whoever calls
already admitted by the route's rule. Errors pass through it; `api/app.py` answers them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Protocol, TypeAlias

import msgspec

from colonnade.api.http.call import Call, Route

JSON_TYPE = "application/json"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A handler may return one itself, to send another status or a stream."""

    status: int
    body: bytes = b""
    media_type: str = JSON_TYPE
    headers: Mapping[str, str] = {}
    stream: AsyncIterator[bytes] | None = None  # in place of `body`


Within: TypeAlias = Callable[[Call], Awaitable[Answer]]


class Step(Protocol):
    async def __call__(self, route: Route, call: Call, within: Within) -> Answer: ...


def around(route: Route, steps: Sequence[Step], innermost: Within) -> Within:
    """All steps around the innermost, the first of them outermost."""

    def wrapped(within: Within, step: Step) -> Within:
        async def stepped(call: Call) -> Answer:
            return await step(route, call, within)

        return stepped

    return reduce(wrapped, reversed(steps), innermost)


def encoded(route: Route, found: Any) -> Answer:
    """What a handler returned, as the answer that its route promises."""
    if isinstance(found, Answer):
        return found
    if route.success == 204 or found is None:
        return Answer(status=route.success)
    body = msgspec.json.encode(found) if route.media_type == JSON_TYPE else found
    return Answer(status=route.success, body=body, media_type=route.media_type)
