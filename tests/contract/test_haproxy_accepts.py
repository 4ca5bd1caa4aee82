# SPDX-License-Identifier: Apache-2.0
"""A real haproxy takes over its socket what it takes in its file, and serves what was rendered.

Paths and addresses are exchanged for ones of the test: unix sockets only, and nothing is bound
that anybody else could reach.
"""

import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from colonnade.agent.haproxy.servers import commands
from colonnade.domain.fleet import Cluster
from colonnade.drivers.amphora.haproxy.render import render
from colonnade.drivers.amphora.haproxy.sample import SAMPLE
from colonnade.protocol import paths
from colonnade.protocol.bundle import Bundle, Change, Server
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.haproxy_extras import EXTRAS
from tests.haproxy_tls import FEATURES as TLS
from tests.haproxy_tls import write_secrets
from tests.haproxy_trees import FEATURES as PLAIN
from tests.haproxy_trees import TEMPLATES

FEATURES = PLAIN | EXTRAS | TLS
HAPROXY = find_haproxy()
EXCHANGED = {
    paths.HAPROXY_SOCKET: "haproxy.sock",
    paths.HAPROXY_LOG_SOCKET: "log.sock",
    paths.SERVER_STATE: "servers.state",
    paths.HAPROXY_PEERS_SOCKET: "peers.sock",
}
# Bits of srv_admin_state (haproxy's management guide, "show servers state").
FORCED_DOWN, CONFIGURED_DOWN = 1, 4
Say = Callable[[str], Awaitable[str]]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short, because a socket's path may have 107 bytes only.
    made = Path(tempfile.mkdtemp(prefix="col-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("feature", [*FEATURES, "sample"])
async def test_every_server_can_leave_and_come_back_without_a_reload(
    feature: str, folder: Path
) -> None:
    wanted = (FEATURES | {"sample": SAMPLE})[feature]
    write_secrets(wanted, folder)
    bundle = local_servers(render(wanted, (), TEMPLATES), folder)
    async with running(local(bundle, folder), folder) as say:
        for backend in bundle.backends:
            before = await servers(say, backend.name)
            assert set(before) == {server.name for server in backend.servers}
            at_once = [replace(server, drain_seconds=0) for server in backend.servers]
            both = tuple((backend.name, server) for server in at_once)
            await tell(say, Change(removed=both))
            for server in backend.servers:
                assert await say(f"del server {backend.name}/{server.name}") == "Server deleted."
            assert await servers(say, backend.name) == {}
            await tell(say, Change(added=both))
            assert await servers(say, backend.name) == before


async def test_a_bare_http_listener_answers_503(folder: Path) -> None:
    assert b" 503 " in await answer(FEATURES["no-pool-http"], folder)


async def test_a_pool_without_members_answers_503(folder: Path) -> None:
    assert b" 503 " in await answer(FEATURES["no-members"], folder)


async def test_a_pool_that_is_down_answers_503(folder: Path) -> None:
    assert b" 503 " in await answer(FEATURES["pool-down"], folder)


async def test_a_bare_tcp_listener_hangs_up(folder: Path) -> None:
    assert await answer(FEATURES["no-pool-tcp"], folder) == b""


async def answer(wanted: Cluster, folder: Path) -> bytes:
    """What the first frontend answers to a request."""
    text = local(render(wanted, (), TEMPLATES), folder)
    async with running(text, folder):
        reader, writer = await asyncio.open_unix_connection(folder / "100.sock")
        try:
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            async with asyncio.timeout(5):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


def local(bundle: Bundle, folder: Path) -> str:
    """The file with the test's own sockets in it."""
    text = bundle.config
    for theirs, name in EXCHANGED.items():
        assert theirs in text
        text = text.replace(theirs, str(folder / name))
    text = text.replace(paths.SECRETS, str(folder))
    bind = r"^    bind [^ ]*:(\d+)( .*)?$"
    return re.sub(bind, rf"    bind unix@{folder}/\1.sock\2", text, flags=re.M)


def local_servers(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle whose servers name the test's own files."""

    def moved(server: Server) -> Server:
        return replace(server, options=server.options.replace(paths.SECRETS, str(folder)))

    backends = [replace(b, servers=tuple(map(moved, b.servers))) for b in bundle.backends]
    return replace(bundle, backends=tuple(backends))


@asynccontextmanager
async def running(text: str, folder: Path) -> AsyncIterator[Say]:
    """haproxy on this file, in a network namespace of its own with not even a loopback: what it
    sends to check members goes nowhere."""
    file = folder / "haproxy.cfg"
    file.write_text(text)
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--user", "--map-root-user", "--net", HAPROXY, "-db", "-f", str(file)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def say(words: str) -> str:
        reader, writer = await asyncio.open_unix_connection(folder / "haproxy.sock")
        try:
            writer.write(f"{words}\n".encode())
            async with asyncio.timeout(5):
                return (await reader.read()).decode().strip()
        finally:
            writer.close()

    try:
        deadline = time.monotonic() + 10
        while True:
            # Its sockets appear one after the other; it answers when all of them are there.
            with suppress(FileNotFoundError, ConnectionError):
                if await say("show info"):
                    break
            assert process.returncode is None, "haproxy ended"
            assert time.monotonic() < deadline, "haproxy did not start"
            await asyncio.sleep(0.01)
        yield say
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def tell(say: Say, change: Change) -> None:
    """What the agent would tell haproxy, with the answers that it would accept."""
    said = commands(change, {})
    assert said is not None, "the agent would reload"
    for command in said:
        answer = await say(command.text)
        assert re.fullmatch(command.answer, answer, re.DOTALL), f"{command.text}: {answer}"


async def servers(say: Say, backend: str) -> dict[str, tuple[str, ...]]:
    """By name: number, address, port, weights, where it is checked, and whether it is down by
    its owner's wish."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (await say(f"show servers state {backend}")).splitlines()[2:]:
        parts = line.split()
        by_owner = bool(int(parts[6]) & (FORCED_DOWN | CONFIGURED_DOWN))
        fixed = (parts[2], parts[4], parts[18], parts[7], parts[8], parts[21], parts[22])
        found[parts[3]] = (*fixed, str(by_owner))
    return found
