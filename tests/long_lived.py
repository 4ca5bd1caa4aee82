# SPDX-License-Identifier: Apache-2.0
"""Servers and clients that notice when a load balancer hurts them, for hosts of the lab.

`serve NAME` is an HTTP/1.1 server on several ports and a TCP echo on as many. `hold KIND HOST
PORT` keeps one connection in use and says what came of it; `load HOST PORT RATE` asks at a
constant rate and says which requests failed, and why. Clients go on until their standard input
closes. Only the standard library is imported: many of them start on one machine.
"""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import ssl
import sys
import time
from collections import Counter
from typing import Any

HTTP_PORTS = tuple(range(80, 84))
ECHO_PORTS = tuple(range(90, 94))
PAUSE_S = 0.05
ANSWER_S_MAX = 5.0
KEPT = 4  # connections that carry request after request
IN_FLIGHT_MAX = 200
FAILURES_MAX = 20
SLOW_BYTES = 1_000_000_000  # more than anybody waits for
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def serve(name: str) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await _answered(name, reader, writer):
                pass
        writer.close()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while text := await reader.read(65536):
                writer.write(text)
                await writer.drain()
        writer.close()

    for port in HTTP_PORTS:
        await asyncio.start_server(web, None, port, backlog=1024)
    for port in ECHO_PORTS:
        await asyncio.start_server(echo, None, port, backlog=1024)
    await asyncio.Event().wait()


async def _answered(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request; whether another may follow."""
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ", 2)[1]
    if path == b"/echo":
        await _websocket(head, reader, writer)
        return False
    if path == b"/slow":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SLOW_BYTES)
        for number in itertools.count():
            writer.write(b"%d\n" % number)
            await writer.drain()
            await asyncio.sleep(PAUSE_S)
    body = f"{name}\n".encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    return True


async def _websocket(
    head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if b": " in line)
    key = {word.lower(): value for word, value in lines.items()}[b"sec-websocket-key"]
    accepted = base64.b64encode(hashlib.sha1(key + _WEBSOCKET).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accepted
    )
    while True:  # text frames of up to 125 bytes, from the client masked (RFC 6455, 5.2)
        first, length = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(length & 0x7F)
        text = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
        writer.write(bytes([first, len(text)]) + text)
        await writer.drain()


async def hold(kind: str, host: str, port: int, context: ssl.SSLContext | None) -> None:
    """Says `open` after the first exchange, and at the end how many there were, and what broke."""
    over = _closed_input()
    exchanges, why = 0, ""
    try:
        exchange = await _opened(kind, host, port, context)
        while not over.is_set():
            async with asyncio.timeout(ANSWER_S_MAX):
                await exchange(b"number %d" % exchanges)
            exchanges += 1
            if exchanges == 1:
                _say("open")
            if kind != "slow":  # there, the server sets the pace
                await asyncio.sleep(PAUSE_S)
    except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
        why = f"{type(error).__name__} after {exchanges} exchanges: {error}"
    _say(json.dumps({"kind": kind, "exchanges": exchanges, "why": why}))


async def _opened(kind: str, host: str, port: int, context: ssl.SSLContext | None) -> Any:
    """What exchanges one text on the connection. It raises when something else comes back."""
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    if kind == "websocket":
        key = base64.b64encode(os.urandom(16))
        writer.write(
            b"GET /echo HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % key
        )
        await _expected(reader, b"HTTP/1.1 101 ")
        await reader.readuntil(b"\r\n\r\n")
    elif kind == "slow":
        writer.write(b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        await _expected(reader, b"HTTP/1.1 200 ")
        await reader.readuntil(b"\r\n\r\n")
    numbers = itertools.count()

    async def exchange(text: bytes) -> None:
        if kind == "slow":
            await _expected(reader, b"%d\n" % next(numbers))
        elif kind == "websocket":
            writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
            await _expected(reader, bytes([0x81, len(text)]) + text)
        else:
            writer.write(text)
            await _expected(reader, text)

    return exchange


async def _expected(reader: asyncio.StreamReader, text: bytes) -> None:
    found = await reader.readexactly(len(text))
    if found != text:
        raise ValueError(f"{found!r} came instead of {text!r}")


class Load:
    """Requests at a constant rate: of each two, one on a connection that is kept."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._place = host, port
        self._context = context
        self._kept: list[Streams] = []
        self.by: Counter[str] = Counter()
        self.certificates: set[str] = set()
        self.failures: list[dict[str, Any]] = []
        self.failed = 0
        self.took: list[float] = []

    async def request(self, number: int) -> None:
        began = time.time()
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                self.by[await self._asked(keep=number % 2 == 0)] += 1
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.failed += 1
            why = f"{type(error).__name__}: {error}"
            if len(self.failures) < FAILURES_MAX:
                self.failures.append({"began": began, "why": why, "kept": number % 2 == 0})
        self.took.append(time.time() - began)

    async def _asked(self, *, keep: bool) -> str:
        reader, writer = self._kept.pop() if keep and self._kept else await self._connected()
        goes_on = False
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200 "):
                raise ValueError(head.split(b"\r\n", 1)[0].decode())
            length = head.split(b"content-length: ")[1].split(b"\r\n")[0]
            body = (await reader.readexactly(int(length))).decode().strip()
            goes_on = keep and b"connection: close" not in head and len(self._kept) < KEPT
        finally:
            if goes_on:
                self._kept.append((reader, writer))
            else:
                writer.close()
        return body

    async def _connected(self) -> Streams:
        reader, writer = await asyncio.open_connection(*self._place, ssl=self._context)
        channel = writer.get_extra_info("ssl_object")
        if channel is not None:
            self.certificates.add(hashlib.sha256(channel.getpeercert(True)).hexdigest())
        return reader, writer


async def load(host: str, port: int, rate: float, context: ssl.SSLContext | None) -> None:
    """Says `open` when it begins, and at the end what became of the requests."""
    asking = Load(host, port, context)
    over = _closed_input()
    loop = asyncio.get_running_loop()
    flying: set[asyncio.Task[None]] = set()
    began = loop.time()
    _say("open")
    for number in itertools.count():
        if over.is_set():
            break
        if len(flying) < IN_FLIGHT_MAX:
            task = asyncio.create_task(asking.request(number))
            flying.add(task)
            task.add_done_callback(flying.discard)
        await asyncio.sleep(max(0.0, began + (number + 1) / rate - loop.time()))
    await asyncio.gather(*flying)
    took = sorted(asking.took)
    found = {
        "requests": sum(asking.by.values()),
        "failed": asking.failed,
        "failures": asking.failures,
        "by": asking.by,
        "certificates": sorted(asking.certificates),
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
        "max_ms": round(took[-1] * 1000, 2),
    }
    _say(json.dumps(found))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _closed_input() -> asyncio.Event:
    closed = asyncio.Event()

    def read() -> None:
        if not os.read(0, 4096):
            closed.set()
            asyncio.get_running_loop().remove_reader(0)

    asyncio.get_running_loop().add_reader(0, read)
    return closed


def _context(port: int) -> ssl.SSLContext | None:
    """What is shown is told, not verified: the test knows which certificates there were."""
    if port != 443:
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main(words: list[str]) -> None:
    match words:
        case ["serve", name]:
            asyncio.run(serve(name))
        case ["hold", kind, host, port]:
            asyncio.run(hold(kind, host, int(port), _context(int(port))))
        case ["load", host, port, rate]:
            asyncio.run(load(host, int(port), float(rate), _context(int(port))))
        case _:
            sys.exit("usage: serve NAME | hold KIND HOST PORT | load HOST PORT RATE")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
