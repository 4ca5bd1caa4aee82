# SPDX-License-Identifier: Apache-2.0
"""What every request meets first and every answer last, whatever it is about.

Paths have many spellings (with and without version, tree or `.json`) and one meaning; each
answer carries a request id; each write leaves an audit line. Content that is not JSON is refused
here. This module knows no noun but the names of the trees.
"""

import time
from typing import Any, Final, TypeAlias
from uuid import uuid4

import structlog

from colonnade.api.faults import fault_body, unacceptable_body

Scope: TypeAlias = Any
Receive: TypeAlias = Any
Send: TypeAlias = Any

REQUEST_ID: Final = b"x-openstack-request-id"
TREES: Final = frozenset({"lbaas", "octavia", "networks", "subnets", "ports"})
NETWORK_TREES: Final = frozenset({"networks", "subnets", "ports"})
VERSIONS: Final = frozenset({"v2", "v2.0"})
ACCEPTED: Final = (b"*/*", b"application/*", b"application/json")
# Pages for people and probes, which answer in a format of their own.
ANY_FORMAT: Final = frozenset({"/docs", "/healthcheck"})
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger()


class Front:
    """Stands before the application."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        asked: str = scope["path"]
        request_id = f"req-{uuid4()}"
        status = 0

        async def send_marked(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                mark = (REQUEST_ID, request_id.encode())
                message = {**message, "headers": [*message.get("headers", ()), mark]}
            await send(message)

        headers = dict(scope["headers"])
        scope["path"] = canonical(asked)
        scope["raw_path"] = scope["path"].encode()
        scope["asked_path"] = asked
        scope["request_id"] = request_id
        if _is_foreign(headers):
            body = fault_body(403, "Requests from pages of other sites are refused.")
            await _answer(send_marked, 403, body)
        elif scope["path"] not in ANY_FORMAT and not _accepts_json(headers.get(b"accept", b"")):
            await _answer(send_marked, 406, unacceptable_body(request_id))
        else:
            await self._app(scope, receive, send_marked)
        if scope["method"] not in READS:
            log.info(
                "audit",
                request=request_id,
                method=scope["method"],
                path=asked,
                project=headers.get(b"x-project-id", b"").decode("latin-1"),
                status=status,
                ms=round((time.perf_counter() - started) * 1000, 1),
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


def _accepts_json(accept: bytes) -> bool:
    if not accept.strip():
        return True
    kinds = (part.partition(b";")[0].strip().lower() for part in accept.split(b","))
    return any(kind in ACCEPTED for kind in kinds)


def _is_foreign(headers: dict[bytes, bytes]) -> bool:
    """A browser says which site its script came from. This API trusts whoever reaches it, so a
    page of another site must not reach it through its reader's browser."""
    origin = headers.get(b"origin")
    return origin is not None and origin.rpartition(b"//")[2] != headers.get(b"host")


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
