# SPDX-License-Identifier: Apache-2.0
"""A request becomes a call: admitted by its route's rules, its body read within limits.

The rules are asked before the body is read, so that a caller without the right costs no work. This
module knows no noun. Who the caller is was found out before, in `api/http/middleware.py`.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from msgspec.structs import replace

from colonnade.api.http.call import Call, Route, Site
from colonnade.api.http.routing import Request
from colonnade.api.identity.policy import scope
from colonnade.domain.errors import Invalid, NotFound, TooSlow, UnknownEncoding
from colonnade.domain.limits import BODY_BYTES_MAX

QUERY_WORDS_MAX: Final = 1000
BODILESS: Final = frozenset({"GET", "DELETE"})
_BAD_QUERY: Final = "One or more arguments are either duplicate or invalid"


async def admitted(route: Route, request: Request, site: Site) -> Call:
    """Raises Forbidden, Invalid for a query that makes no sense, NotFound, TooSlow."""
    about: Any = request.scope
    if "\0" in about["path"]:
        raise NotFound("Nothing that is named with the character NUL was found.")
    call = Call(
        site=site,
        project=None,
        caller=about["caller"],
        places=request.places,
        query=_query(about["query_string"].decode("latin-1")),
        path=about["asked_path"],
        base=f"{about['scheme']}://{request.headers.get('host', '')}",
        headers=request.headers,
    )
    rules = [route.rule, *_more_rules(route, call)]
    call = replace(call, project=scope(site.policy, rules, call.caller))
    if request.method in BODILESS:
        return call
    call = replace(call, raw=await _body(request, site.body_s_max))
    guarded = [f"{route.rule}:{name}" for name in route.guarded if _names(call.raw, route, name)]
    if guarded:
        call = replace(call, project=scope(site.policy, [*rules, *guarded], call.caller))
    return call


def _query(words: str) -> dict[str, list[str]]:
    if "%00" in words:
        raise Invalid(_BAD_QUERY)
    if not words:
        return {}
    try:
        return parse_qs(words, keep_blank_values=True, max_num_fields=QUERY_WORDS_MAX)
    except ValueError as error:
        raise Invalid(_BAD_QUERY) from error


def _more_rules(route: Route, call: Call) -> Iterator[str]:
    return (rule for rule, spared in route.more_rules.items() if not (spared and call.flag(spared)))


async def _body(request: Request, within_s: float) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnknownEncoding(f"A body is sent as it is, not in the encoding '{encoding[:40]}'.")
    try:
        async with asyncio.timeout(within_s):
            return await request.body(BODY_BYTES_MAX)
    except TimeoutError as error:
        raise TooSlow(f"The body of the request did not come within {within_s:g} s.") from error


def _names(raw: bytes, route: Route, name: str) -> bool:
    """Does the body use the attribute? A quick look first: most bodies have no such name in any
    spelling."""
    if name.encode() not in raw and b"\\u" not in raw:
        return False
    try:
        whole = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return False  # the handler refuses such a body, with the reason
    inner = whole.get(route.wrapper) if isinstance(whole, dict) else None
    return isinstance(inner, dict) and name in inner
