# SPDX-License-Identifier: Apache-2.0
"""Connections that last live through a hundred changes of members and twenty reloads, and no
request fails meanwhile: a download, a WebSocket's bytes both ways, and a TCP echo."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from colonnade.protocol.bundle import Bundle
from tests.agent_bench import HEAD, WEB, Bench, bundle, server, until
from tests.agent_site import VIP

CHANGES, RELOADS = 100, 20
ECHO = f"""frontend echo
  mode tcp
  bind {VIP}:7
  default_backend echoes
backend echoes
  mode tcp
  server one {WEB[0]}
"""
# RFC 6455, 1.3: the key of its example, and the answer to it.
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
TO_WEBSOCKET = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\n" + TO_WEBSOCKET + ACCEPT + b"\r\n"
TICK = b"tick\n"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    serving = []
    try:
        await made.start(config={"reload_pause_s": 0.1, "old_workers_max": RELOADS + 4})
        for place in WEB:
            host, _, port = place.partition(":")
            listening = made.site.new_socket(socket.AF_INET)
            listening.bind((host, int(port)))
            listening.listen(200)
            serving.append(await asyncio.start_server(answer, sock=listening))
        yield made
    finally:
        for one in serving:
            one.close()
        await made.end()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A web server, with ticks without end and an echo; also an echo for what is no request."""
    try:
        first = await reader.readuntil(b"\n")
        head = first
        while first.startswith(b"GET") and not head.endswith(b"\r\n\r\n"):
            head += await reader.readuntil(b"\n")
        if b"/ticks" in head:
            writer.write(HEAD)
            while not writer.is_closing():
                writer.write(TICK)
                await writer.drain()
                await asyncio.sleep(0.02)
        elif b"Upgrade" in head or not first.startswith(b"GET"):
            writer.write(UPGRADE if b"Upgrade" in head else first)
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        else:
            writer.write(HEAD + b"ok")
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass  # a health check that only connects, or the end of the test
    finally:
        writer.close()


def wish(generation: int, chance: random.Random, limit: int) -> Bundle:
    """One to three members with any weights; the limit is what only a reload can change."""
    chosen = sorted(chance.sample([1, 2, 3], chance.randint(1, 3)))
    members = [server(number, weight=chance.randint(1, 9)) for number in chosen]
    found = bundle(generation, *members, extra=f"maxconn {1000 + limit}")
    return msgspec.structs.replace(found, config=found.config + ECHO, frame=found.frame + ECHO)


class Lasting:
    """A connection through the VIP, and how many lines came over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines = 0
        self._reader, self._writer = reader, writer

    async def download(self) -> None:
        while True:
            assert await self._reader.readuntil(b"\n") == TICK
            self.lines += 1

    async def talk(self) -> None:
        while True:
            said = f"line {self.lines}\n".encode()
            self._writer.write(said)
            assert await self._reader.readuntil(b"\n") == said
            self.lines += 1
            await asyncio.sleep(0.02)


async def opened(bench: Bench, request: bytes, port: int = 80) -> Lasting:
    asking = bench.site.new_socket(socket.AF_INET)
    asking.setblocking(False)
    await asyncio.get_running_loop().sock_connect(asking, (VIP, port))
    reader, writer = await asyncio.open_connection(sock=asking)
    writer.write(request)
    if request:
        await reader.readuntil(b"\r\n\r\n")
    return Lasting(reader, writer)


async def test_what_lasts_lives_through_changes_and_reloads(bench: Bench) -> None:
    chance = random.Random(7)
    await bench.put(wish(1, chance, 0))
    ticks = await opened(bench, b"GET /ticks HTTP/1.1\r\nHost: t\r\n\r\n")
    chat = await opened(bench, b"GET / HTTP/1.1\r\nHost: t\r\n" + TO_WEBSOCKET + KEY + b"\r\n")
    echo = await opened(bench, b"", port=7)
    lasting = [
        asyncio.create_task(ticks.download()),
        asyncio.create_task(chat.talk()),
        asyncio.create_task(echo.talk()),
    ]
    means: list[str] = []
    async with bench.load() as answers:
        for number in range(1, CHANGES + RELOADS + 1):
            limit = number // ((CHANGES + RELOADS) // RELOADS)
            means.append(await bench.put(wish(number + 1, chance, limit)))
    before = [one.lines for one in (ticks, chat, echo)]

    async def all_go_on() -> bool:
        return all(one.lines > n for one, n in zip((ticks, chat, echo), before, strict=True))

    await until(all_go_on, 2)
    ended = [str(task.exception()) for task in lasting if task.done()]
    assert ended == []
    for task in lasting:
        task.cancel()
    await asyncio.gather(*lasting, return_exceptions=True)
    assert [one for one in answers if one != "ok"] == []
    assert len(answers) > CHANGES
    assert means.count("reload") >= RELOADS
    assert means.count("runtime") > CHANGES // 2
