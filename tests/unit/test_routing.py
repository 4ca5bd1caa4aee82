# SPDX-License-Identifier: Apache-2.0
"""A path leads to one row of the table, and a body is read to its end and no further."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from colonnade.api.app import ROUTES
from colonnade.api.http.routing import Request, Table, send_stream
from colonnade.domain.errors import Malformed, TooLarge

TABLE = Table(
    [
        ("GET", "/v2/pools", "list"),
        ("POST", "/v2/pools", "create"),
        ("GET", "/v2/pools/{pool_id:str}", "show"),
        ("GET", "/v2/pools/default", "default"),
        ("PUT", "/v2/pools/{pool_id:str}/members/{member_id:str}", "change"),
        ("GET", "/", "root"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/v2/pools", ("list", {})),
        ("POST", "/v2/pools", ("create", {})),
        ("GET", "/v2/pools/7", ("show", {"pool_id": "7"})),
        ("GET", "/v2/pools/{pool_id:str}", ("show", {"pool_id": "{pool_id:str}"})),
        ("GET", "/v2/pools/default", ("default", {})),
        ("PUT", "/v2/pools/7/members/8", ("change", {"pool_id": "7", "member_id": "8"})),
        ("GET", "/", ("root", {})),
        ("DELETE", "/v2/pools", (None, {})),
        ("GET", "/v2/pools/7/members/8", (None, {})),
    ],
)
def test_a_path_leads_to_what_its_method_does_there(method: str, path: str, found: Any) -> None:
    assert TABLE.find(method, path) == found


@pytest.mark.parametrize(
    "path", ["", "/v2", "/v2/", "/v2/pools/", "/v2/pools/7/members", "/v2/pools/7/8", "/v3/pools"]
)
def test_where_nothing_is_nothing_is_found(path: str) -> None:
    with pytest.raises(LookupError):
        TABLE.find("GET", path)


def test_every_route_is_found_by_its_own_path() -> None:
    table = Table([(route.method, route.path, route) for route in ROUTES])
    for route in ROUTES:
        path = "/".join("x" if part.startswith("{") else part for part in route.path.split("/"))
        found, places = table.find(route.method, path)
        assert found is route
        assert all(f"{{{name}:str}}" in route.path for name in places)


def test_a_row_that_stands_twice_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="twice"):
        Table([("GET", "/a/{b:str}", 1), ("GET", "/a/{c:str}", 2)])


def request(*messages: dict[str, Any], length: str = "") -> Request:
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(coming)

    headers = [(b"Content-Length", length.encode())] if length else []
    return Request({"method": "POST", "headers": headers}, receive, {})


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_put_together_from_its_parts() -> None:
    assert await request(part(b"ab", more=True), part(b""), part(b"no")).body(2) == b"ab"


async def test_a_body_that_says_it_is_too_long_is_not_read() -> None:
    with pytest.raises(TooLarge):
        await request(length="3").body(2)


async def test_a_body_that_becomes_too_long_is_not_read_on() -> None:
    with pytest.raises(TooLarge):
        await request(part(b"ab", more=True), part(b"c", more=True)).body(2)


async def test_a_caller_who_hangs_up_has_sent_nothing() -> None:
    with pytest.raises(Malformed):
        await request(part(b"a", more=True), {"type": "http.disconnect"}).body(2)


async def test_of_a_header_that_comes_twice_the_first_counts() -> None:
    headers = [(b"X-A", b"1"), (b"x-a", b"2")]
    asked = Request({"method": "GET", "headers": headers}, request()._receive, {})
    assert asked.headers == {"x-a": "1"}


async def test_a_stream_ends_as_its_reader_hangs_up() -> None:
    ended, gone = asyncio.Event(), asyncio.Event()
    sent: list[Any] = []

    async def parts() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            gone.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    stream = parts()
    async with asyncio.timeout(10):
        await send_stream(send, receive, stream, {"content-type": "text/event-stream"})
    assert [message.get("body") for message in sent] == [None, b"one"]
    assert ended.is_set()
