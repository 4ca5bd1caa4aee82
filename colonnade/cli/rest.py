# SPDX-License-Identifier: Apache-2.0
"""A small client of the user API, for our own commands.

It raises the project's errors in the API's own words.
"""

from typing import Any

import aiohttp
import msgspec

from colonnade.domain.errors import NotFound, Refused, Unavailable, Unreachable

REQUEST_S_MAX = 10.0


class Rest:
    """Use as an async context manager. Paths are below the version: "lbaas/pools"."""

    def __init__(self, endpoint: str) -> None:
        self._base = f"{endpoint.rstrip('/')}/v2/"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Rest":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_S_MAX))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Any:
        return await self._call("GET", path)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The created object, out of its wrapper."""
        answer = await self._call("POST", path, body)
        return next(iter(answer.values()))

    async def put(self, path: str, body: dict[str, Any]) -> Any:
        return await self._call("PUT", path, body)

    async def delete(self, path: str) -> None:
        await self._call("DELETE", path)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        assert self._session is not None, "used outside its context"
        encoded = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, self._base + path, data=encoded, headers=headers
            ) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{method} {path}: no answer ({error or 'timeout'})") from error
        if answer.status >= 400:
            raise _refusal(answer.status, f"{method} {path}: {_words(text)}")
        return msgspec.json.decode(text) if text else None


def _words(text: bytes) -> str:
    try:
        body = msgspec.json.decode(text)
        return str(body.get("faultstring") or body.get("message") or body)
    except (msgspec.DecodeError, AttributeError):
        return text.decode(errors="replace")[:300]


def _refusal(status: int, words: str) -> Exception:
    if status == 404:
        return NotFound(words)
    return Unavailable(words) if status in (429, 503) else Refused(words)
