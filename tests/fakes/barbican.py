# SPDX-License-Identifier: Apache-2.0
"""As much of Barbican as Colonnade and its users speak to, over real HTTP on loopback, with faults
to order.

It may stand in for the real one because it passes the same promises (`tests/openstack/`). Whose
token is whose is the fake Keystone's to know; rights are those of Barbican's own policy.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from tests.fakes.keystone import FakeKeystone
from tests.fakes.serving import catalogued, on_loopback

BYTES_MAX = 8 * 1024 * 1024


class Kept(msgspec.Struct):
    project: str
    creator: str
    about: dict[str, Any]
    payload: bytes = b""
    users: list[str] = []
    project_access: bool = True
    consumers: list[dict[str, str]] = []


class FakeBarbican:
    """`fault`: what calls are answered with instead; "hang" answers nothing, "cut" ends the
    connection, "lost" does the work and loses its answer. `only`: a word of the calls that it is
    for. `calls`: all that came."""

    def __init__(self, keystone: FakeKeystone) -> None:
        self.url = ""
        self.keystone = keystone
        self.kept: dict[str, Kept] = {}
        self.fault: int | str | None = None
        self.only = ""
        self.calls: list[str] = []
        self._let_go = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeBarbican"]:
        app = web.Application(middlewares=[self._faulty], client_max_size=BYTES_MAX)
        for plural in ("secrets", "containers"):
            app.router.add_get(f"/v1/{plural}", self._list)
            app.router.add_post(f"/v1/{plural}", self._create)
            one = f"/v1/{plural}/{{id}}"
            app.router.add_get(one, self._show)
            app.router.add_delete(one, self._delete)
            app.router.add_get(f"{one}/acl", self._acl)
            app.router.add_put(f"{one}/acl", self._set_acl)
            app.router.add_get(f"{one}/consumers", self._consumers)
            app.router.add_post(f"{one}/consumers", self._register)
            app.router.add_delete(f"{one}/consumers", self._deregister)
        app.router.add_get("/v1/secrets/{id}/payload", self._payload)
        app.router.add_post("/v1/containers/{id}/secrets", self._put_in)
        app.router.add_delete("/v1/containers/{id}/secrets", self._take_out)
        async with on_loopback(app) as self.url:
            self.keystone.catalog = [catalogued("key-manager", self.url)]
            try:
                yield self
            finally:
                self._let_go.set()

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        call = f"{request.method} {request.path}"
        self.calls.append(call)
        fault = self.fault if self.only in call else None
        if fault == "hang":
            await self._let_go.wait()
        if fault == "cut" and request.transport is not None:
            request.transport.close()
        if isinstance(fault, int):
            return web.json_response({}, status=fault)
        token = self.keystone.tokens.get(request.headers.get("X-Auth-Token", ""))
        if token is None or token.revoked:
            return web.json_response({}, status=401)
        answer: web.StreamResponse = await handler(request)
        if fault == "lost":
            return web.json_response({}, status=504)
        return answer if fault is None else web.Response(text=str(fault))

    async def _list(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"total": len(self.kept)})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.split("/")[2]
        about = await request.json()
        payload = about.pop("payload", "")
        if about.get("payload_content_encoding") == "base64":
            raw = base64.b64decode(payload)
        else:
            raw = payload.encode()
        project, user, _ = self._caller(request)
        made = str(uuid4())
        self.kept[made] = Kept(project=project, creator=user, about=about, payload=raw)
        word = f"{plural[:-1]}_ref"
        return web.json_response({word: f"{self.url}/v1/{plural}/{made}"}, status=201)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        found = self._readable(request)
        kind = found.about.get("payload_content_type")
        return web.json_response({**found.about, "content_types": {"default": kind}})

    async def _payload(self, request: web.Request) -> web.StreamResponse:
        found = self._readable(request)
        kind = found.about["payload_content_type"]
        if request.headers.get("Accept") != kind:
            return web.json_response({}, status=406)
        return web.Response(body=found.payload, content_type=kind)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        self._owned(request)
        del self.kept[request.match_info["id"]]
        return web.Response(status=204)

    async def _acl(self, request: web.Request) -> web.StreamResponse:
        found = self._owned(request)
        read = {"users": found.users, "project-access": found.project_access}
        return web.json_response({"read": read})

    async def _set_acl(self, request: web.Request) -> web.StreamResponse:
        found = self._owned(request)
        read = (await request.json())["read"]
        found.users, found.project_access = read["users"], read.get("project-access", True)
        return web.json_response({"acl_ref": str(request.url)})

    async def _consumers(self, request: web.Request) -> web.StreamResponse:
        found = self._readable(request).consumers
        return web.json_response({"consumers": found, "total": len(found)})

    async def _register(self, request: web.Request) -> web.StreamResponse:
        found, about = self._readable(request), await request.json()
        if about not in found.consumers:
            found.consumers.append(about)
        return web.json_response({})

    async def _deregister(self, request: web.Request) -> web.StreamResponse:
        found, about = self._readable(request), await request.json()
        if about not in found.consumers:
            return web.json_response({}, status=404)
        found.consumers.remove(about)
        return web.json_response({})

    async def _put_in(self, request: web.Request) -> web.StreamResponse:
        found = self._owned(request)
        if found.about["type"] != "generic":
            return web.json_response({}, status=400)
        found.about["secret_refs"].append(await request.json())
        return web.json_response({}, status=201)

    async def _take_out(self, request: web.Request) -> web.StreamResponse:
        self._owned(request).about["secret_refs"].remove(await request.json())
        return web.Response(status=204)

    def _caller(self, request: web.Request) -> tuple[str, str, set[str]]:
        token = self.keystone.tokens[request.headers["X-Auth-Token"]].body["token"]
        roles = {role["name"] for role in token.get("roles", ())}
        return token.get("project", {}).get("id", ""), token["user"]["id"], roles

    def _found(self, request: web.Request) -> Kept:
        found = self.kept.get(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound
        return found

    def _owned(self, request: web.Request) -> Kept:
        found = self._found(request)
        project, user, roles = self._caller(request)
        mine = user == found.creator or found.project_access
        if project != found.project or not ("admin" in roles or ("member" in roles and mine)):
            raise web.HTTPForbidden
        return found

    def _readable(self, request: web.Request) -> Kept:
        found = self._found(request)
        return found if self._caller(request)[1] in found.users else self._owned(request)
