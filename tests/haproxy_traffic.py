# SPDX-License-Identifier: Apache-2.0
"""Real traffic through a real haproxy that runs on what the driver rendered, all on loopback.

The VIP is an address of the loopback network and members are small web servers in the test's own
process. They answer with their name and what they were asked. The file is the driver's, but for
the paths of sockets.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from colonnade.domain.fleet import Cluster
from colonnade.drivers.amphora.haproxy.render import render
from colonnade.protocol import paths
from colonnade.protocol.bundle import Bundle
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.haproxy_trees import TEMPLATES

VIP = "127.0.0.1"
EXCHANGED = {
    paths.HAPROXY_SOCKET: "haproxy.sock",
    paths.HAPROXY_LOG_SOCKET: "log.sock",
    paths.SERVER_STATE: "servers.state",
    paths.HAPROXY_PEERS_SOCKET: "peers.sock",
}
WAIT_S_MAX = 10.0


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def told(self) -> dict[str, Any]:
        """What the member told of the request; empty when no member answered."""
        with suppress(ValueError):
            told = json.loads(self.body)
            return told if isinstance(told, dict) else {}
        return {}

    @property
    def by(self) -> str:
        return str(self.told.get("name", ""))


class Member:
    """A web server. `fails` makes it answer 503 or hang up; `health` is what /health answers. It
    sets the cookie that a request asks for in X-Set-Cookie."""

    def __init__(self, name: str, address: str, tls: ssl.SSLContext | None) -> None:
        self.name, self.port = name, 0
        self._address, self._tls = address, tls
        self.fails: str = ""
        self.health = 200
        self.asked = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/health", self._health)
        app.router.add_get("/echo", self._echo)
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address, self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.health)

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            await connection.send_str(f"{self.name}: {message.data}")
        return connection

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.fails == "hang up":
            assert request.transport is not None
            request.transport.abort()
        if self.fails == "503":
            return web.Response(status=503)
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = {"name": self.name, "path": request.path_qs, "headers": headers}
        more = {"Set-Cookie": headers["x-set-cookie"]} if "x-set-cookie" in headers else {}
        return web.json_response(
            told | {"padding": "x" * 2000}, headers={"X-Member": self.name} | more
        )


class Traffic:
    """haproxy, members and a client; a context in which all of them live."""

    def __init__(self) -> None:
        # Short, because a socket's path may have 107 bytes only.
        self.folder = Path(tempfile.mkdtemp(prefix="col-"))
        self.members: list[Member] = []
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        for one in self.members:
            await one.stop()
        shutil.rmtree(self.folder)

    async def member(
        self, name: str, *, address: str = VIP, tls: ssl.SSLContext | None = None
    ) -> Member:
        made = Member(name, address, tls)
        await made.start()
        self.members.append(made)
        return made

    async def serve(self, wanted: Cluster) -> Bundle:
        """Start with this wish, or reload to it."""
        bundle = render(wanted, (), TEMPLATES)
        text = bundle.config
        for theirs, ours in EXCHANGED.items():
            text = text.replace(theirs, str(self.folder / ours))
        (self.folder / "haproxy.cfg").write_text(text)
        if self._process is not None:
            said = await self.say("reload", "master.sock")
            assert "Success=1" in said, said
            return bundle
        master = f"{self.folder}/master.sock,level,admin"
        self._process = await asyncio.create_subprocess_exec(
            *(find_haproxy(), "-W", "-S", master, "-f", str(self.folder / "haproxy.cfg")),
            start_new_session=True,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(self._answers)
        return bundle

    async def say(self, words: str, door: str = "haproxy.sock") -> str:
        reader, writer = await asyncio.open_unix_connection(self.folder / door)
        try:
            writer.write(f"{words}\n".encode())
            writer.write_eof()
            async with asyncio.timeout(WAIT_S_MAX):
                return (await reader.read()).decode().strip()
        finally:
            writer.close()

    async def states(self, backend: str) -> dict[str, str]:
        """haproxy's words for its servers, by name."""
        lines = (await self.say(f"show stat {backend} 4 -1")).removeprefix("# ").splitlines()
        columns = lines[0].split(",")
        rows = [dict(zip(columns, line.split(","), strict=False)) for line in lines[1:]]
        return {row["svname"]: row["status"] for row in rows}

    async def teaches(self) -> bool:
        """Whether the process would hand its stick tables on: it waits 5 s first, in case that
        there was one before it that it has to learn from."""
        found = re.search(r" flags=0x([0-9a-f]+) ", await self.say("show peers"))
        return found is not None and int(found[1], 16) & 3 == 3

    async def _answers(self) -> bool:
        assert self._process is not None and self._process.returncode is None, "haproxy ended"
        with suppress(OSError):  # the worker listens before its master does
            worker = "Pid:" in await self.say("show info")
            return worker and "worker" in await self.say("show proc", "master.sock")
        return False


async def get(
    port: int,
    path: str = "/",
    *,
    method: str = "GET",
    source: str = "",
    vip: str = VIP,
    **headers: str,
) -> Answer:
    """One request on a connection of its own. `X_Key=...` is the header X-Key."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connector = aiohttp.TCPConnector(local_addr=(source, 0) if source else None, force_close=True)
    host = f"[{vip}]" if ":" in vip else vip
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
        session.request(
            method, f"http://{host}:{port}{path}", headers=named, allow_redirects=False
        ) as answer,
    ):
        return Answer(answer.status, answer.headers, await answer.read())


async def until(fact: Callable[[], Awaitable[bool]], within_s: float = WAIT_S_MAX) -> None:
    """Wait for a level."""
    deadline = time.monotonic() + within_s
    while not await fact():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        await asyncio.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((VIP, 0))
        port: int = probe.getsockname()[1]
        return port
