# SPDX-License-Identifier: Apache-2.0
"""How a process on the LB network's namespace reaches a database elsewhere: by the relay.

It listens on loopback of its own namespace, one address for each server with the server's port, and
lends these sockets to the relay (`relay.py`). Its connections ask for the servers there, under
their own names, so libpq checks certificates, finds passwords and chooses among several servers as
ever. When the relay starts again it is lent the same sockets again.
"""

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from colonnade.domain.errors import Broken
from colonnade.runtime.config import RELAY, Config
from colonnade.store.postgres.places import Server, by_way_of, login, servers

RETRY_S: Final = 0.2
REFUSAL_BYTES_MAX: Final = 1000
BACKLOG: Final = 64
TRIES: Final = 20  # of addresses that nobody has
ENDING_S: Final = 1.0

log = structlog.get_logger()


@contextlib.contextmanager
def reached(config: Config) -> Iterator[Callable[[], str]]:
    """The connection string by which this process reaches the database, asked for whenever it
    connects. Raises Broken, Invalid."""
    relay = os.environ.get(RELAY, "")
    if not relay:
        yield login(config)
        return
    with by_relay(Path(relay), config) as url:
        yield url


@contextlib.contextmanager
def by_relay(relay: Path, config: Config) -> Iterator[Callable[[], str]]:
    """The same by the relay that takes offers there."""
    said, far = login(config), servers(config.database_url)
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(_listener(one)) for one in far]
        stack.enter_context(_lent(relay, far, made))
        addresses = {
            one.place: str(own.getsockname()[0]) for one, own in zip(far, made, strict=True)
        }
        yield lambda: by_way_of(said(), addresses)


def _listener(server: Server) -> socket.socket:
    """On any address of loopback; all of 127.0.0.0/8 is. The port is the server's, because files
    of passwords are looked into by it."""
    for _ in range(TRIES):
        address = ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.bind((f"127.{address}", server.port))
            made.listen(BACKLOG)
        except PermissionError as error:
            made.close()
            raise Broken(
                f"the database {server} has a port below 1024, on which only root may listen: give "
                "it another"
            ) from error
        except OSError:
            made.close()  # somebody has it
        else:
            return made
    raise Broken(f"no address of loopback has the port {server.port} free")


@contextlib.contextmanager
def _lent(relay: Path, far: Sequence[Server], made: Sequence[socket.socket]) -> Iterator[None]:
    lender = _Lender(relay, far, made)
    lender.thread.start()
    try:
        yield
    finally:
        lender.end()


class _Lender:
    """A thread, because it must serve callers with and without an event loop."""

    def __init__(self, relay: Path, far: Sequence[Server], made: Sequence[socket.socket]) -> None:
        self.thread = threading.Thread(target=self._lend_for_ever, name="lender", daemon=True)
        self._relay = str(relay)
        self._offer = msgspec.json.encode([str(one) for one in far])
        self._files = [one.fileno() for one in made]
        self._stop = threading.Event()
        self._talk: socket.socket | None = None
        self._said = ""

    def end(self) -> None:
        self._stop.set()
        if self._talk is not None:
            with contextlib.suppress(OSError):
                self._talk.shutdown(socket.SHUT_RDWR)
        self.thread.join(ENDING_S)

    def _lend_for_ever(self) -> None:
        while not self._stop.is_set():
            try:
                said = self._lend()
            except OSError as error:
                said = f"{self._relay}: {error.strerror or error}"
            if said and said != self._said:
                log.warning("the database's relay does not serve us", reason=said)
            self._said = said
            self._stop.wait(RETRY_S)

    def _lend(self) -> str:
        """Until the relay ends: "", or what it says."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as talk:
            self._talk = talk  # before the look at `_stop`: `end` does the two in the other order
            talk.connect(self._relay)
            socket.send_fds(talk, [self._offer], self._files)
            if self._stop.is_set():
                return ""
            return talk.recv(REFUSAL_BYTES_MAX).decode(errors="replace")
