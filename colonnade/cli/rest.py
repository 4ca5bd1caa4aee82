# SPDX-License-Identifier: Apache-2.0
"""A small client of the user API, for our own commands.

It raises the project's errors in the API's own words, and adds nothing to a request that it was
not asked to add, so that it speaks to any endpoint of the same contract. A token is in no message.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import msgspec

from colonnade.domain.errors import (
    Broken,
    ColonnadeError,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    Unavailable,
    Unreachable,
)

REQUEST_S_MAX = 10.0
SILENCE_S_MAX = 60.0  # of a stream; one that lives says so more often
PROBE_S_MAX: Final = 3.0
VERSIONS = ("/v2", "/v2.0")

Query: TypeAlias = Mapping[str, str | Sequence[str]]


class Rest:
    """Use as an async context manager. Paths are below the version: "lbaas/pools".

    `endpoint` may end in the version. `headers` go with each request."""

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        request_s_max: float = REQUEST_S_MAX,
    ) -> None:
        root = endpoint.rstrip("/")
        for version in VERSIONS:
            root = root.removesuffix(version)
        self.endpoint = root
        self._headers = {"Accept": "application/json", **(headers or {})}
        self._timeout = aiohttp.ClientTimeout(total=request_s_max)
        self._session: aiohttp.ClientSession | None = None

    @property
    def has_token(self) -> bool:
        return "X-Auth-Token" in self._headers

    async def __aenter__(self) -> "Rest":
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, query: Query | None = None) -> Any:
        return await self._call("GET", path, query=query)

    async def post(self, path: str, body: Any, query: Query | None = None) -> Any:
        """The created object, out of its wrapper."""
        answer = await self._call("POST", path, body, query)
        return next(iter(answer.values())) if isinstance(answer, dict) and answer else answer

    async def put(self, path: str, body: Any = None, query: Query | None = None) -> Any:
        return await self._call("PUT", path, body, query)

    async def delete(self, path: str, query: Query | None = None) -> Any:
        return await self._call("DELETE", path, query=query)

    async def lines(self, path: str, query: Query | None = None) -> AsyncIterator[str]:
        """The lines of an answer that has no end (`text/event-stream`), as they come."""
        assert self._session is not None, "used outside its context"
        try:
            async with self._session.get(
                self._url(path),
                params=_pairs(query),
                headers={"Accept": "text/event-stream"},
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=REQUEST_S_MAX, sock_read=SILENCE_S_MAX
                ),
            ) as answer:
                if answer.status >= 400:
                    raise refusal(answer.status, words_of(await answer.read()), f"GET {path}")
                async for line in answer.content:
                    yield line.decode(errors="replace").rstrip("\r\n")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise await self._unreachable(error) from error

    async def _call(
        self, method: str, path: str, body: Any = None, query: Query | None = None
    ) -> Any:
        assert self._session is not None, "used outside its context"
        encoded = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, self._url(path), data=encoded, headers=headers, params=_pairs(query)
            ) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise await self._unreachable(error) from error
        if answer.status >= 400:
            raise refusal(answer.status, words_of(text), f"{method} {path}")
        try:
            return msgspec.json.decode(text) if text else None
        except msgspec.DecodeError as error:
            raise Broken(
                f"{self.endpoint} does not answer as a load balancing API does",
                detail=f"{method} {path}: no JSON",
            ) from error

    def _url(self, path: str) -> str:
        return f"{self.endpoint}/v2/{path}"

    async def _unreachable(self, error: Exception) -> Unreachable:
        why = _reason(error)
        scheme, _, place = self.endpoint.partition("://")
        if scheme not in ("http", "https"):
            why = "an address begins with http:// or https://"
        elif scheme == "https" and _is_no_tls(error):
            why = f"it does not speak TLS; try http://{place}"
        elif scheme == "http" and _is_strange(error) and await _speaks_tls(self.endpoint):
            why = f"it speaks TLS; use https://{place}"
        return Unreachable(f"{self.endpoint} cannot be reached: {why}")


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"its certificate is not trusted ({error.certificate_error}); "
                "SSL_CERT_FILE names a file of CAs to trust"
            )
        case aiohttp.ClientConnectorError():
            if error.os_error.errno is not None and error.os_error.errno > 0:
                return os.strerror(error.os_error.errno)
            return error.os_error.strerror or str(error.os_error)
        case aiohttp.InvalidURL() | ValueError():
            return "this is not the address of an API"
    return str(error)


def _is_no_tls(error: Exception) -> bool:
    """The other side answered the handshake with something else."""
    return isinstance(error, aiohttp.ClientSSLError) and not isinstance(
        error, aiohttp.ClientConnectorCertificateError
    )


def _is_strange(error: Exception) -> bool:
    """Connected, and then no HTTP."""
    return isinstance(error, aiohttp.ClientResponseError | aiohttp.ServerConnectionError | OSError)


async def _speaks_tls(endpoint: str) -> bool:
    """Asked only where plain HTTP has failed."""
    place = urlsplit(endpoint)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_S_MAX):
            _, writer = await asyncio.open_connection(
                place.hostname, place.port or 80, ssl=trusting
            )
    except (OSError, ValueError, TimeoutError):
        return False
    writer.close()
    return True


def _pairs(query: Query | None) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        values = [value] if isinstance(value, str) else value
        pairs += [(name, one) for one in values]
    return pairs


def words_of(text: bytes) -> str:
    try:
        body = msgspec.json.decode(text)
        if isinstance(body.get("error"), dict):  # as Keystone says it
            body = body["error"]
        return str(body.get("faultstring") or body.get("message") or body)
    except (msgspec.DecodeError, AttributeError):
        return text.decode(errors="replace")[:300].strip() or "no reason given"


_REFUSALS: Mapping[int, type[ColonnadeError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: Unavailable,
    503: Unavailable,
}


def refusal(status: int, words: str, request: str) -> ColonnadeError:
    kind = _REFUSALS.get(status, Refused)
    if status == 401:
        words = f"{words}: the endpoint needs a token (--token, COLONNADE_TOKEN)"
    detail = f"{request}: {status}" if status >= 500 else ""
    return kind(words, detail=detail)
