# SPDX-License-Identifier: Apache-2.0
"""The HTTP application: the table of routes, and around each handler what all of them need.

Here alone an error becomes a response. What stands before the routes (who calls, spellings of
paths, request ids, the audit line) is in `api/http/middleware.py`; what makes a request a call is
in `api/http/admission.py`; what stands around the handlers is `STEPS`. Handlers know none of that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import cache, partial
from typing import Any, TypeAlias

import structlog
from msgspec.structs import replace

from colonnade.api import flat_nouns
from colonnade.api.extras import (
    copied_secrets,
    events,
    history,
    networks,
    projects,
    secrets,
    statistics,
    taking_over,
    tree_document,
    webhooks,
)
from colonnade.api.http import documents
from colonnade.api.http.admission import admitted
from colonnade.api.http.answers import Answer, Step, Within, around, encoded
from colonnade.api.http.call import Call, Route, Site
from colonnade.api.http.faults import fault, fault_body, framework_body, headers_of
from colonnade.api.http.middleware import Front
from colonnade.api.http.request_counts import RequestCounts
from colonnade.api.http.routing import (
    Receive,
    Request,
    Scope,
    Send,
    Table,
    send_stream,
    send_whole,
)
from colonnade.api.identity.policy import PUBLIC
from colonnade.api.operator import amphorae, fleet_health, upgrades
from colonnade.api.steps.dry_run import dry_run
from colonnade.api.steps.idempotency import idempotent
from colonnade.api.steps.waiting import waiting
from colonnade.api.user import load_balancers, providers, quotas, tree_nouns
from colonnade.domain.errors import Broken, ColonnadeError, Contended, Unavailable
from colonnade.store.secrets.references import Unseen

Handle: TypeAlias = Callable[[Request], Awaitable[Answer]]

ROUTES: Sequence[Route] = [
    *load_balancers.ROUTES,
    *tree_nouns.ROUTES,
    *statistics.ROUTES,
    *providers.ROUTES,
    *quotas.ROUTES,
    *flat_nouns.ROUTES,
    *amphorae.ROUTES,
    *fleet_health.ROUTES,
    *upgrades.ROUTES,
    *taking_over.ROUTES,
    *tree_document.ROUTES,
    *history.ROUTES,
    *events.ROUTES,
    *secrets.ROUTES,
    *webhooks.ROUTES,
    *networks.ROUTES,
    *projects.ROUTES,
]
# Around every handler, the first of them outermost. What a step may do: `api/http/answers.py`.
STEPS: Sequence[Step] = [waiting, dry_run, idempotent]
ANSWER_S_MAX = 4.0
TRIES = 3
_TOO_LONG = "The answer took too long; check whether the request was carried out."

log = structlog.get_logger()


def create_app(site: Site) -> Front:
    """The ASGI application that serves the site."""
    table, public = _routed()
    return Front(partial(_serve, table), site, public)


@cache
def _routed() -> tuple[Table[Handle], frozenset[str]]:
    """The routes, whatever site they serve (a request says for which it is), and those paths that
    ask for no token."""
    routes = _all_routes()
    rows = [
        (route.method, route.path, _handle(route, number)) for number, route in enumerate(routes, 1)
    ]
    public = frozenset(route.path for route in routes if route.rule == PUBLIC)
    return Table([*rows, *_options(routes)]), public


async def _serve(table: Table[Handle], scope: Scope, receive: Receive, send: Send) -> None:
    await _send(receive, send, await _answer(table, scope, receive))


async def _answer(table: Table[Handle], scope: Scope, receive: Receive) -> Answer:
    try:
        handle, places = table.find(scope["method"], scope["path"])
    except LookupError:
        return Answer(status=404, body=framework_body(404))
    request = Request(scope, receive, places)
    if handle is None:
        allowed, _ = table.find("OPTIONS", scope["path"])
        assert allowed is not None, "each path has its options"
        return replace(await allowed(request), status=405, body=framework_body(405))
    try:
        return await handle(request)
    except ColonnadeError as error:
        return _refused(error)
    except Exception as error:  # noqa: BLE001 - a bug, which is told here alone
        return _bug(scope, error)


def counts_of(workers: int) -> RequestCounts:
    """For requests by the routes of this application."""
    names = [(route.method, route.path.replace(":str}", "}")) for route in _all_routes()]
    return RequestCounts(names, workers=workers)


def _all_routes() -> Sequence[Route]:
    return [*ROUTES, *documents.routes(ROUTES)]


def _handle(route: Route, number: int) -> Handle:
    within = around(route, STEPS, _innermost(route))

    async def handle(request: Request) -> Answer:
        request.scope["route"] = number
        return await within(await admitted(route, request, request.scope["site"]))

    return handle


def _options(table: Sequence[Route]) -> Iterator[tuple[str, str, Handle]]:
    """Which methods a path has."""
    methods: dict[str, list[str]] = {}
    for route in table:
        methods.setdefault(route.path, ["OPTIONS"]).append(route.method)
    for path, found in methods.items():
        more = ["HEAD"] if "GET" in found else []
        yield "OPTIONS", path, _allowed(", ".join(sorted([*found, *more])))


def _allowed(allow: str) -> Handle:
    async def handle(_: Request) -> Answer:
        return Answer(status=204, headers={"allow": allow})

    return handle


def _innermost(route: Route) -> Within:
    async def answered(call: Call) -> Answer:
        for _ in range(TRIES - 1):
            try:
                return encoded(route, await in_time(_found(route, call)))
            except Unseen as unseen:
                token = call.caller.token if not route.vouched else ""
                call = await copied_secrets.seen(call, unseen, token)
        return encoded(route, await in_time(_found(route, call)))

    in_time = _read_in_time if route.method == "GET" else _written_in_time
    return answered


async def _found(route: Route, call: Call) -> Any:
    """What the handler gives. Losing a race for rows is nobody's fault and has changed nothing, so
    it is tried again before the caller has to."""
    for _ in range(TRIES - 1):
        try:
            return await route.handler(call)
        except Contended:
            log.info("contended", path=call.path)
            call = replace(call, again=True)
    return await route.handler(call)


async def _read_in_time(answering: Coroutine[Any, Any, Any]) -> Any:
    """The handler's answer. Raises Unavailable when a database that hangs keeps it waiting."""
    try:
        async with asyncio.timeout(ANSWER_S_MAX) as bound:
            return await answering
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise Unavailable(_TOO_LONG) from error


async def _written_in_time(answering: Coroutine[Any, Any, Any]) -> Any:
    """As for what is read; but what a handler undoes as it is ended may take long too, and is not
    waited for."""
    task = asyncio.ensure_future(answering)
    done, _ = await asyncio.wait({task}, timeout=ANSWER_S_MAX)
    if not done:
        task.cancel()
        raise Unavailable(_TOO_LONG)
    return task.result()


def _refused(error: ColonnadeError) -> Answer:
    status, body = fault(error)
    if isinstance(error, Broken):
        log.error("broken", error=str(error))
    if isinstance(error, Unavailable):
        log.warning("unavailable", error=str(error))
    return Answer(status=status, body=body, headers=headers_of(error))


async def _send(receive: Receive, send: Send, answer: Answer) -> None:
    headers = dict(answer.headers)
    if answer.status != 204:
        headers["content-type"] = answer.media_type
    if answer.stream is not None:
        await send_stream(send, receive, answer.stream, headers)
    else:
        await send_whole(send, answer.status, answer.body, headers)


def _bug(scope: Scope, error: Exception) -> Answer:
    request_id = scope.get("request_id", "")
    log.error("bug", request=request_id, path=scope["path"], exc_info=error)
    text = f"An unknown error happened; the operator finds it under {request_id}."
    return Answer(status=500, body=fault_body(500, text))
