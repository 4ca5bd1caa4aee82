# SPDX-License-Identifier: Apache-2.0
"""A small web server and a small client, to see a load balancer at work from inside the lab.

`serve NAME PORT` answers every GET with its name. `load URL RATE [SECONDS]` sends that many
requests a second, each on a connection of its own and with so long to be answered, and prints a
JSON line for each as it ends; it stops when its standard input closes, or after `LOAD_S_MAX`. Only
the standard library is imported, since many of them start on one machine.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from urllib.parse import urlsplit

LOAD_S_MAX = 300.0
REQUEST_S_MAX = 2.0
IN_FLIGHT_MAX = 500


async def serve(name: str, port: int) -> None:
    body = f"{name}\n".encode()
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    )

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(respond, None, port, backlog=1024)
    async with server:
        await server.serve_forever()


async def fetch(host: str, port: int, path: str) -> str:
    """The body of a GET. Raises OSError or ValueError (anything but a whole 200)."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise ValueError(head.split(b"\r\n", 1)[0].decode(errors="replace") or "empty answer")
    return body.decode().strip()


async def timed_fetch(host: str, port: int, path: str, within_s: float) -> None:
    began = time.time()
    by, why = "", ""
    try:
        async with asyncio.timeout(within_s):
            by = await fetch(host, port, path)
    except TimeoutError:
        why = "timeout"
    except (OSError, ValueError) as error:
        why = str(error) or type(error).__name__
    ended = time.time()
    print(json.dumps({"began": began, "ended": ended, "by": by, "why": why}), flush=True)


async def load(url: str, rate: float, within_s: float) -> None:
    place = urlsplit(url)
    host, port, path = place.hostname or "", place.port or 80, place.path or "/"
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), _read_until_closed, closed)
    flying: set[asyncio.Task[None]] = set()
    began = loop.time()
    sent = 0
    while not closed.is_set() and loop.time() - began < LOAD_S_MAX:
        if len(flying) < IN_FLIGHT_MAX:
            task = asyncio.create_task(timed_fetch(host, port, path, within_s))
            flying.add(task)
            task.add_done_callback(flying.discard)
        sent += 1
        await asyncio.sleep(max(0.0, began + sent / rate - loop.time()))
    if flying:
        await asyncio.wait(flying, timeout=within_s)


def _read_until_closed(closed: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        closed.set()


def main(words: list[str]) -> None:
    match words:
        case ["serve", name, port]:
            asyncio.run(serve(name, int(port)))
        case ["load", url, rate]:
            asyncio.run(load(url, float(rate), REQUEST_S_MAX))
        case ["load", url, rate, within_s]:
            asyncio.run(load(url, float(rate), float(within_s)))
        case _:
            sys.exit("usage: http_tool serve NAME PORT | load URL RATE [SECONDS]")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
