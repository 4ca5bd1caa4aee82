# SPDX-License-Identifier: Apache-2.0
"""A receiver of webhooks on loopback that checks signatures itself, and answers as it is told."""

import asyncio
import base64
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = base64.b64encode(KEY).decode()
REACH = ("127.0.0.0/8",)
Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Received(msgspec.Struct, frozen=True):
    id: str
    signatures: list[str]
    time: int
    raw: bytes

    @property
    def body(self) -> Any:
        return msgspec.json.decode(self.raw)

    @property
    def events(self) -> list[Any]:
        found: list[Any] = self.body["data"]["events"]
        return found

    def is_signed_with(self, key: bytes) -> bool:
        signed = f"{self.id}.{self.time}.".encode() + self.raw
        wanted = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        return f"v1,{wanted}" in self.signatures


class Receiver:
    """`answers`: a status, or what to do, for each message to come; 204 after them."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[Received] = []
        self.answers: list[int | Script] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?to=me"

    @property
    def events(self) -> list[int]:
        """The ids of all that were received, in that order."""
        return [event["id"] for one in self.received for event in one.events]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        own = request.headers
        self.received.append(
            Received(
                own["webhook-id"],
                own["webhook-signature"].split(" "),
                int(own["webhook-timestamp"]),
                raw,
            )
        )
        await self.may_answer.wait()
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, int):
            return web.Response(status=answer)
        return await answer(request)


@contextlib.asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.add_routes([web.post("/{tail:.*}", receiver.answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        receiver.may_answer.set()
        await runner.cleanup()
