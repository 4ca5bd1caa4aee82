# SPDX-License-Identifier: Apache-2.0
"""A client for measuring: connections that are kept, and just enough HTTP to ask and to read.

It shares the machine with what it measures, so it spends as little as it can: an answer is found
by its length and decoded only where somebody wants what is in it. Any answer but success ends the
measurement. What is measured is not known here, but for how the simplest objects are made.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from colonnade.domain.errors import Broken

CLIENTS_MAX = 16
ANSWER_SHOWN_MAX = 300
SUCCESS = (200, 201, 202, 204)


class Made(msgspec.Struct):
    """All that is read of an answer."""

    id: str


class Line(asyncio.Protocol):
    """One connection, with one question at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._came = bytearray()
        self._body_at = 0
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @property
    def lost(self) -> bool:
        """Servers hang up where nothing was asked for a while."""
        return self._transport is None or self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the API hung up"))

    def data_received(self, data: bytes) -> None:
        self._came += data
        if not self._body_at:
            head = self._came.find(b"\r\n\r\n")
            if head < 0:
                return
            self._body_at = head + 4
            self._whole = self._body_at + _length(bytes(self._came[:head]))
        if len(self._came) < self._whole:
            return
        if self._answer is not None and not self._answer.done():
            status = int(self._came[9:12])
            self._answer.set_result((status, bytes(self._came[self._body_at : self._whole])))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        assert self._transport is not None and not self.lost, "not connected"
        self._came.clear()
        self._body_at = 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def connected(port: int) -> Line:
    _, line = await asyncio.get_running_loop().create_connection(Line, "127.0.0.1", port)
    return line


class Load:
    """As many clients as ask at once, and what they ask for."""

    def __init__(self, port: int, lines: Sequence[Line], root: Mapping[str, str]) -> None:
        self._port = port
        self._idle = list(lines)
        self._root: dict[str, Any] = {"vip_subnet_id": str(uuid4()), **root}
        self.roots = 0

    @classmethod
    async def of(cls, port: int, root: Mapping[str, str]) -> "Load":
        """`root`: what is said of each load balancer, its provider for instance."""
        return cls(port, [await connected(port) for _ in range(CLIENTS_MAX)], root)

    async def ask(self, method: str, path: str, body: Any = None) -> bytes:
        line = self._idle.pop()
        if line.lost:
            line = await connected(self._port)
        content = json.dumps(body).encode() if body is not None else b""
        status, answer = await line.ask(
            b"%s /v2/lbaas/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s"
            % (method.encode(), path.encode(), len(content), content)
        )
        self._idle.append(line)
        if status not in SUCCESS:
            said = answer[:ANSWER_SHOWN_MAX].decode(errors="replace")
            raise Broken(f"{method} {path} was answered with {status}: {said}")
        return answer

    def close(self) -> None:
        for line in self._idle:
            line.close()

    async def root(self, **more: Any) -> str:
        """A load balancer; `more` is said of it."""
        answer = await self.ask("POST", "loadbalancers", {"loadbalancer": self._root | more})
        self.roots += 1
        return _id(answer)

    async def made(self, path: str, body: Any) -> str:
        """Its id."""
        return _id(await self.ask("POST", path, body))

    async def pool(self, members: int = 0) -> tuple[str, str]:
        """A load balancer and its pool."""
        root = await self.root()
        body = {"loadbalancer_id": root, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
        pool = _id(await self.ask("POST", "pools", {"pool": body}))
        if members:
            bodies = [member(number) for number in range(members)]
            await self.ask("PUT", f"pools/{pool}/members", {"members": bodies})
        return root, pool


def member(number: int) -> dict[str, Any]:
    """A member that has another address for each number."""
    high, low = divmod(number, 250)
    return {"address": f"10.{high // 250 % 250}.{high % 250}.{low + 1}", "protocol_port": 80}


def _id(answer: bytes) -> str:
    """Of the one object that was made."""
    return msgspec.json.decode(answer, type=dict[str, Made]).popitem()[1].id
