# SPDX-License-Identifier: Apache-2.0
"""The first step of every request and the last of every answer.

Paths have many spellings (with and without version, tree or `.json`) and one meaning; each
answer carries a request id; each write leaves an audit line. Who calls is found out here, so that
a stranger learns nothing, not even which paths there are. This module knows no noun but the names
of the trees.
"""

import time
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias
from uuid import uuid4

import structlog

from colonnade.api.http.call import Site
from colonnade.api.http.faults import fault, headers_of, unacceptable_body
from colonnade.api.identity.caller import Caller
from colonnade.domain.errors import ColonnadeError, Forbidden

Scope: TypeAlias = Any
Receive: TypeAlias = Any
Send: TypeAlias = Any

REQUEST_ID: Final = b"x-openstack-request-id"
NETWORK_TREES: Final = frozenset({"networks", "subnets", "ports", "floatingips"})
TREES: Final = frozenset({"lbaas", "octavia"}) | NETWORK_TREES
VERSIONS: Final = frozenset({"v2", "v2.0"})
ACCEPTED: Final = frozenset({b"*/*", b"application/*", b"application/json"})
STREAM_TYPE: Final = b"text/event-stream"
STREAMS: Final = "/events"  # how the paths end that may answer with a stream
# Pages for people and probes, which answer in a format of their own.
ANY_FORMAT: Final = frozenset({"/docs", "/healthcheck"})
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger()


class Front:
    """Stands before the application."""

    def __init__(self, app: Any, site: Site, public: Collection[str]) -> None:
        """`public`: the paths that ask for no token."""
        self._app = app
        self._site = site
        self._counts = site.counts
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        asked: str = scope["path"]
        request_id = f"req-{uuid4()}"
        status = 0
        first_byte_s = 0.0

        is_head = scope["method"] == "HEAD"

        async def send_marked(message: Any) -> None:
            nonlocal status, first_byte_s
            if message["type"] == "http.response.start":
                status = message["status"]
                first_byte_s = time.perf_counter() - started
                mark = (REQUEST_ID, request_id.encode())
                message = {**message, "headers": [*message.get("headers", ()), mark]}
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        headers = dict(scope["headers"])
        if is_head:
            _ask_as_get(scope, headers)
        scope["path"] = canonical(asked)
        scope["raw_path"] = scope["path"].encode()
        scope["asked_path"] = asked
        scope["request_id"] = request_id
        scope["site"] = self._site
        scope["caller"] = Caller()
        scope["route"] = 0
        try:
            if not _accepts(scope["path"], headers.get(b"accept", b"")):
                await _answer(send_marked, 406, unacceptable_body(request_id))
            else:
                scope["caller"] = await self._caller(scope, headers)
                await self._app(scope, receive, send_marked)
        except ColonnadeError as error:
            # Handlers let no error out, so this one was raised before a handler was called.
            await _answer(send_marked, *fault(error), headers_of(error))
        if self._counts is not None:
            self._counts.count(scope["route"], status, first_byte_s)
        if scope["method"] not in READS:
            self._audit(scope, status, time.perf_counter() - started)

    async def _caller(self, scope: Scope, headers: dict[bytes, bytes]) -> Caller:
        if _is_foreign(headers):
            raise Forbidden("Requests from pages of other sites are refused.")
        if scope["path"] in self._public:
            return Caller()
        self._site.hosts.check(scope["headers"])
        caller = await self._site.identity.caller(headers)
        self._site.rates.take(caller.project)
        return caller

    def _audit(self, scope: Scope, status: int, took_s: float) -> None:
        caller: Caller = scope["caller"]
        log.info(
            "audit",
            request=scope["request_id"],
            method=scope["method"],
            path=scope["asked_path"],
            project=caller.project or "",
            user=caller.user,
            status=status,
            ms=round(took_s * 1000, 1),
        )


def canonical(path: str) -> str:
    """The one spelling of a path: `/v2/lbaas/...`, `/v2/octavia/...`, `/v2/networks...`."""
    steps = [step for step in path.removesuffix(".json").split("/") if step]
    if path == "/openapi.json" or not steps:
        return path or "/"
    if steps[0] == "load-balancer":
        steps = steps[1:] or [""]
    versioned = False
    while steps and steps[0] in VERSIONS:
        steps, versioned = steps[1:], True
    if not versioned:
        known = steps[:1] and steps[0] in NETWORK_TREES
        return "/" + "/".join((["v2"] if known else []) + steps)
    if not steps or steps in (["lbaas"], ["octavia"]):
        return "/v2"
    tree = [] if steps[0] in TREES else ["lbaas"]
    return "/" + "/".join(["v2", *tree, *steps])


def _ask_as_get(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Everything that may be got may be asked for without its body. A stream would never end."""
    scope["method"] = "GET"
    if STREAM_TYPE in headers.get(b"accept", b""):
        headers[b"accept"] = b"*/*"
        scope["headers"] = list(headers.items())


def _accepts(path: str, accept: bytes) -> bool:
    if not accept.strip() or path in ANY_FORMAT:
        return True
    kinds = {part.partition(b";")[0].strip().lower() for part in accept.split(b",")}
    return not kinds.isdisjoint(ACCEPTED) or (path.endswith(STREAMS) and STREAM_TYPE in kinds)


def _is_foreign(headers: dict[bytes, bytes]) -> bool:
    """A browser says which site its script came from. This API trusts whoever reaches it, so a
    page of another site must not reach it through its reader's browser."""
    origin = headers.get(b"origin")
    return origin is not None and origin.rpartition(b"//")[2] != headers.get(b"host")


async def _answer(
    send: Send, status: int, body: bytes, more: Mapping[str, str] | None = None
) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(name.encode(), value.encode()) for name, value in (more or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
