# SPDX-License-Identifier: Apache-2.0
"""The real application on a port of loopback, and the real command line against it.

The server has a thread and an event loop of its own, because a command runs one itself.
"""

import asyncio
import contextlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from colonnade.api.app import create_app
from colonnade.api.call import Site
from colonnade.cli.main import main
from colonnade.cli.system import free_port
from colonnade.providers.enabled import enabled_providers
from colonnade.store.database import Database
from tests.fakes.network import FakeNetwork

ALL = ("amphora", "octavia", "noop")
START_S_MAX = 10.0


class Said(msgspec.Struct, frozen=True):
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)

    def ok(self) -> "Said":
        assert self.code == 0, self
        assert "Traceback" not in self.err, self
        return self


class Colonnade:
    """The command line, speaking to one endpoint."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, *words: str) -> Said:
        out, err = io.StringIO(), io.StringIO()
        code = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([*words, "--url", self.url])
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        return Said(code, out.getvalue(), err.getvalue())

    def json(self, *words: str) -> Any:
        return self(*words, "--json").ok().json


@contextmanager
def served(database_url: str) -> Iterator[str]:
    """The address of an API whose default provider needs nothing behind it."""
    port = free_port()
    ready = threading.Event()
    thread = _Serving(database_url, port, ready)
    thread.start()
    assert ready.wait(START_S_MAX), "the API did not start"
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        thread.stop()
        thread.join(START_S_MAX)


class _Serving(threading.Thread):
    def __init__(self, database_url: str, port: int, ready: threading.Event) -> None:
        super().__init__(daemon=True)
        self._database_url, self._port, self._ready = database_url, port, ready
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self) -> None:
        database = await Database.connect(self._database_url)
        network = FakeNetwork()
        providers = enabled_providers(ALL, default="noop", network=network)
        server = Server(
            create_app(Site(database=database, providers=providers, network=network)),
            address="127.0.0.1",
            port=self._port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
        )
        serving = asyncio.create_task(server.serve())
        await _listening(self._port)
        self._ready.set()
        await self._stopping.wait()
        server.stop()  # type: ignore[no-untyped-call]
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await database.close()


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
