# SPDX-License-Identifier: Apache-2.0
"""What the API says about itself: its versions, its health, its routes for programs and people.

The page at /docs is one file without any outside host; it reads /openapi.json, which is made
from the table of routes and the bodies they take.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from colonnade.api.http.answers import Answer
from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.openapi import openapi
from colonnade.api.identity.policy import KNOWN, PUBLIC

_PAGE: Final = Path(__file__).with_name("docs.html")
# From the wire contract; days that it does not tell are those of the version before.
_DAYS: Final = {0: "2016-12-11", 1: "2018-04-20", 2: "2018-07-31", 3: "2018-12-18"}
# The first is for whoever does not say.
_HEALTHY: Final = {
    "text/plain": b"OK",
    "text/html": b"<!doctype html><title>Healthcheck</title><p>OK</p>",
    "application/json": b'{"detailed": false, "reasons": ["OK"]}',
}
_NEWEST, _NEWEST_DAY = 30, "2025-02-26"


async def show_versions(call: Call) -> JSON:
    return {"versions": [_version(minor, call.base) for minor in range(_NEWEST + 1)]}


def _version(minor: int, base: str) -> dict[str, Any]:
    newest = minor == _NEWEST
    day = _NEWEST_DAY if newest else _DAYS[min(minor, 3)]
    return {
        "id": f"v2.{minor}",
        "status": "CURRENT" if newest else "SUPPORTED",
        "updated": f"{day}T00:00:00Z",
        "links": [{"href": f"{base}/v2", "rel": "self"}],
    }


async def show_version(_call: Call) -> JSON:
    return "v2"


async def check_health(call: Call) -> JSON:
    async with call.site.database.read() as connection:
        await connection.execute("SELECT 1")
    accepted = call.headers.get("accept", "")
    chosen = min(_HEALTHY, key=lambda kind: accepted.find(kind) % (len(accepted) + 1))
    return Answer(status=200, media_type=chosen, body=_HEALTHY[chosen])


async def show_page(_call: Call) -> JSON:
    return _page()


@cache
def _page() -> bytes:
    return _PAGE.read_bytes()


def routes(table: Sequence[Route]) -> list[Route]:
    """The documents' own routes; `table` is what they tell of."""

    @cache
    def document() -> dict[str, Any]:
        return openapi(table)

    async def show_openapi(_call: Call) -> JSON:
        return document()

    return [
        Route(method="GET", path="/", handler=show_versions, rule=PUBLIC),
        Route(method="GET", path="/v2", handler=show_version, rule=KNOWN),
        Route(method="GET", path="/openapi.json", handler=show_openapi, rule=PUBLIC),
        Route(
            method="GET",
            path="/healthcheck",
            handler=check_health,
            media_type="text/plain",
            rule=PUBLIC,
        ),
        Route(
            method="GET",
            path="/docs",
            handler=show_page,
            media_type="text/html; charset=utf-8",
            rule=PUBLIC,
        ),
    ]
