# SPDX-License-Identifier: Apache-2.0
"""The relay, as a process of its own, leads to real databases: with passwords, with TLS from end to
end, with several servers; and whoever harms it harms itself."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import msgspec
import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import make_conninfo

from colonnade.cli.local.children import colonnade, tied
from colonnade.cli.waiting import until
from colonnade.domain.errors import Unavailable
from colonnade.runtime.config import RELAY_SOCKET, Config
from colonnade.runtime.files import replace_file
from colonnade.store.postgres import migrations
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.lending import by_relay
from colonnade.store.postgres.places import servers
from tests.certificates import made
from tests.replicated_postgres import PASSWORD, PORT, Server, alone, url_to

WITHIN_S = 30.0
NOBODY = "127.0.0.1:5431"  # where no server is
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"  # of PostgreSQL's protocol


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="col-"))  # short, for sockets, and open to all
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    found = Path(tempfile.mkdtemp(prefix="col-"))
    found.chmod(0o755)
    async with alone(found) as started:
        yield started


class Relay:
    """The process, and the socket that its supervisor keeps."""

    def __init__(self, folder: Path, *led_to: str) -> None:
        self.path = folder / "relay"
        self.log = folder / "relay.log"
        self._servers = led_to
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        given = self._socket.fileno()
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *tied(colonnade("relay", *self._servers)),
                env=os.environ | {RELAY_SOCKET: str(given)},
                pass_fds=[given], stdout=log, stderr=log,
            )  # fmt: skip

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def end(self) -> None:
        await self.kill()
        self._socket.close()

    def offer(self, words: bytes, *files: int) -> str:
        """What it says to that."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as talk:
            talk.settimeout(WITHIN_S)
            talk.connect(str(self.path))
            socket.send_fds(talk, [words], files)
            return talk.recv(1000).decode()


@contextlib.asynccontextmanager
async def relay(folder: Path, *led_to: str) -> AsyncIterator[Relay]:
    found = Relay(folder, *led_to)
    try:
        await found.start()
        yield found
    finally:
        await found.end()


def config_of(folder: Path, url: str) -> Config:
    file = folder / "password"
    replace_file(file, f"{PASSWORD}\n")
    return Config(state_dir=folder, run_dir=folder, database_url=url, database_password_file=file)


@contextlib.asynccontextmanager
async def connected(url: Callable[[], str]) -> AsyncIterator[Database]:
    async with asyncio.timeout(WITHIN_S):
        database = await Database.when_there(url)
    try:
        yield database
    finally:
        await database.close()


async def answers(database: Database) -> bool:
    with contextlib.suppress(Unavailable):
        async with database.read() as connection:
            found = await (await connection.execute("SELECT repeat('x', 3000000)")).fetchone()
            return found is not None and len(found[0]) == 3_000_000
    return False


def led_from(url: str) -> set[str]:
    return {str(ip_address(one.host)) for one in servers(url)}


async def test_a_process_reaches_its_database_again_whoever_was_away(
    folder: Path, server: Server
) -> None:
    config = config_of(folder, url_to(server))
    async with relay(folder, f"{server.address}:{PORT}") as between:
        with by_relay(between.path, config) as url:
            assert not {server.address} & led_from(url())
            await asyncio.to_thread(migrations.migrate_when_there, url())
            async with connected(url) as database:
                assert await answers(database)
                await between.kill()
                await between.start()
                await until(lambda: answers(database), within_s=WITHIN_S, what="answers again")
                await server.stop()
                assert not await answers(database)
                await server.start()
                await until(lambda: answers(database), within_s=WITHIN_S, what="the server again")
                server.ask("ALTER USER colonnade PASSWORD 'another'")
                assert config.database_password_file is not None
                replace_file(config.database_password_file, "another\n")
                async with connected(url) as another:
                    assert await answers(another)
    said = between.log.read_text()
    assert PASSWORD not in said
    assert said.count("is not reached") == 1  # not for each attempt


async def test_the_next_server_is_asked_when_one_is_away(folder: Path, server: Server) -> None:
    config = config_of(folder, url_to(server).replace("@", f"@{NOBODY},"))
    async with relay(folder, NOBODY, f"{server.address}:{PORT}") as between:
        with by_relay(between.path, config) as url:
            async with connected(url) as database:
                assert await answers(database)


async def test_it_leads_nowhere_else_and_outlives_what_is_no_offer(
    folder: Path, server: Server
) -> None:
    known = f"{server.address}:{PORT}"
    async with relay(folder, known) as between:
        with socket.create_server(("127.0.0.1", 0)) as lent, socket.socket() as idle:
            good = msgspec.json.encode([known])
            asked = [
                (b'["127.0.0.1:22"]', [lent.fileno()], "was not told of '127.0.0.1:22'"),
                (good, [], "1 servers are named, and 0 sockets given"),
                (good, [lent.fileno(), lent.fileno()], "1 servers are named, and 2 sockets given"),
                (good, [idle.fileno()], "does not listen"),
                (good, [0], "no socket"),
                (b"[1, {}]", [], "no names of servers"),
                (b"\xff" * 9000, [], "no names of servers"),
                (b"[" * 16_000, [], "no names of servers"),
            ]
            for words, files, reason in asked:
                assert reason in await asyncio.to_thread(between.offer, words, *files), words[:50]
        with by_relay(between.path, config_of(folder, url_to(server))) as url:
            async with connected(url) as database:
                assert await answers(database)
        assert between.process is not None
        assert between.process.returncode is None


@contextlib.asynccontextmanager
async def behind_tls(folder: Path, server: Server) -> AsyncIterator[str]:
    """The server with TLS, which that of the wheel has not: what asks for it in PostgreSQL's own
    words gets it. HOST:PORT; the name in its certificate is `db.example.org`."""
    authority = made("authority", ca=True)
    identity = folder / "tls.pem"
    identity.write_text(made("db.example.org", authority).pem)
    (folder / "ca.pem").write_text(authority.public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = None
        try:
            if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(context)
            from_server, inner = await asyncio.open_connection(server.address, PORT)
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, inner))
                group.create_task(_copy(from_server, writer))
        except* (OSError, EOFError):
            pass  # a client that does not believe us
        finally:
            writer.close()
            if inner is not None:
                inner.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_tls_is_between_the_process_and_the_server(folder: Path, server: Server) -> None:
    async with behind_tls(folder, server) as place:
        address, _, port = place.partition(":")
        wanted = {
            "sslmode": "verify-full", "sslrootcert": str(folder / "ca.pem"),
            "hostaddr": address, "port": port, "user": "colonnade", "dbname": "colonnade",
            "channel_binding": "disable", "connect_timeout": "10",
        }  # fmt: skip
        async with relay(folder, place) as between:
            for name, reason in {
                "db.example.org": "",
                "other.example.org": "does not match",
            }.items():
                config = config_of(folder, make_conninfo("", host=name, **wanted))
                with by_relay(between.path, config) as url:
                    if reason:
                        with pytest.raises(psycopg.OperationalError, match=reason):
                            await psycopg.AsyncConnection.connect(url())
                    else:
                        async with await psycopg.AsyncConnection.connect(url()) as connection:
                            assert connection.pgconn.ssl_in_use
                            await connection.execute("SELECT 1")
