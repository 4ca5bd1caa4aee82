# SPDX-License-Identifier: Apache-2.0
"""A request's line goes from real haproxy into the spool, and from there to real targets.

The agent is real, and so are the object stores; they listen on loopback and are reached from the
amphora's traffic namespace through the test. Places are signed by the controller's own code.
"""

import asyncio
import json
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from colonnade.controller.log_places import object_name, place_of
from colonnade.domain.ids import AmphoraId, ListenerId
from colonnade.domain.listeners import AccessLog, Listener
from colonnade.domain.log_targets import LogTarget, TargetType
from colonnade.domain.vocabulary import ListenerProtocol, LogFormat
from colonnade.drivers.amphora.haproxy.access_log import access_log
from colonnade.protocol import paths
from colonnade.protocol.logs import LogCount, LogFile, LogPlaces, LogQuestion
from colonnade.store.extras.log_targets import Route
from tests.agent_bench import Bench, bundle, server, until
from tests.haproxy_trees import ident, tree
from tests.log_servers import S3, TEMP_URL_KEY, Swift, s3_server, swift_server

LISTENER, BALANCER = ident(11), ident(12)
HERE = "203.0.113.1"
QUICK = {"logs": {"file_age_s": 0.5, "stream_age_s": 0.2, "spool_bytes": 200_000}}
NASTY = b'GET /a"b\\c?x=%00%0a HTTP/1.1\r\nHost: h\r\nUser-Agent: a"\\\t\xff \xe2\x82\xac\r\n'


class Shop:
    """An amphora with one logging listener, and what a controller would know of its target."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.target: LogTarget | None = None
        self.secrets: dict[str, str] = {}
        self.objects: set[str] = set()  # names of what places were given for
        self.counts = LogCount(listener=LISTENER)
        bench.places = self.answer

    def answer(self, question: LogQuestion) -> LogPlaces:
        for count in question.counts:
            self.counts = count
        return LogPlaces(places=tuple(self._place(file) for file in question.files))

    async def serve(self, form: LogFormat = LogFormat.JSON) -> None:
        wish = AccessLog(format=form, target_id=ident(13))
        listener = Listener(
            id=ListenerId(LISTENER),
            protocol=ListenerProtocol.HTTP,
            protocol_port=80,
            access_log=wish,
        )
        view = access_log(listener, tree((), ()), http=True)
        assert view is not None
        lines = [
            f"log {paths.HAPROXY_ACCESS_SOCKET} len {view.bytes_max} format raw local0 info",
            f"log-format {view.line}",
            f"error-log-format {view.error_line}",
            *(f"http-request {capture}" for capture in view.captures),
        ]
        await self.bench.web_server(1)
        await self.bench.put(bundle(1, server(1), extra="\n  ".join(lines)))

        async def up() -> bool:
            return await self.bench.states() == {"s1": "UP"}

        await until(up)

    async def request(self, head: bytes) -> None:
        reader, writer = await self.bench.ask("/")
        await reader.read()
        writer.close()
        asking = self.bench.site.new_socket(socket.AF_INET)
        asking.setblocking(False)
        await asyncio.get_running_loop().sock_connect(asking, ("203.0.113.7", 80))
        reader, writer = await asyncio.open_connection(sock=asking)
        writer.write(head + b"Connection: close\r\n\r\n")
        assert b"200" in await reader.readline()
        writer.close()

    async def reach(self, port: int) -> None:
        """Let what listens on this loopback port be reached at `HERE` from the amphora."""

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
            writer.close()

        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            both = (pump(reader, back), pump(there, writer))
            await asyncio.gather(*both, return_exceptions=True)

        await self.listen(port, join)

    async def listen(self, port: int, answer: Any, tls: ssl.SSLContext | None = None) -> None:
        listening = self.bench.site.new_socket(socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HERE, port))
        listening.listen(50)
        await asyncio.start_server(answer, sock=listening, ssl=tls)

    def _place(self, file: LogFile) -> Any:
        assert self.target is not None
        route = Route(
            listener_id=LISTENER, load_balancer_id=BALANCER, target=self.target, sealed=None
        )
        amphora = AmphoraId(self.bench.amphora_id)
        self.objects.add(object_name(route, amphora, file))
        return place_of(route, self.secrets, amphora, file, datetime.now(UTC))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    bench = Bench(tmp_path)
    try:
        await bench.start(config=QUICK)
        yield Shop(bench)
    finally:
        await bench.end()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with swift_server(tmp_path_factory.mktemp("swift")) as store:
        yield store


async def arrived(shop: Shop, store: S3 | Swift, least: int = 1) -> list[bytes]:
    """All lines in the store, when there are so many. Objects are looked at one after another, so
    a later one may be there when an earlier one was not yet."""

    async def enough() -> list[bytes]:
        found = [line for line in (await lines_in(shop, store)) if line]
        return found if len(found) >= least else []

    found: list[bytes] = await until(enough, 20)
    return found


async def lines_in(shop: Shop, store: S3 | Swift) -> list[bytes]:
    found = [await asyncio.to_thread(store.get, name) for name in sorted(shop.objects)]
    return [line for body in found if body is not None for line in body.split(b"\n")]


async def told(shop: Shop, fact: Any, within_s: float = 20) -> None:
    async def so() -> bool:
        return bool(fact(shop.counts))

    await until(so, within_s)


async def test_lines_arrive_in_a_bucket_though_it_was_out_of_reach_and_the_agent_killed(
    shop: Shop, s3: S3
) -> None:
    shop.target = LogTarget(
        id=ident(13), type=TargetType.S3, url=f"http://{HERE}:{s3.port}",
        bucket="logs", prefix="team-a", region=s3.bucket.region,
    )  # fmt: skip
    shop.secrets = {"access_key": s3.bucket.access_key, "secret_key": "wrong"}
    await shop.serve()
    await shop.request(NASTY)
    await told(shop, lambda counts: "refused" in counts.failure)
    await shop.reach(s3.port)
    await told(shop, lambda counts: "SignatureDoesNotMatch" in counts.failure)
    assert shop.counts.sent == 0
    assert (await shop.bench.get())[0] == 200
    pid, *_ = shop.bench.site.processes("colonnade.agent")  # one that sends may be there too
    shop.bench.site.kill(pid, signal.SIGKILL)
    shop.secrets["secret_key"] = s3.bucket.secret_key
    await shop.bench.ready()
    lines = [json.loads(line) for line in await arrived(shop, s3, 2)]
    asked = next(line for line in lines if line["uri"] != "/")
    assert asked["uri"] == '/a"b\\c?x=%00%0a'
    assert asked["user_agent"] == 'a"\\\t €'
    assert asked["status"] == 200
    assert (asked["listener"], asked["member"]) == ("web", "s1")
    assert all(name.startswith(f"team-a/{BALANCER}/{LISTENER}/20") for name in shop.objects)
    await told(shop, lambda counts: counts.sent >= 3 and not counts.failure)
    assert shop.counts.dropped == 0


async def test_lines_arrive_in_a_container_of_swift(shop: Shop, swift: Swift) -> None:
    shop.target = LogTarget(
        id=ident(13), type=TargetType.SWIFT, bucket="logs",
        url=f"http://{HERE}:{swift.port}/v1/AUTH_logs",
    )  # fmt: skip
    shop.secrets = {"temp_url_key": "wrong"}
    await shop.reach(swift.port)
    await shop.serve(LogFormat.COMBINED)
    await shop.request(NASTY)
    await told(shop, lambda counts: "401" in counts.failure)
    assert await lines_in(shop, swift) == []
    shop.secrets = {"temp_url_key": TEMP_URL_KEY}
    lines = await arrived(shop, swift)
    assert any(b'"GET /a\\"b\\\\c?x=%00%0a HTTP/1.1" 200 ' in line for line in lines)


async def test_lines_arrive_at_a_syslog_server_over_tls(shop: Shop) -> None:
    heard = bytearray()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            heard.extend(part)
        writer.close()

    certificate, pem = own_certificate(HERE)
    (shop.bench.folder / "syslog.pem").write_text(pem)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(shop.bench.folder / "syslog.pem")
    await shop.listen(6514, hear, tls)
    target = LogTarget(id=ident(13), type=TargetType.SYSLOG, url=f"tls://{HERE}")
    shop.target = target
    await shop.serve()
    await shop.request(NASTY)
    await told(shop, lambda counts: "CERTIFICATE_VERIFY_FAILED" in counts.failure)
    assert not heard, "a server that is not trusted must hear nothing"
    shop.target = replace(target, ca_certificate=certificate)
    await told(shop, lambda counts: counts.sent >= 2)
    messages = list(octet_counted(bytes(heard)))
    head, _, line = messages[0].partition(b"] ")
    assert head.startswith(b"<134>1 20")
    assert f" {shop.bench.amphora_id} colonnade {LISTENER} access [colonnade@".encode() in head
    assert json.loads(line)["uri"] == "/"


def octet_counted(text: bytes) -> Iterator[bytes]:
    while text:
        size, _, rest = text.partition(b" ")
        yield rest[: int(size)]
        text = rest[int(size) :]


def own_certificate(address: str) -> tuple[str, str]:
    """A certificate for an address, signed by itself; and with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "syslog")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM).decode()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return pem, pem + secret


async def test_lines_arrive_at_a_collector(shop: Shop) -> None:
    heard: list[tuple[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()  # aiohttp has unpacked it
        heard.append((request.headers["X-Key"], json.loads(body)))
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/v1/logs", take)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = shop.bench.site.new_socket(socket.AF_INET)
    listening.bind((HERE, 4318))
    listening.listen(10)
    await web.SockSite(runner, listening).start()
    shop.target = LogTarget(id=ident(13), type=TargetType.OTLP, url=f"http://{HERE}:4318/v1/logs")
    shop.secrets = {"X-Key": "k"}
    await shop.serve()
    await shop.request(NASTY)
    await told(shop, lambda counts: counts.sent >= 2)
    key, body = heard[0]
    records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    said = json.loads(records[0]["body"]["stringValue"])
    assert (key, said["uri"]) == ("k", "/")
    assert int(records[0]["timeUnixNano"]) == int(said["time"] * 1000) * 10**6
    await runner.cleanup()
