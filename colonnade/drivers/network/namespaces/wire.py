# SPDX-License-Identifier: Apache-2.0
"""What the daemon and its clients say to each other: paths, bodies, errors, connections.

Invariant: an error raised in the daemon is raised in the client as the same class, and two ends
that speak different majors of the API do nothing but say so. Over a socket of the file system or
over TCP, it is always mutual TLS. It does not know what the calls do. Clients import this and not
what the daemon does with it: netlink's library is large. `docs/protocol/network-api.md` is it in
words.
"""

import asyncio
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from yarl import URL

from colonnade.domain import errors
from colonnade.domain.errors import ColonnadeError, Invalid, Unavailable, Unreachable
from colonnade.drivers.network.namespaces.address_book import PUBLIC
from colonnade.drivers.network.protocol import Announced, Forward
from colonnade.runtime.mtls import Contexts, client_contexts

BODY_BYTES_MAX = 1024 * 1024
CONNECT_S_MAX = 2.0
CALL_S_MAX = 20.0
SERVER_NAME = "network"
UNIX = "unix:"
VERSION_HEADER: Final = "Colonnade-Network-Version"
T = TypeVar("T")


class Version(msgspec.Struct, frozen=True):
    """Of the API. A new minor only adds what the other end may pass over; all else is a major."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


VERSION: Final = Version(1, 4)
MISUNDERSTOOD: Final = "the network daemon and its caller are of releases too far apart"
FIRST: Final = Version(1, 0)  # who says none: it did not yet say it

STATUSES: Final = {
    errors.Invalid: 400,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Refused: 400,
    errors.Unavailable: 503,
    errors.Broken: 500,
}
KINDS: Final[dict[str, type[ColonnadeError]]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ColonnadeError)
}


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer that is an error."""

    kind: str
    public: str
    detail: str = ""
    field: str = ""


class Plug(msgspec.Struct, frozen=True):
    amphora_id: str


class Seat(msgspec.Struct, frozen=True):
    """Of a seat to make: on which amphora (since version 1.3)."""

    carrier_id: str


class Forwards(msgspec.Struct, frozen=True):
    """All ports of a VIP's address that lead to it (since version 1.4)."""

    forwards: tuple[Forward, ...]


class Range(msgspec.Struct, frozen=True):
    """Of a network to make. `is_routed`: the router joins it (a word of version 1.1). `more`: its
    other ranges; `via`: nobody is on it, the router leads it to ports of this network (both of
    1.2). `announced`: it does not, amphorae tell these routers by BGP (of 1.3)."""

    cidr: str
    is_routed: bool = True
    more: tuple[str, ...] = ()
    via: str = ""
    announced: Announced | None = None


class HostWish(msgspec.Struct, frozen=True, kw_only=True):
    """A host to make. No command: it idles. No address: free ones are chosen."""

    name: str
    network: str = PUBLIC.name
    address: str | None = None
    command: tuple[str, ...] = ()
    directory: str = "/"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    network: str
    addresses: tuple[str, ...]
    command: tuple[str, ...]
    is_running: bool


def read_version(said: str | None) -> Version:
    """Of the other end. Raises Unavailable when the two would not understand each other: during an
    upgrade one of them is exchanged later."""
    if said is None:
        return FIRST
    words = said.split(".")
    if len(words) != 2 or not all(w.isascii() and w.isdigit() and len(w) < 6 for w in words):
        raise Unavailable(MISUNDERSTOOD, detail=f"{said[:40]!r} is no version such as {VERSION}")
    version = Version(*map(int, words))
    if version.major != VERSION.major:
        raise Unavailable(
            MISUNDERSTOOD,
            detail=f"one end speaks version {version} of the network API and the other {VERSION}: "
            "run releases with the same first number on both",
        )
    return version


def write_error(error: ColonnadeError) -> tuple[int, bytes]:
    """Status and body."""
    kind = next(k for k in type(error).__mro__ if k.__name__ in KINDS)
    status = next((STATUSES[k] for k in kind.__mro__ if k in STATUSES), 500)
    field = error.field if isinstance(error, Invalid) else ""
    trouble = Trouble(kind=kind.__name__, public=error.public, detail=error.detail, field=field)
    return status, msgspec.json.encode(trouble)


def read_error(body: bytes) -> ColonnadeError:
    try:
        trouble = msgspec.json.decode(body, type=Trouble)
    except msgspec.DecodeError:
        return Unavailable("the network daemon failed", detail=body[:200].decode(errors="replace"))
    kind = KINDS.get(trouble.kind, Unavailable)
    if issubclass(kind, Invalid):
        return kind(trouble.public, field=trouble.field, detail=trouble.detail)
    return kind(trouble.public, detail=trouble.detail)


class Connection:
    """Kept open between calls. `url`: "unix:/path" or "https://host:port"."""

    def __init__(self, url: str, identity_file: Path, ca_file: Path) -> None:
        self._url = url
        self._files = (identity_file, ca_file)
        self._open: tuple[aiohttp.ClientSession, Contexts] | None = None

    async def call(
        self, method: str, path: str, answer: type[T], body: msgspec.Struct | None = None
    ) -> T:
        """Raises what the daemon raised, or Unreachable."""
        content = msgspec.json.encode(body) if body is not None else None
        status, version, said = await self._exchange(method, path, content)
        read_version(version)
        if status >= 400:
            raise read_error(said)
        return msgspec.json.decode(said or b"null", type=answer)

    async def close(self) -> None:
        if self._open is not None:
            await self._open[0].close()
            self._open = None

    async def _exchange(
        self, method: str, path: str, content: bytes | None
    ) -> tuple[int, str | None, bytes]:
        """Status, version and body of the answer."""
        if self._open is None:
            contexts = client_contexts(*self._files)
            self._open = self._new_session(contexts), contexts
        session, contexts = self._open
        root = f"https://{SERVER_NAME}" if self._url.startswith(UNIX) else self._url.rstrip("/")
        call = session.request(
            method,
            URL(root + path, encoded=True),
            data=content,
            headers={VERSION_HEADER: str(VERSION)},
            ssl=contexts(),
            server_hostname=SERVER_NAME,  # checked, whatever address the daemon is reached at
        )
        try:
            async with call as response:
                version = response.headers.get(VERSION_HEADER)
                return response.status, version, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise Unreachable("the network daemon does not answer", detail=reason) from error

    def _new_session(self, contexts: Contexts) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if self._url.startswith(UNIX):
            connector = _TlsUnixConnector(self._url.removeprefix(UNIX), contexts)
        else:
            connector = aiohttp.TCPConnector()
        timeout = aiohttp.ClientTimeout(total=CALL_S_MAX, sock_connect=CONNECT_S_MAX)
        return aiohttp.ClientSession(connector=connector, timeout=timeout)


class _TlsUnixConnector(aiohttp.UnixConnector):
    """aiohttp speaks TLS over TCP only; this is its unix connector with TLS."""

    def __init__(self, path: str, contexts: Contexts) -> None:
        super().__init__(path)
        self._contexts = contexts

    async def _create_connection(self, *_request: Any) -> Any:
        async with asyncio.timeout(CONNECT_S_MAX):
            _, protocol = await self._loop.create_unix_connection(
                self._factory, self._path, ssl=self._contexts(), server_hostname=SERVER_NAME
            )
        return protocol
