# SPDX-License-Identifier: Apache-2.0
"""Calls to the services of an OpenStack cloud, with a token of our own that is always fresh.

Invariant: whatever a service does, a call costs a bounded time and a bounded memory, and ends with
an answer below 500 or with Unavailable. No token and no secret is in a message. Nothing here
knows what is asked. Calls never take a thread: connections are kept open, on the event loop.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from yarl import URL

from colonnade.domain.errors import Broken, Unavailable, Unreachable
from colonnade.drivers.openstack.credentials import Credentials
from colonnade.runtime.clock import Clock, SystemClock

T = TypeVar("T")

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
CONNECTIONS_MAX: Final = 32
KEPT_OPEN_S: Final = 4.0  # shorter than what services keep them for
RENEWED_S: Final = 60.0  # before it expires
REFUSED_S: Final = 10.0  # no further attempt after Keystone refused our own credentials,
FAILED_S: Final = 1.0  # or could not be asked: who waited for the same is told the same
UNREADABLE: Final = "a service's answer cannot be read"
OURS_REFUSED: Final = "Keystone refuses the credentials that it was asked with"


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    headers: Mapping[str, str]

    def read(self, kind: type[T]) -> T:
        """Raises Unavailable for a body that is no such thing."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Unavailable(UNREADABLE, detail=str(error)) from error

    def within(self, name: str, kind: type[T]) -> T:
        """The same, of what the body holds under that name."""
        try:
            return msgspec.convert(self.read(dict[str, Any]).get(name), kind)
        except msgspec.ValidationError as error:
            raise Unavailable(UNREADABLE, detail=str(error)) from error


class Endpoint(msgspec.Struct, frozen=True):
    interface: str
    url: str
    region: str = ""


class Service(msgspec.Struct, frozen=True):
    type: str
    endpoints: list[Endpoint] = []


class _Named(msgspec.Struct, frozen=True):
    id: str = ""


class _Issued(msgspec.Struct, frozen=True):
    expires_at: str
    catalog: list[Service] = []
    project: _Named = _Named()
    user: _Named = _Named()


class _Issue(msgspec.Struct, frozen=True):
    token: _Issued


class _Own(msgspec.Struct, frozen=True):
    """The token that calls are made with, and until when."""

    secret: str
    until: float
    catalog: list[Service]
    project: str
    user: str

    def __repr__(self) -> str:
        return "<a token>"


class Session:
    def __init__(
        self,
        credentials: Credentials,
        *,
        ca_file: Path | None = None,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self.auth_url = credentials.auth_url
        self._credentials = credentials
        self._trust: ssl.SSLContext | bool = _trust(ca_file) if ca_file else True
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._http: aiohttp.ClientSession | None = None
        self._own: _Own | None = None
        self._failure = Unavailable("")
        self._failing_until = 0.0
        self._issuing = asyncio.Lock()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def ask(
        self,
        method: str,
        url: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """What a service says to our own user. Raises Unavailable, Unreachable."""
        own = await self._token(instead_of=None)
        answer = await self._send(
            method, url, {**(headers or {}), "X-Auth-Token": own.secret}, body
        )
        if answer.status == 401:  # revoked, or Keystone lost the keys that it was signed with
            own = await self._token(instead_of=own)
            told = {**(headers or {}), "X-Auth-Token": own.secret}
            answer = await self._send(method, url, told, body)
        if answer.status == 401:
            raise Unavailable(OURS_REFUSED, detail=f"{method} {_place(url)}")
        return answer

    async def ask_as(
        self,
        token: str,
        method: str,
        url: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The same, with a token of somebody else's: a service's answer to what that one may."""
        return await self._send(method, url, {**(headers or {}), "X-Auth-Token": token}, body)

    async def user(self) -> str:
        """Our own user's id."""
        return (await self._token(instead_of=None)).user

    async def project(self) -> str:
        """Our own project's id; "" where the token is of none."""
        return (await self._token(instead_of=None)).project

    async def upload(self, url: str, file: Path, *, within_s: float) -> Answer:
        """What a service says to the content of a file. Raises Unavailable, Unreachable."""
        own = await self._token(instead_of=None)
        told = {"Content-Type": "application/octet-stream", "X-Auth-Token": own.secret}
        with file.open("rb") as content:
            return await self._answered(
                url, within_s, lambda: self._sent("PUT", url, told, content)
            )

    async def endpoint(self, kind: str, *, interface: str = "public") -> str:
        """Where the service of that type is, as the catalog has it. Raises Broken where there is
        none."""
        own = await self._token(instead_of=None)
        region = self._credentials.region
        for service in own.catalog:
            for one in service.endpoints if service.type == kind else ():
                if one.interface == interface and region in ("", one.region):
                    return one.url.rstrip("/")
        raise Broken(f"the cloud's catalog has no {interface} endpoint of the type {kind}")

    async def _token(self, *, instead_of: _Own | None) -> _Own:
        async with self._issuing:
            own, now = self._own, self._clock.now()
            if own is not None and own is not instead_of and own.until > now:
                return own
            if self._failing_until > self._clock.monotonic():
                raise Unavailable(self._failure.public, detail=self._failure.detail)
            self._own = None
            try:
                self._own = await self._issue()
            except Unavailable as error:
                self._failure = error
                self._failing_until = self._clock.monotonic() + (
                    REFUSED_S if error.public == OURS_REFUSED else FAILED_S
                )
                raise
            return self._own

    async def _issue(self) -> _Own:
        url = f"{self.auth_url}/auth/tokens"
        answer = await self._send("POST", url, {}, self._credentials.wish())
        if answer.status != 201:
            raise Unavailable(OURS_REFUSED, detail=f"{_place(url)} answered {answer.status}")
        issued = answer.read(_Issue).token
        until = seconds_of(issued.expires_at) - RENEWED_S
        secret = answer.headers.get("X-Subject-Token", "")
        return _Own(secret, until, issued.catalog, issued.project.id, issued.user.id)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        raw = None if body is None else msgspec.json.encode(body)
        told = {"Accept": "application/json", "Content-Type": "application/json", **headers}

        async def sent() -> Answer:
            try:
                return await self._sent(method, url, told, raw)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                # One that was kept open may have been closed just now.
                return await self._sent(method, url, told, raw)

        return await self._answered(url, self._timeout_s, sent)

    async def _answered(
        self, url: str, within_s: float, asked: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        try:
            async with asyncio.timeout(within_s):
                answer = await asked()
        except TimeoutError as error:
            message = f"{_place(url)} did not answer within {within_s:g} s"
            raise Unreachable(message) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = type(error).__name__
            raise Unreachable(f"{_place(url)} cannot be reached", detail=reason) from error
        if answer.status >= 500 or answer.status in (408, 429):
            raise Unavailable(f"{_place(url)} answered {answer.status}")
        return answer

    async def _sent(self, method: str, url: str, headers: Any, raw: Any) -> Answer:
        async with self._client().request(
            method, URL(url), data=raw, headers=headers, ssl=self._trust, allow_redirects=False
        ) as answer:
            body = await answer.content.read(ANSWER_BYTES_MAX)
            while not answer.content.at_eof():
                if len(body) >= ANSWER_BYTES_MAX:
                    answer.close()
                    raise ValueError("the answer is too long")
                body += await answer.content.read(ANSWER_BYTES_MAX - len(body))
            return Answer(answer.status, body, answer.headers.copy())

    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX, keepalive_timeout=KEPT_OPEN_S, ttl_dns_cache=30
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._http


def seconds_of(moment: str) -> float:
    """Of a moment as Keystone tells it, since 1970. Raises Unavailable for what is none."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError as error:
        raise Unavailable(UNREADABLE, detail="its moments") from error


def _place(url: str) -> str:
    """Without query: ids of users are nobody's business."""
    parts = URL(url)
    return f"{parts.host}:{parts.port}{parts.path}"


def _trust(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Broken(f"{ca_file} cannot be used as a CA: {error}") from error
