# SPDX-License-Identifier: Apache-2.0
"""As much of Glance as Colonnade speaks to, over real HTTP on loopback, with faults to order.

It may stand in for the real one because it passes the same promises (`tests/openstack/`).
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from aiohttp import web

from tests.fakes.keystone import FakeKeystone
from tests.fakes.serving import catalogued, on_loopback


class FakeGlance:
    """`lose`: the answers to uploads are lost before anything is kept; `spoil`: what is kept is
    not what was sent."""

    def __init__(self, keystone: FakeKeystone) -> None:
        self.url = ""
        self.keystone = keystone
        self.images: dict[str, dict[str, Any]] = {}
        self.lose = False
        self.spoil = False
        self.forbid = False

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeGlance"]:
        app = web.Application(middlewares=[self._guarded], client_max_size=2**24)
        app.router.add_get("/v2/images", self._list)
        app.router.add_post("/v2/images", self._create)
        app.router.add_get("/v2/images/{id}", self._one)
        app.router.add_put("/v2/images/{id}/file", self._upload)
        app.router.add_put("/v2/images/{id}/tags/{tag}", self._tag)
        async with on_loopback(app) as self.url:
            self.keystone.catalog = [catalogued("image", self.url)]
            yield self

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.forbid and request.method == "POST":
            return web.Response(status=403, text="You are not authorized")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _list(self, request: web.Request) -> web.StreamResponse:
        query = {name: text for name, text in request.query.items() if name != "limit"}
        rows = self.images.values()
        found = [row for row in rows if all(row.get(n) == text for n, text in query.items())]
        return web.json_response({"images": found})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        about = {**(await request.json()), "id": str(uuid4()), "status": "queued", "tags": []}
        self.images[about["id"]] = about
        return web.json_response(about, status=201)

    async def _one(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.images[request.match_info["id"]])

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        if self.lose:
            assert request.transport is not None
            request.transport.abort()
        else:
            content = content[:-1] if self.spoil else content
            self.images[request.match_info["id"]] |= {
                "status": "active",
                "size": len(content),
                "os_hash_algo": "sha512",
                "os_hash_value": hashlib.sha512(content).hexdigest(),
            }
        return web.Response(status=204)

    async def _tag(self, request: web.Request) -> web.StreamResponse:
        self.images[request.match_info["id"]]["tags"].append(request.match_info["tag"])
        return web.Response(status=204)
