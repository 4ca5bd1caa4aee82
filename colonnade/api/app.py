# SPDX-License-Identifier: Apache-2.0
"""The HTTP application: the table of routes, and around each handler what all of them need.

Here alone an error becomes a response, a body is limited, a request becomes a `Call`. Handlers
know none of that. What stands before the routes (spellings of paths, request ids, the audit
line) is in `api/front.py`.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec
import structlog
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from colonnade.api import documents, networks
from colonnade.api.call import Call, Route, Site
from colonnade.api.faults import fault, fault_body, framework_body
from colonnade.api.front import Front
from colonnade.api.operator import amphorae
from colonnade.api.user import (
    health_monitors,
    listeners,
    load_balancers,
    members,
    pools,
    providers,
)
from colonnade.domain.errors import Broken, ColonnadeError, Contended, Invalid, Unavailable
from colonnade.domain.ids import ProjectId
from colonnade.domain.limits import BODY_BYTES_MAX, PROJECT_ID_MAX

ROUTES: Sequence[Route] = [
    *load_balancers.ROUTES,
    *listeners.ROUTES,
    *pools.ROUTES,
    *members.ROUTES,
    *health_monitors.ROUTES,
    *providers.ROUTES,
    *amphorae.ROUTES,
    *networks.ROUTES,
]
RETRY_S = "1"
ANSWER_S_MAX = 4.0
TRIES = 3

log = structlog.get_logger()


def create_app(site: Site) -> Front:
    """The ASGI application that serves the site."""
    table = [*ROUTES, *documents.routes(ROUTES)]
    app = Litestar(
        route_handlers=[_handler(route, site) for route in table],
        exception_handlers={HTTPException: _refused_by_framework, Exception: _bug},
        openapi_config=None,
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        debug=False,
    )
    return Front(app)


def _handler(route: Route, site: Site) -> HTTPRouteHandler:
    async def handle(request: Request[Any, Any, Any]) -> ASGIResponse:
        try:
            answer = await _in_time(_answer(route, await _call(request, site)))
        except ColonnadeError as error:
            return _failed(error)
        return _succeeded(route, answer)

    # The status is the answer's own: the framework would look at the annotation instead.
    return HTTPRouteHandler(route.path, http_method=route.method, status_code=200)(handle)


async def _answer(route: Route, call: Call) -> Any:
    """The handler's answer. Losing a race for rows is nobody's fault and has changed nothing, so
    it is tried again before the caller has to."""
    for _ in range(TRIES - 1):
        try:
            return await route.handler(call)
        except Contended:
            log.info("contended", path=call.path)
    return await route.handler(call)


async def _in_time(answering: Coroutine[Any, Any, Any]) -> Any:
    """The handler's answer. Raises Unavailable when a database that hangs keeps it waiting.

    It is not waited for any longer then: ending it takes the database too."""
    task = asyncio.ensure_future(answering)
    done, _ = await asyncio.wait({task}, timeout=ANSWER_S_MAX)
    if not done:
        task.cancel()
        raise Unavailable("No answer in time; look whether the request was carried out.")
    return task.result()


async def _call(request: Request[Any, Any, Any], site: Site) -> Call:
    scope: Any = request.scope
    headers = request.headers
    words = scope["query_string"].decode("latin-1")
    if "%00" in words:
        raise Invalid("One or more arguments are either duplicate or invalid")
    project = headers.get("x-project-id") or None
    if project is not None and len(project) > PROJECT_ID_MAX:
        raise Invalid(f"X-Project-Id is at most {PROJECT_ID_MAX} long", field="project_id")
    return Call(
        site=site,
        project=ProjectId(project) if project is not None else None,
        places=request.path_params,
        query=parse_qs(words, keep_blank_values=True) if words else {},
        path=scope["asked_path"],
        base=f"{scope['scheme']}://{headers.get('host', '')}",
        raw=b"" if request.method in ("GET", "DELETE") else await request.body(),
    )


def _succeeded(route: Route, answer: Any) -> ASGIResponse:
    if route.success == 204 or answer is None:
        return ASGIResponse(status_code=route.success, media_type="application/json")
    if route.media_type == "application/json":
        answer = msgspec.json.encode(answer)
    return ASGIResponse(body=answer, status_code=route.success, media_type=route.media_type)


def _failed(error: ColonnadeError) -> ASGIResponse:
    status, body = fault(error)
    if isinstance(error, Broken):
        log.error("broken", error=str(error))
    if isinstance(error, Unavailable):
        log.warning("unavailable", error=str(error))
    headers = {"retry-after": RETRY_S} if isinstance(error, Unavailable) else {}
    return ASGIResponse(
        body=body, status_code=status, media_type="application/json", headers=headers
    )


def _refused_by_framework(
    _request: Request[Any, Any, Any], error: HTTPException
) -> Response[bytes]:
    status = error.status_code
    if status in (404, 405):
        body = framework_body(status)
    elif status == 413:
        body = fault_body(413, f"The body of a request is at most {BODY_BYTES_MAX} bytes long.")
    else:
        body = fault_body(status, error.detail)
    return Response(
        body, status_code=status, media_type="application/json", headers=error.headers or {}
    )


def _bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    scope: Any = request.scope
    request_id = scope.get("request_id", "")
    log.error("bug", request=request_id, path=scope["path"], exc_info=error)
    body = fault_body(500, f"An unknown error happened; the operator finds it under {request_id}.")
    return Response(body, status_code=500, media_type="application/json")
