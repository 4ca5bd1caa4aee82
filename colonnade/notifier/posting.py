# SPDX-License-Identifier: Apache-2.0
"""One message to one receiver, over HTTP, and in plain words what became of it.

A receiver's name is its owner's to choose, and so is what it leads to at this moment. So each
address is looked at as the connection to it is made, and no redirection is followed. Whatever a
receiver does, it costs a bounded time and a bounded memory, and no word of its answer but the
status is told to anybody.
"""

import asyncio
import errno
import os
import socket
import ssl
import time
from contextlib import AsyncExitStack, suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, Self

import aiohttp
import msgspec
import structlog
from aiohttp import client_exceptions as errors
from yarl import URL

from colonnade.domain.webhooks import Reach
from colonnade.notifier.signing import Message

ANSWER_BYTES: Final = 16 * 1024  # of an answer are read, so that its connection may be used again
ANSWER_S: Final = 1.0  # for them to come
HEADER_BYTES: Final = 8 * 1024
KEPT_OPEN_S: Final = 5.0
SHUT: Final = "leads to an address that this service does not call"

log = structlog.get_logger()
# Addresses that were refused, of the message that is being sent.
_refused: ContextVar[list[str]] = ContextVar("refused")


class Answer(msgspec.Struct, frozen=True):
    """`failure`: "" when the message was taken. `status`: what was answered, if anything was."""

    failure: str
    status: int | None
    ms: int

    @property
    def is_gone(self) -> bool:
        """The receiver says that it wants nothing any more."""
        return self.status == 410


class Poster:
    def __init__(self, reach: Reach, timeout_s: float) -> None:
        self._reach = reach
        self._timeout_s = timeout_s
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=KEPT_OPEN_S,
            ttl_dns_cache=10,
            socket_factory=self._socket,
        )
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                max_line_size=HEADER_BYTES,
                max_field_size=HEADER_BYTES,
            )
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def post(self, url: str, headers: Any, message: Message, ca: str = "") -> Answer:
        began = time.monotonic()
        refused: list[str] = []
        _refused.set(refused)
        status: int | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._status(url, headers, message, ca)
            failure = _of_status(status)
        except TimeoutError:
            failure = f"did not answer within {self._timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = SHUT if refused else _of_error(error)
        if refused:
            log.warning("an address is not called", message=message.id, addresses=refused)
        return Answer(failure, status, round((time.monotonic() - began) * 1000))

    async def _status(self, url: str, headers: Any, message: Message, ca: str) -> int:
        """A connection that was kept open may have been closed just now: then there is another
        attempt, over a new one."""
        with suppress(errors.ServerDisconnectedError, ConnectionResetError, BrokenPipeError):
            return await self._asked(url, headers, message, ca)
        return await self._asked(url, headers, message, ca)

    async def _asked(self, url: str, headers: Any, message: Message, ca: str) -> int:
        async with self._session.post(
            URL(url, encoded=True),
            data=message.body,
            headers=headers,
            ssl=_trust(ca) if url.startswith("https:") else True,
            allow_redirects=False,
        ) as answer:
            with suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(ANSWER_S):
                    await answer.content.read(ANSWER_BYTES)
            if not answer.content.at_eof():
                answer.close()
            return answer.status

    def _socket(self, place: Any) -> socket.socket:
        """For the connection to this very address. Raises OSError for one that is not called."""
        family, kind, protocol, _, address = place
        host = str(address[0])
        if not self._reach.has(host) or (not self._reach.names(host) and _is_own(family, address)):
            _refused.get([]).append(host)
            raise OSError(errno.EACCES, SHUT)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


def _is_own(family: int, address: Any) -> bool:
    """Whether it is an address of this machine: from there one goes to it. Nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(address)
        return bool(probe.getsockname()[0] == address[0])
    return False


@lru_cache(maxsize=64)
def _trust(ca: str) -> ssl.SSLContext:
    """Certificates are always checked: by the given authority, else by the system's."""
    return ssl.create_default_context(cadata=ca or None)


def _of_status(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"answered {status}; redirections are not followed"
    return f"answered {status}"


def _of_error(error: Exception) -> str:
    if isinstance(error, errors.ClientConnectorDNSError):
        return "its name leads to no address"
    if isinstance(error, errors.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "")
        return f"its certificate is not trusted: {reason}".rstrip(": ")
    if isinstance(error, ssl.SSLError | errors.ClientSSLError):
        return "speaks no TLS that is understood here"
    if isinstance(error, errors.ServerDisconnectedError | ConnectionResetError | BrokenPipeError):
        return "closed the connection without an answer"
    if isinstance(error, errors.ClientConnectorError):
        number = error.os_error.errno  # its words may name the address
        return f"no connection: {os.strerror(number).lower() if number else 'refused'}"
    if isinstance(error, ValueError):
        return "has a URL that leads nowhere"
    if isinstance(error, errors.ClientResponseError):
        return "answers no HTTP that is understood here"
    return "the connection broke"
