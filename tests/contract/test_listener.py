# SPDX-License-Identifier: Apache-2.0
"""What strangers may hold of a TLS server before they have shown who they are. Real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio
from aiohttp import web

from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.listener import Bounds, accepting, protocols_of
from colonnade.runtime.mtls import client_context, server_context
from colonnade.runtime.sockets import tcp_listener

BOUNDS = Bounds(connections=6, of_one_peer=4, handshake_s=0.3)


class Site:
    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port = port
        self.context = context
        self.open: list[asyncio.StreamWriter] = []

    async def connect(self, source: str = "127.0.0.1") -> asyncio.StreamReader:
        """A connection that says nothing."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(source, 0)
        )
        self.open.append(writer)
        return reader

    async def ask(self, source: str = "127.0.0.1") -> int:
        connector = aiohttp.TCPConnector(ssl=self.context, local_addr=(source, 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"https://127.0.0.1:{self.port}/"
            async with session.get(url, server_hostname="server") as answer:
                return answer.status


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    authority = Authority.new()
    (tmp_path / "ca.pem").write_text(authority.certificate)
    for name in ("server", "client"):
        (tmp_path / f"{name}.pem").write_text(Authority(authority).issue(name, days=1).pem)

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = tcp_listener("127.0.0.1", 0)
    port = listener.getsockname()[1]
    context = server_context(tmp_path / "server.pem", tmp_path / "ca.pem")
    try:
        async with accepting(listener, protocols_of(runner), lambda: context, BOUNDS):
            made = Site(port, client_context(tmp_path / "client.pem", tmp_path / "ca.pem"))
            yield made
            for writer in made.open:
                writer.close()
    finally:
        await runner.cleanup()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other end has closed it, within twice the time of a handshake."""
    try:
        async with asyncio.timeout(2 * BOUNDS.handshake_s + 1):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def test_one_peer_has_only_so_many_connections_and_the_others_are_served(site: Site) -> None:
    silent = [await site.connect() for _ in range(BOUNDS.of_one_peer)]
    beyond = await site.connect()
    assert await ended(beyond)
    assert await site.ask("127.0.0.2") == 200
    for reader in silent:
        assert await ended(reader), "a handshake that does not come is not waited for"
    assert await site.ask() == 200


async def test_there_are_only_so_many_connections_in_all(site: Site) -> None:
    for number in range(BOUNDS.connections):
        await site.connect(f"127.0.1.{number + 1}")
    assert await ended(await site.connect("127.0.2.1"))

    async def served() -> bool:
        try:
            return await site.ask("127.0.2.2") == 200
        except aiohttp.ClientError:
            return False

    async with asyncio.timeout(5):
        while not await served():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_connection_that_ends_makes_room(site: Site) -> None:
    for _ in range(3 * BOUNDS.connections):
        assert await site.ask() == 200
