# SPDX-License-Identifier: Apache-2.0
"""The amphora API over mutual TLS: what a controller may ask and tell.

Only a controller may change anything; a health receiver may look. Every refusal has a reason.
The translation from HTTP to the agent's own calls is here and nowhere else.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeVar
from uuid import UUID

import msgspec
from aiohttp import web

from colonnade.agent.apply.amphora import Amphora
from colonnade.agent.apply.errors import NotNow, Older, Refused
from colonnade.agent.haproxy.reloads import TooLittleMemory
from colonnade.agent.haproxy.status import Watch
from colonnade.agent.own_numbers import own_numbers
from colonnade.protocol.bundle import BUNDLE_BYTES_MAX, Bundle
from colonnade.protocol.messages import Drain, Info, NewSeat, Refusal
from colonnade.runtime.mtls import peer_name

READERS: Final = ("controller", "health")
WRITERS: Final = ("controller",)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


class Unreadable(Exception):
    """The body is not what it should be."""


_CODES: Final[Mapping[type[Exception], int]] = {
    Unreadable: 400,
    Refused: 422,
    NotNow: 503,
    TooLittleMemory: 507,
}


class Seats(Protocol):
    """The other amphorae that an agent serves as."""

    async def open(self, new: NewSeat) -> None:
        """Raises Refused or NotNow."""

    async def close(self, seat_id: str) -> None:
        """Raises NotNow."""


def application(
    amphora: Amphora, watch: Watch, about: Info, seats: Seats | None = None
) -> web.Application:
    """The routes. `about.generation` is filled in at each call."""

    async def info(_request: web.Request) -> web.Response:
        return _json(msgspec.structs.replace(about, generation=amphora.generation))

    async def status(_request: web.Request) -> web.Response:
        return _json(await watch.refresh())

    async def statistics(_request: web.Request) -> web.Response:
        return _json(await watch.count())

    async def put_bundle(request: web.Request) -> web.Response:
        return _json(await amphora.apply(await _body(request, Bundle, "a bundle")))

    async def drain(request: web.Request) -> web.Response:
        return _json(await amphora.drain(await _body(request, Drain, "a wish to drain")))

    app = web.Application(client_max_size=BUNDLE_BYTES_MAX, middlewares=[_guard])
    app.router.add_get("/info", info)
    app.router.add_get("/status", status)
    app.router.add_get("/statistics", statistics)
    app.router.add_get("/numbers", _numbers)
    app.router.add_put("/bundle", put_bundle)
    app.router.add_put("/drain", drain)
    if seats is not None:
        app.router.add_route("*", "/seats/{id}", _seat_route(seats, about))
    return app


def _seat_route(seats: Seats, about: Info) -> Handler:
    async def seat(request: web.Request) -> web.Response:
        try:
            seat_id = str(UUID(request.match_info["id"]))
        except ValueError as error:
            raise Unreadable(str(error)) from error
        if request.method == "PUT":
            new = await _body(request, NewSeat, "a seat")
            if new.id != seat_id:
                raise Unreadable("the body names another seat than the path")
            await seats.open(new)
        elif request.method == "DELETE":
            await seats.close(seat_id)
        else:
            raise web.HTTPMethodNotAllowed(request.method, ["PUT", "DELETE"])
        return _json(about)

    return seat


async def _numbers(_request: web.Request) -> web.Response:
    return _json(own_numbers())


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    transport = request.transport
    name = peer_name(transport.get_extra_info("ssl_object") if transport is not None else None)
    if name not in (READERS if request.method == "GET" else WRITERS):
        return _refusal(403, "this certificate may not do this")
    try:
        return await handler(request)
    except web.HTTPException as error:  # no such route, or the body is too long
        return _refusal(error.status, error.reason)
    except Older as error:
        return _refusal(409, str(error), error.generation)
    except tuple(_CODES) as error:
        return _refusal(_CODES[type(error)], str(error))


async def _body(request: web.Request, kind: type[T], word: str) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.MsgspecError as error:
        raise Unreadable(f"not {word}: {error}") from error


def _json(body: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _refusal(code: int, reason: str, generation: int = 0) -> web.Response:
    return web.Response(
        status=code,
        body=msgspec.json.encode(Refusal(reason=reason, generation=generation)),
        content_type="application/json",
    )
