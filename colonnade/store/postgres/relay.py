# SPDX-License-Identifier: Apache-2.0
"""`colonnade relay`: leads processes of the LB network's namespace to a database elsewhere.

A process that runs where no way leads to the database makes listening sockets there, one for each
server, and lends them to this one, which runs where there is a way (`lending.py`). Whatever
connects to one is connected to its server, and bytes are passed on: TLS and passwords are between
the process and the server. It has no key, reads no configuration, and leads to the servers that its
command line names, and nowhere else.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import msgspec
import structlog

from colonnade.domain.errors import Broken
from colonnade.runtime import sd_notify
from colonnade.runtime.config import RELAY_SOCKET
from colonnade.runtime.logging import configure
from colonnade.runtime.readiness import readable
from colonnade.runtime.termination import until_told

LENT_MAX: Final = 16  # listening sockets of one process: servers of a connection string
WORDS_MAX: Final = 16_384  # of one offer
LENDERS_MAX: Final = 64
CONNECTIONS_MAX: Final = 64  # to one server, of one process
CONNECT_S: Final = 2.0  # as long as a process waits for its connection
CHUNK: Final = 65_536
# A server that vanishes is noticed by whoever waits for it: the other leg is on one machine.
OUTER: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000),
)

log = structlog.get_logger()


class NoOffer(Exception):
    """An offer that is none. Its text is told to who made it."""


async def run(servers: Sequence[str]) -> None:
    """Until SIGTERM or SIGINT. `servers`: each HOST:PORT. Raises Broken without a socket."""
    configure("relay")
    given = os.environ.pop(RELAY_SOCKET, "")
    if not given:
        raise Broken(
            f"{RELAY_SOCKET} names no socket: `up` and the units of `init` start the relay"
        )
    with socket.socket(fileno=int(given)) as listener:
        listener.set_inheritable(False)
        await until_told(_serve(Relay(servers), listener))


async def _serve(relay: "Relay", listener: socket.socket) -> None:
    async with sd_notify.telling():
        await relay.serve(listener)


class Relay:
    def __init__(self, servers: Sequence[str]) -> None:
        """`servers`: each HOST:PORT. A name is looked up for each connection."""
        self._servers = frozenset(servers)
        self._away: set[str] = set()  # of which somebody was told

    async def serve(self, listener: socket.socket) -> None:
        """Take what is lent, until cancelled. `listener`: a unix socket of packets."""
        listener.setblocking(False)
        room = asyncio.Semaphore(LENDERS_MAX)
        async with asyncio.TaskGroup() as group:
            while True:
                await room.acquire()
                lender, _ = await asyncio.get_running_loop().sock_accept(listener)
                taking = group.create_task(self._take(lender))
                taking.add_done_callback(lambda _: room.release())

    async def _take(self, lender: socket.socket) -> None:
        """Serve one process until it ends."""
        with lender, contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            lender.setblocking(False)
            try:
                lent = await self._offer(lender, stack)
            except NoOffer as refusal:
                log.error("an offer is refused", reason=str(refusal))
                lender.send(str(refusal).encode())
                return
            await _until_one_ends(self._pass_all_on(lent), _until_ended(lender))

    async def _offer(
        self, lender: socket.socket, stack: contextlib.ExitStack
    ) -> list[tuple[socket.socket, str]]:
        """Each socket with its server. All that was sent is closed with the stack."""
        await readable(lender.fileno())
        words, files, _, _ = socket.recv_fds(lender, WORDS_MAX, LENT_MAX)
        for file in files:
            stack.callback(os.close, file)
        try:
            asked = msgspec.json.decode(words, type=list[str])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NoOffer("these are no names of servers") from error
        unknown = [name for name in asked if name not in self._servers]
        if unknown:
            raise NoOffer(
                f"the relay was not told of {unknown[0][:200]!r}: `colonnade init` writes its unit "
                "anew, after a change of database_url"
            )
        if len(files) != len(asked):
            raise NoOffer(f"{len(asked)} servers are named, and {len(files)} sockets given")
        return [(_listening(os.dup(f), stack), name) for f, name in zip(files, asked, strict=True)]

    async def _pass_all_on(self, lent: Sequence[tuple[socket.socket, str]]) -> None:
        async with asyncio.TaskGroup() as group:
            for listener, server in lent:
                group.create_task(self._accept(listener, server))

    async def _accept(self, listener: socket.socket, server: str) -> None:
        room = asyncio.Semaphore(CONNECTIONS_MAX)
        async with asyncio.TaskGroup() as group:
            while True:
                await room.acquire()
                inner, _ = await asyncio.get_running_loop().sock_accept(listener)
                passing = group.create_task(self._pass_on(inner, server))
                passing.add_done_callback(lambda _: room.release())

    async def _pass_on(self, inner: socket.socket, server: str) -> None:
        """One connection until either end closes. When there is no server, whoever has connected
        sees the end at once, and tries the next one."""
        with inner:
            try:
                async with asyncio.timeout(CONNECT_S):
                    outer = await _connected(server)
            except (OSError, TimeoutError) as error:
                self._is_away(server, str(error) or "no answer")
                return
            with outer:
                self._away.discard(server)
                inner.setblocking(False)
                for one in (inner, outer):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await _until_one_ends(_copy(inner, outer), _copy(outer, inner))

    def _is_away(self, server: str, reason: str) -> None:
        if server not in self._away:
            self._away.add(server)
            log.warning("the database's server is not reached", server=server, reason=reason)


def _listening(file: int, stack: contextlib.ExitStack) -> socket.socket:
    """Raises NoOffer for what is no socket that listens for TCP."""
    try:
        found = stack.enter_context(socket.socket(fileno=file))
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise NoOffer("this is no socket") from error
    if not listens or found.family != socket.AF_INET:
        raise NoOffer("this socket does not listen for TCP")
    found.setblocking(False)
    return found


async def _connected(server: str) -> socket.socket:
    """Raises OSError when none of its addresses takes a connection."""
    loop = asyncio.get_running_loop()
    host, _, port = server.rpartition(":")
    found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    failure = OSError("it has no address")
    for family, kind, protocol, _, address in found:
        outer = socket.socket(family, kind, protocol)
        try:
            outer.setblocking(False)
            for level, name, value in OUTER:
                outer.setsockopt(level, name, value)
            await loop.sock_connect(outer, address)
        except OSError as error:
            outer.close()
            failure = error
        except BaseException:
            outer.close()
            raise
        else:
            return outer
    raise failure


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """All at once; when one ends the others are cancelled. Raises what any has raised."""
    tasks = {asyncio.create_task(work) for work in works}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Until the source ends, or either breaks."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while chunk := await loop.sock_recv(source, CHUNK):
            await loop.sock_sendall(sink, chunk)


async def _until_ended(lender: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(lender, CHUNK):
            pass  # it has nothing more to say
