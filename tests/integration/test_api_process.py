# SPDX-License-Identifier: Apache-2.0
"""The API as a real process: its workers, its limits, and callers that are slow or many."""

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.api_server import Server, eventually, serving

PATH = "/v2/lbaas/loadbalancers"
HEADER_S = 1.0
BODY_S = 1.5
HELD = 1000
BODY = b'{"loadbalancer":{"vip_subnet_id":"6b1a3b0e-9a0a-4b7a-8c3e-1234567890ab"}}'


@pytest_asyncio.fixture
async def server(tmp_path: Path, database_url: str) -> AsyncIterator[Server]:
    limits = {"header_timeout_s": HEADER_S, "body_timeout_s": BODY_S}
    async with serving(tmp_path, database_url, **limits) as running:
        yield running


async def connected(server: Server, *words: bytes) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"".join(words))
    await writer.drain()
    reader.writer = writer  # type: ignore[attr-defined] # else it is collected, and closed
    return reader


def post(length: int) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (
        PATH.encode(),
        length,
    )


async def test_a_head_that_does_not_come_ends_the_connection(server: Server) -> None:
    began = time.monotonic()
    reader = await connected(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    async with asyncio.timeout(HEADER_S + 5):
        await reader.read()
    assert time.monotonic() - began >= HEADER_S - 0.2


async def test_a_body_that_does_not_come_is_answered_with_408(server: Server) -> None:
    reader = await connected(server, post(len(BODY)), BODY[:10])
    async with asyncio.timeout(BODY_S + 5):
        answer = await reader.read()  # to the end: such a connection is not used again
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"faultcode":"Client"' in answer


CHUNKED = (
    b"POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode()
)
MALFORMED = {
    "a size that is none": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "an end too early": CHUNKED + b"5\r\n{}",
    "no last chunk": CHUNKED + b"2\r\n{}\r\n",
    "an endless extension": CHUNKED + b"2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
    "a body shorter than said": post(50) + b"{}",
    "no length": post(1).replace(b"Content-Length: 1", b"Content-Length: one") + b"{",
    "a negative length": post(1).replace(b"Content-Length: 1", b"Content-Length: -1") + b"{",
    "two hosts": post(2).replace(
        b"Host: localhost", b"Host: localhost\r\nHost: evil\r\nConnection: close"
    )
    + b"{}",
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_request_is_answered_with_400_and_nothing_is_done(
    server: Server, case: str
) -> None:
    reader = await connected(server, MALFORMED[case])
    if case != "two hosts":
        reader.writer.write_eof()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert '"bug"' not in server.said


async def test_a_packed_body_is_refused_and_not_read_as_another(server: Server) -> None:
    head = post(5).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")
    reader = await connected(server, head, b"\x1f\x8b123")
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"not in the encoding 'gzip'" in answer


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:9876", 200), ("LOCALHOST.", 200), ("127.0.0.1:1", 200),
        ("127.9.9.9", 200), ("[::1]:9876", 200), ("api.localhost", 200),
        ("evil.example", 403), ("evil.example:9876", 403), ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403), ("10.0.0.1", 403), ("[2001:db8::1]", 403), ("", 403),
    ],
)  # fmt: skip
async def test_where_everybody_is_trusted_only_our_own_names_are_answered(
    server: Server, host: str, status: int
) -> None:
    """A page whose name leads here (DNS rebinding) sends its own name."""
    head = f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    reader = await connected(server, head.encode())
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


async def test_a_body_that_trickles_is_answered_with_408(server: Server) -> None:
    reader = await connected(server, post(len(BODY)))
    writer: asyncio.StreamWriter = reader.writer  # type: ignore[attr-defined]

    async def trickle() -> None:
        for place in range(len(BODY) - 1):
            writer.write(BODY[place : place + 1])
            await asyncio.sleep(0.1)

    trickling = asyncio.create_task(trickle())
    try:
        async with asyncio.timeout(BODY_S + 5):
            line = await reader.readline()
    finally:
        trickling.cancel()
    assert line.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_is_too_long_is_not_read(server: Server) -> None:
    reader = await connected(server, post(2 * 1024 * 1024 + 1))
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")


async def test_a_thousand_connections_held_open_do_not_stop_others(
    tmp_path: Path, database_url: str
) -> None:
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < HELD + 500:
        pytest.fail(f"this machine allows {hard} files, too few for the test")
    half_a_head, half_a_body = b"GET / HTTP/1.1\r\nHost: localhost\r\n", post(len(BODY)) + BODY[:10]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # what the server starts with
        async with serving(tmp_path, database_url, body_timeout_s=60.0) as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, HELD + 500), hard))
            idle = [await connected(server) for _ in range(HELD // 2)]
            idle += [await connected(server, half_a_head) for _ in range(HELD // 4)]
            idle += [await connected(server, half_a_body) for _ in range(HELD // 4)]
            began = time.monotonic()
            for _ in range(20):
                assert (await server.get(PATH)).status_code == 200
            assert time.monotonic() - began < 5
            for reader in idle:
                reader.writer.close()  # type: ignore[attr-defined]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_stops_in_time_whatever_callers_do(
    tmp_path: Path, database_url: str, workers: int
) -> None:
    async with serving(tmp_path, database_url, workers=workers, body_timeout_s=60.0) as server:
        kept = [await connected(server) for _ in range(5)]
        kept.append(await connected(server, post(len(BODY)), BODY[:10]))
        stream = (
            b"GET /v2/lbaas/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        )
        kept.append(await connected(server, stream))
        async with asyncio.timeout(10):
            assert b" 200 " in await kept[-1].readline()
        began = time.monotonic()
    assert time.monotonic() - began < 7  # a supervisor kills after 8 s
    assert "Traceback" not in server.said


async def test_workers_share_an_address_and_are_replaced(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, database_url, workers=2) as server:
        first = server.workers()
        assert len(first) == 2
        answers = await asyncio.gather(*(server.get(PATH) for _ in range(40)))
        assert {answer.status_code for answer in answers} == {200}
        assert all(_listens(pid, server.port) for pid in first)

        os.kill(first[0], signal.SIGKILL)

        async def replaced() -> bool:
            now = server.workers()
            return (
                len(now) == 2
                and first[0] not in now
                and all(_listens(pid, server.port) for pid in now)
            )

        await eventually(replaced)
        assert (await server.get(PATH)).status_code == 200
        last = server.workers()
    assert not [pid for pid in last if Path(f"/proc/{pid}").exists()]


async def test_workers_end_with_the_process_that_started_them(
    tmp_path: Path, database_url: str
) -> None:
    with contextlib.suppress(AssertionError):  # its end is no clean one
        async with serving(tmp_path, database_url, workers=2) as server:
            workers = server.workers()
            server.process.kill()

            async def gone() -> bool:
                return not any(Path(f"/proc/{pid}").exists() for pid in workers)

            await eventually(gone)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def _listens(pid: int, port: int) -> bool:
    """Has the process a listening socket of its own on the port?"""
    table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in table]
    inodes = {f"socket:[{r[9]}]" for r in rows if r[3] == "0A" and r[1].endswith(f":{port:04X}")}
    try:
        files = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return not inodes.isdisjoint(files)
