# SPDX-License-Identifier: Apache-2.0
"""The controller's side of the amphora API.

Every call names the amphora it means, and its certificate must say so. Failures come out as what
can be done about them: Unreachable (wait), Outdated (a newer generation is served), Rejected (in
haproxy's words). What it answers passes the checks of `drivers/amphora/answers.py`. It renders
nothing and keeps no state but open connections.
"""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import aiohttp
import msgspec

from colonnade.domain.addresses import endpoint
from colonnade.domain.errors import Broken, Contended, Rejected, Unreachable
from colonnade.drivers.amphora import answers
from colonnade.drivers.amphora.answers import Unbelievable
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.datagram import Datagram, Kind, encode
from colonnade.protocol.messages import (
    PORT_AGENT,
    PORT_TASKS,
    Applied,
    Drain,
    Drained,
    Info,
    NewSeat,
    Numbers,
    Refusal,
    StatisticsReport,
    StatusReport,
)
from colonnade.runtime.mtls import client_contexts

TIMEOUT: Final = aiohttp.ClientTimeout(total=10.0, sock_connect=1.8)
BUNDLE_S_PER_MIB: Final = 5.0  # haproxy reads its file twice, and long lists of rules slowly
CONNECTIONS_MAX: Final = 500
WHOLE: Final = answers.ANSWER_BYTES_MAX
KEEPALIVE_S: Final = 30.0
REASON_MAX: Final = 1000  # of haproxy's words, as users see them; operators see all
T = TypeVar("T")
NewSocket = Callable[[Any], socket.socket]


class Outdated(Contended):
    """The amphora serves a newer generation already."""

    def __init__(self, public: str, generation: int) -> None:
        super().__init__(public)
        self.generation = generation


class AgentClient:
    """`new_socket` makes the sockets (aiohttp's socket_factory), for callers whose LB network is
    not in their own network namespace."""

    def __init__(
        self, identity_file: Path, ca_file: Path, *, new_socket: NewSocket | None = None
    ) -> None:
        self._contexts = client_contexts(identity_file, ca_file)
        self._new_socket = new_socket
        self._sessions: aiohttp.ClientSession | None = None
        self._sequence = 0

    async def put_bundle(self, address: str, amphora_id: str, bundle: Bundle) -> Applied:
        """Returns when the amphora serves it. Raises Outdated, Rejected, Unreachable, or Broken
        when its answer cannot be true."""
        body = msgspec.json.encode(bundle)
        try:
            applied = await self._call(address, amphora_id, "PUT /bundle", Applied, body)
            generation = applied.generation
        except Outdated as newer:
            generation = newer.generation
            if generation >= bundle.generation:  # of the same one, by a later look
                raise
        if generation < bundle.generation:
            detail = f"{amphora_id}: {generation} to {bundle.generation}"
            raise Broken("an amphora answered with an older generation", detail=detail)
        return applied

    async def drain(self, address: str, amphora_id: str, asked: Drain) -> Drained:
        """Raises Unreachable, or Broken for an agent that cannot."""
        body = msgspec.json.encode(asked)
        return await self._call(address, amphora_id, "PUT /drain", Drained, body)

    async def open_seat(self, address: str, amphora_id: str, seat: NewSeat) -> None:
        """Raises Unreachable, or Broken for an agent that cannot."""
        body = msgspec.json.encode(seat)
        await self._call(address, amphora_id, f"PUT /seats/{seat.id}", Info, body)

    async def close_seat(self, address: str, amphora_id: str, seat_id: str) -> None:
        """Raises Unreachable, or Broken for an agent that cannot."""
        await self._call(address, amphora_id, f"DELETE /seats/{seat_id}", Info)

    async def status(self, address: str, amphora_id: str) -> StatusReport:
        """Raises Unreachable."""
        call = "GET /status"
        return await self._call(address, amphora_id, call, StatusReport, longest=WHOLE)

    async def statistics(self, address: str, amphora_id: str) -> StatisticsReport:
        """Raises Unreachable."""
        call = "GET /statistics"
        return await self._call(address, amphora_id, call, StatisticsReport, longest=WHOLE)

    async def info(self, address: str, amphora_id: str) -> Info:
        """Raises Unreachable."""
        return await self._call(address, amphora_id, "GET /info", Info)

    async def numbers(self, address: str, amphora_id: str) -> Numbers:
        """Raises Unreachable."""
        return await self._call(address, amphora_id, "GET /numbers", Numbers)

    def notify(self, address: str, amphora_id: str, key: bytes) -> None:
        """Say "tasks pending" with the amphora's own heartbeat key. Nobody answers."""
        # Rises across controllers too, as far as their clocks agree; a lost one costs a minute.
        self._sequence = max(self._sequence + 1, time.time_ns())
        datagram = Datagram(
            kind=Kind.TASKS, amphora=UUID(amphora_id), sequence=self._sequence, generation=0
        )
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        info = (family, socket.SOCK_DGRAM, 0, "", (address, PORT_TASKS))
        make = self._new_socket or (lambda i: socket.socket(i[0], i[1], i[2]))
        with make(info) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(encode(datagram, key), (address, PORT_TASKS))
            except OSError as error:
                detail = f"{amphora_id}: {error}"
                raise Unreachable("an amphora cannot be reached", detail=detail) from error

    async def close(self) -> None:
        if self._sessions is not None:
            await self._sessions.close()
            self._sessions = None

    def _session(self) -> aiohttp.ClientSession:
        if self._sessions is None or self._sessions.closed:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX,
                keepalive_timeout=KEEPALIVE_S,
                socket_factory=self._new_socket,
            )
            # An answer is taken as it comes: what is inflated has no bound.
            self._sessions = aiohttp.ClientSession(
                connector=connector,
                timeout=TIMEOUT,
                auto_decompress=False,
                headers={"Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._sessions

    async def _call(  # noqa: PLR0913 - one request, said by what differs
        self,
        address: str,
        amphora_id: str,
        call: str,
        answer: type[T],
        body: bytes | None = None,
        *,
        longest: int = answers.SHORT_ANSWER_BYTES_MAX,
    ) -> T:
        method, path = call.split(" ")
        url = f"https://{endpoint(address, PORT_AGENT)}{path}"
        total_s = (TIMEOUT.total or 0) + len(body or b"") / 2**20 * BUNDLE_S_PER_MIB
        within = aiohttp.ClientTimeout(total=total_s, sock_connect=TIMEOUT.sock_connect)
        try:
            # It may send us nowhere else: a redirect is an answer like any other.
            async with self._session().request(
                method,
                url,
                data=body,
                ssl=self._contexts(),
                server_hostname=amphora_id,
                timeout=within,
                allow_redirects=False,
            ) as response:
                content = await _bounded(response, longest)
                code = response.status
            if code != 200:
                raise _failure(amphora_id, code, content)
            return answers.decoded(content, answer)
        except Unbelievable as error:
            raise Broken("an amphora answered nonsense", detail=f"{amphora_id}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            detail = f"{amphora_id}: {str(error) or type(error).__name__}"
            raise Unreachable("an amphora does not answer", detail=detail) from error


async def _bounded(response: aiohttp.ClientResponse, longest: int) -> bytes:
    """The whole body. Raises Unbelievable, and the connection is closed, when it is longer."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > longest:
            response.close()
            raise Unbelievable(f"more than {longest} bytes")
        parts.append(part)
    return b"".join(parts)


def in_its_words(reason: str) -> str:
    """What users are told when haproxy refuses: the same whether it was pushed or fetched."""
    return f"an amphora refused the configuration: {reason}"[:REASON_MAX]


def _failure(amphora_id: str, code: int, content: bytes) -> Exception:
    try:
        refusal = answers.decoded(content, Refusal)
    except Unbelievable:
        refusal = Refusal(reason=f"HTTP {code}")
    detail = f"{amphora_id}: {refusal.reason}"
    match code:
        case 409:
            return Outdated("an amphora serves a newer generation", refusal.generation)
        case 503:
            return Unreachable("an amphora is not ready", detail=detail)
        case 422:
            return Rejected(in_its_words(refusal.reason), detail=detail)
        case 507:
            return Broken(f"an amphora has too little memory: {refusal.reason}", detail=detail)
        case 400 | 413:
            return Broken(f"an amphora cannot read its bundle: {refusal.reason}", detail=detail)
        case _:
            return Broken("an amphora refused the call", detail=detail)
