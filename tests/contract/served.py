# SPDX-License-Identifier: Apache-2.0
"""The real application on a port of loopback, and the real command line against it.

The server is a process of its own, because a command here runs an event loop itself and owns
what is printed.
"""

import asyncio
import contextlib
import io
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from colonnade.api.app import create_app
from colonnade.api.http.call import Site
from colonnade.cli.local.system import free_port
from colonnade.cli.main import main
from colonnade.providers.enabled import enabled_providers
from colonnade.store.postgres.database import Database
from tests.contract.api_client import SEAL
from tests.fakes.network import FakeNetwork

ALL = ("amphora", "octavia", "noop")
START_S_MAX = 30.0
STOP_S_MAX = 20.0
ROOT = Path(__file__).parents[2]


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
    program = [sys.executable, "-m", "tests.contract.served", database_url, str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(program, cwd=ROOT, stdout=log, stderr=log)
        try:
            _wait_until_it_listens(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(STOP_S_MAX)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S_MAX
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, "the API ended"
        assert time.monotonic() < deadline, "the API did not start"
        time.sleep(0.02)


async def serve(database_url: str, port: int) -> None:
    database = await Database.connect(database_url)
    network = FakeNetwork()
    providers = enabled_providers(ALL, default="noop", network=network)
    server = Server(
        create_app(Site(database=database, providers=providers, network=network, seal=SEAL)),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    await database.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
