# SPDX-License-Identifier: Apache-2.0
"""The HTTP application: the table of routes, and around each handler what all of them need.

Here alone an error becomes a response. What stands before the routes (who calls, spellings of
paths, request ids, the audit line) is in `api/http/middleware.py`; what makes a request a call is
in `api/http/admission.py`; what stands around the handlers is `STEPS`. Handlers know none of that.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import cache
from typing import Any

import structlog
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse

from colonnade.api.extras import (
    affinity_groups,
    events,
    history,
    log_targets,
    networks,
    projects,
    secrets,
    statistics,
    tree_document,
)
from colonnade.api.http import documents
from colonnade.api.http.admission import admitted
from colonnade.api.http.answers import Answer, Step, Within, around, encoded
from colonnade.api.http.call import Call, Route, Site
from colonnade.api.http.faults import fault, fault_body, framework_body, headers_of
from colonnade.api.http.middleware import Front
from colonnade.api.identity.policy import PUBLIC
from colonnade.api.operator import amphorae, flavors, zones
from colonnade.api.steps.dry_run import dry_run
from colonnade.api.steps.idempotency import idempotent
from colonnade.api.steps.waiting import waiting
from colonnade.api.user import (
    health_monitors,
    l7policies,
    l7rules,
    listeners,
    load_balancers,
    members,
    pools,
    providers,
    quotas,
)
from colonnade.domain.errors import Broken, ColonnadeError, Contended, Unavailable
from colonnade.domain.limits import BODY_BYTES_MAX

ROUTES: Sequence[Route] = [
    *load_balancers.ROUTES,
    *listeners.ROUTES,
    *pools.ROUTES,
    *members.ROUTES,
    *health_monitors.ROUTES,
    *l7policies.ROUTES,
    *l7rules.ROUTES,
    *statistics.ROUTES,
    *providers.ROUTES,
    *quotas.ROUTES,
    *flavors.ROUTES,
    *zones.ROUTES,
    *amphorae.ROUTES,
    *log_targets.ROUTES,
    *tree_document.ROUTES,
    *history.ROUTES,
    *events.ROUTES,
    *affinity_groups.ROUTES,
    *secrets.ROUTES,
    *networks.ROUTES,
    *projects.ROUTES,
]
# Around every handler, the first of them outermost. What a step may do: `api/http/answers.py`.
STEPS: Sequence[Step] = [waiting, dry_run, idempotent]
ANSWER_S_MAX = 4.0
TRIES = 3

log = structlog.get_logger()


def create_app(site: Site) -> Front:
    """The ASGI application that serves the site."""
    app, public = _routed()
    return Front(app, site, public)


@cache
def _routed() -> tuple[Litestar, frozenset[str]]:
    """The routes, whatever site they serve (a request says for which it is), and those paths that
    ask for no token. Made once: a hundred handlers take a tenth of a second."""
    table = [*ROUTES, *documents.routes(ROUTES)]
    app = Litestar(
        route_handlers=[*_options(table), *(_handler(route) for route in table)],
        exception_handlers={HTTPException: _refused_by_framework, Exception: _bug},
        openapi_config=None,
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        debug=False,
    )
    return app, frozenset(route.path for route in table if route.rule == PUBLIC)


def _handler(route: Route) -> HTTPRouteHandler:
    within = around(route, STEPS, _innermost(route))

    async def handle(request: Request[Any, Any, Any]) -> ASGIResponse:
        scope: Any = request.scope
        try:
            answer = await within(await admitted(route, request, scope["site"]))
        except ColonnadeError as error:
            answer = _refused(error)
        return _sent(answer)

    # The status is the answer's own: the framework would look at the annotation instead.
    return HTTPRouteHandler(route.path, http_method=route.method, status_code=200)(handle)


def _options(table: Sequence[Route]) -> list[HTTPRouteHandler]:
    """Which methods a path has. They come first in the application: else the framework adds its
    own, which know but the first route of a path."""
    methods: dict[str, list[str]] = {}
    for route in table:
        methods.setdefault(route.path, ["OPTIONS"]).append(route.method)
    return [_allowed(path, sorted(found)) for path, found in methods.items()]


def _allowed(path: str, methods: Sequence[str]) -> HTTPRouteHandler:
    more = ["HEAD"] if "GET" in methods else []
    allow = ", ".join(sorted([*methods, *more]))

    async def handle() -> ASGIResponse:
        return ASGIResponse(status_code=204, headers={"allow": allow})

    return HTTPRouteHandler(path, http_method="OPTIONS", status_code=200)(handle)


def _innermost(route: Route) -> Within:
    async def answered(call: Call) -> Answer:
        return encoded(route, await _in_time(_found(route, call)))

    return answered


async def _found(route: Route, call: Call) -> Any:
    """What the handler gives. Losing a race for rows is nobody's fault and has changed nothing, so
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


def _refused(error: ColonnadeError) -> Answer:
    status, body = fault(error)
    if isinstance(error, Broken):
        log.error("broken", error=str(error))
    if isinstance(error, Unavailable):
        log.warning("unavailable", error=str(error))
    return Answer(status=status, body=body, headers=headers_of(error))


def _sent(answer: Answer) -> ASGIResponse:
    status, headers = answer.status, dict(answer.headers)
    kind = answer.media_type.removesuffix("; charset=utf-8")  # the framework adds it to texts
    if answer.stream is not None:
        return ASGIStreamingResponse(
            iterator=answer.stream, status_code=status, media_type=kind, headers=headers
        )
    return ASGIResponse(body=answer.body, status_code=status, media_type=kind, headers=headers)


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
