# SPDX-License-Identifier: Apache-2.0
"""As much of Keystone as Colonnade speaks to, over real HTTP on loopback, with faults to order.

It may stand in for the real one because it passes the same promises
(`tests/contract/test_identity_modes.py`, `tests/openstack/`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp import web

from colonnade.runtime.clock import Clock
from tests.fakes.serving import on_loopback

USER, PASSWORD = "lbaas", "sentinel-password-5a1b"
TOKEN_S = 3600.0


class Issued(msgspec.Struct):
    secret: str
    body: dict[str, Any]
    until: float
    may_validate: bool = False
    revoked: bool = False


class FakeKeystone:
    """`fault`: what is answered in the place of the truth, until it is None again; "hang" answers
    nothing. `asked`: how often somebody's token was looked at."""

    def __init__(self, clock: Clock) -> None:
        self.url = ""
        self.clock = clock
        self.tokens: dict[str, Issued] = {}
        self.fault: int | str | None = None
        self.passwords = {USER: PASSWORD}
        self.catalog: list[dict[str, Any]] = []
        self.own_id = uuid4().hex  # of the user that services are
        self.asked = 0
        self.logins = 0
        self.rows: dict[str, list[dict[str, Any]]] = {
            "services": [], "endpoints": [], "regions": [{"id": "RegionOne"}],
        }  # fmt: skip
        self._let_go = asyncio.Event()

    def issue(self, *roles: str, seconds: float = TOKEN_S, **scope: Any) -> Issued:
        """`scope`: project=ID, system=True, domain=ID, or nothing."""
        until = self.clock.now() + seconds
        about: dict[str, Any] = {
            "methods": ["password"],
            "user": {"id": uuid4().hex, "name": "somebody", "domain": {"id": "default"}},
            "expires_at": datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "issued_at": "2026-01-01T00:00:00.000000Z",
        }
        if scope:
            about["roles"] = [{"id": uuid4().hex, "name": role} for role in roles]
        for kind, which in scope.items():
            about[kind] = {"all": True} if kind == "system" else {"id": which, "name": which}
        made = Issued(f"gAAAA{uuid4().hex}", {"token": about}, until)
        self.tokens[made.secret] = made
        return made

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeKeystone"]:
        app = web.Application(middlewares=[self._faulty])
        app.router.add_post("/v3/auth/tokens", self._log_in)
        app.router.add_get("/v3/auth/tokens", self._look)
        app.router.add_delete("/v3/auth/tokens", self._revoke)
        app.router.add_get("/v3/regions", self._list)
        for name in ("services", "endpoints"):
            app.router.add_get(f"/v3/{name}", self._list)
            app.router.add_post(f"/v3/{name}", self._add)
            app.router.add_patch(f"/v3/{name}/{{id}}", self._change)
        async with on_loopback(app) as self.url:
            try:
                yield self
            finally:
                self._let_go.set()

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.fault == "hang":
            await self._let_go.wait()
        if isinstance(self.fault, str):
            return web.Response(text=self.fault, content_type="application/json")
        if self.fault is not None:
            return _error(self.fault)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        self.logins += 1
        identity = (await request.json())["auth"]["identity"]
        if "password" in identity:
            user = identity["password"]["user"]
            known = self.passwords.get(user["name"]) == user["password"]
        else:
            credential = identity["application_credential"]
            known = self.passwords.get(credential["id"]) == credential["secret"]
        if not known:
            return _error(401)
        made = self.issue("admin", "service", project="service")
        made.may_validate = True
        made.body["token"]["user"]["id"] = self.own_id
        made.body["token"]["catalog"] = self.catalog
        return web.json_response(made.body, status=201, headers={"X-Subject-Token": made.secret})

    async def _look(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        self.asked += 1
        subject = self.tokens.get(request.headers["X-Subject-Token"])
        if subject is None or subject.revoked:
            return _error(404)
        if subject.until <= self.clock.now() and "allow_expired" not in request.query:
            return _error(404)
        return web.json_response(subject.body, headers={"X-Subject-Token": subject.secret})

    async def _revoke(self, request: web.Request) -> web.StreamResponse:
        self.tokens[request.headers["X-Subject-Token"]].revoked = True
        return web.Response(status=204)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        name, rows = self._rows(request)
        wanted = request.query.items()
        found = [row for row in rows if all(row.get(word) == text for word, text in wanted)]
        return web.json_response({name: found})

    async def _add(self, request: web.Request) -> web.StreamResponse:
        name, rows = self._rows(request)
        made = {"id": uuid4().hex, "enabled": True, **(await request.json())[name[:-1]]}
        rows.append(made)
        return web.json_response({name[:-1]: made}, status=201)

    async def _change(self, request: web.Request) -> web.StreamResponse:
        name, rows = self._rows(request)
        (row,) = (row for row in rows if row["id"] == request.match_info["id"])
        row |= (await request.json())[name[:-1]]
        return web.json_response({name[:-1]: row})

    def _rows(self, request: web.Request) -> tuple[str, list[dict[str, Any]]]:
        name = request.path.split("/")[2]
        return name, self.rows[name]

    def _refusal(self, request: web.Request) -> web.StreamResponse | None:
        own = self.tokens.get(request.headers.get("X-Auth-Token", ""))
        if own is None or own.revoked or own.until <= self.clock.now():
            return _error(401)
        return None if own.may_validate else _error(403)


def _error(status: int) -> web.Response:
    return web.json_response({"error": {"code": status, "message": "no"}}, status=status)
