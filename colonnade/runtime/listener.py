# SPDX-License-Identifier: Apache-2.0
"""Accept connections within bounds: how many in all, how many from one peer, and how long a
handshake of TLS may take.

A peer that has not shown its certificate yet may be anybody, so what it can hold is bounded before
TLS begins. Connections beyond the bounds are closed at once and counted. Nothing here knows what
is spoken.
"""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from colonnade.runtime.mtls import Contexts

log = logging.getLogger(__name__)
REFUSED_PAUSE_S: Final = 0.05  # after the system itself had no room for a connection
TOLD_EVERY: Final = 100  # refusals between two lines of the log


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    connections: int = 1024
    of_one_peer: int = 16
    handshake_s: float = 5.0


ProtocolFactory = Callable[[], asyncio.Protocol]


@contextlib.asynccontextmanager
async def accepting(
    listener: socket.socket,
    factory: ProtocolFactory,
    contexts: Contexts | None,
    bounds: Bounds,
) -> AsyncIterator[None]:
    """Serve the connections of a bound socket while the context lasts, and close it then.

    `factory` makes the protocol of each (aiohttp's `runner.server`); `contexts` is asked for the
    TLS context of each, None: in the clear."""
    listener.setblocking(False)
    listener.listen(min(bounds.connections, 128))
    door = _Door(factory, contexts, bounds)
    taking = asyncio.create_task(door.take(listener))
    try:
        yield
    finally:
        taking.cancel()
        await asyncio.wait([taking])
        listener.close()
        await door.close()


def protocols_of(runner: web.AppRunner) -> ProtocolFactory:
    """What speaks HTTP for an aiohttp application that was set up."""
    assert runner.server is not None, "not set up"
    return runner.server


class _Door:
    def __init__(self, factory: ProtocolFactory, contexts: Contexts | None, bounds: Bounds) -> None:
        self._factory = factory
        self._contexts = contexts
        self._bounds = bounds
        self._open: Counter[str] = Counter()  # by peer
        self._refused = 0
        self._handshakes: set[asyncio.Task[None]] = set()

    async def take(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listener)
            except OSError as error:  # no descriptors left, or the peer has gone again
                log.warning("a connection could not be taken: %s", error)
                await asyncio.sleep(REFUSED_PAUSE_S)
                continue
            name = str(peer[0]) if isinstance(peer, tuple) else ""
            if not self._has_room(name):
                connection.close()
                continue
            self._open[name] += 1
            task = asyncio.create_task(self._shake_hands(connection, name))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _has_room(self, name: str) -> bool:
        full = self._open.total() >= self._bounds.connections
        if not full and not (name and self._open[name] >= self._bounds.of_one_peer):
            return True
        if self._refused % TOLD_EVERY == 0:
            log.warning("connections refused, too many are open: one from %s", name or "here")
        self._refused += 1
        return False

    async def _shake_hands(self, connection: socket.socket, name: str) -> None:
        place = contextlib.ExitStack()  # closed once: a failed handshake may end a protocol too
        place.callback(self._left, name)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Counted(self._factory(), place.close),
                connection,
                ssl=self._contexts() if self._contexts else None,
                ssl_handshake_timeout=self._bounds.handshake_s if self._contexts else None,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            log.debug("no TLS with %s: %s", name, error)
            place.close()
        except asyncio.CancelledError:
            place.close()
            connection.close()
            raise

    def _left(self, name: str) -> None:
        self._open[name] -= 1
        if self._open[name] <= 0:
            del self._open[name]

    async def close(self) -> None:
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)


class _Counted(asyncio.Protocol):
    """The protocol inside, and word of its end."""

    def __init__(self, inner: asyncio.Protocol, ended: Callable[[], None]) -> None:
        self._inner = inner
        self._ended = ended
        self._began = False

    def connection_made(self, transport: Any) -> None:
        self._began = True
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()
        if self._began:
            self._inner.connection_lost(exc)
