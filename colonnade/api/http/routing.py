# SPDX-License-Identifier: Apache-2.0
"""Requests and answers as the server has them (ASGI), and the table that leads from a path.

The table is compiled once. A step of a path is a word that stands in the table, or else a place
for any; a word comes first. What a route does, and what a refusal looks like, is not known here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Generic, TypeAlias, TypeVar

from colonnade.domain.errors import Malformed, TooLarge

Scope: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
Headers: TypeAlias = Mapping[str, str]

T = TypeVar("T")
_END: Final = {"type": "http.response.body", "body": b"", "more_body": False}


class Request:
    """One request, as far as it has come."""

    def __init__(self, scope: Scope, receive: Receive, places: Mapping[str, str]) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.places = places
        self._receive = receive

    @cached_property
    def headers(self) -> Headers:
        """By names in lower case; of those that come twice, the first."""
        found = reversed(self.scope["headers"])
        return {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in found}

    async def body(self, bytes_max: int) -> bytes:
        """Raises TooLarge, and Malformed for one that the server cannot read to its end."""
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) > bytes_max:
            raise TooLarge(f"The body of a request is at most {bytes_max} bytes long.")
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Malformed("The body of the request is malformed, or ended too early.")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > bytes_max:
                raise TooLarge(f"The body of a request is at most {bytes_max} bytes long.")
            if not message.get("more_body", False):
                return b"".join(chunks)


class _Step(Generic[T]):
    """How paths go on, and what each method does at one that ends here."""

    def __init__(self) -> None:
        self.words: dict[str, _Step[T]] = {}
        self.place: _Step[T] | None = None
        self.methods: dict[str, tuple[tuple[str, ...], T]] = {}


class Table(Generic[T]):
    """What leads where. Places are written `{name:str}`."""

    def __init__(self, rows: Sequence[tuple[str, str, T]]) -> None:
        """`rows`: (method, path, what is done there)."""
        self._root: _Step[T] = _Step()
        for method, path, what in rows:
            self._add(method, path, what)

    def _add(self, method: str, path: str, what: T) -> None:
        step, names = self._root, []
        for part in path.split("/")[1:]:
            if part.startswith("{"):
                names.append(part.strip("{}").removesuffix(":str"))
                step.place = step = step.place or _Step()
            else:
                step = step.words.setdefault(part, _Step())
        assert method not in step.methods, f"{method} {path} is in the table twice"
        step.methods[method] = tuple(names), what

    def find(self, method: str, path: str) -> tuple[T | None, dict[str, str]]:
        """What is done, and what stands at the places. Raises LookupError for a path that there is
        not; None: another method has something there."""
        step, values = self._root, []
        for part in path.split("/")[1:]:
            onward = step.words.get(part)
            if onward is None:
                onward = step.place
                if onward is None or not part:
                    raise LookupError(path)
                values.append(part)
            step = onward
        if not step.methods:
            raise LookupError(path)
        found = step.methods.get(method)
        if found is None:
            return None, {}
        names, what = found
        return what, dict(zip(names, values, strict=True))


async def send_whole(send: Send, status: int, body: bytes, headers: Headers) -> None:
    found = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    if status != 204:
        found.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body})


async def send_stream(
    send: Send, receive: Receive, parts: AsyncIterator[bytes], headers: Headers
) -> None:
    """Until it ends, or nobody listens any more."""
    found = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": found})
    sending = asyncio.ensure_future(_send_parts(send, parts))
    hearing = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, hearing):
            task.cancel()
        await asyncio.gather(sending, hearing, return_exceptions=True)
    if not sending.cancelled():
        sending.result()


async def _send_parts(send: Send, parts: AsyncIterator[bytes]) -> None:
    async for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send(_END)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
