# SPDX-License-Identifier: Apache-2.0
"""An amphora that ends and begins TLS, with clients and members that speak it for real."""

import asyncio
import json
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509

from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import AmphoraId, ProjectId
from colonnade.domain.lifecycle import State
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Pool
from colonnade.drivers.amphora.haproxy.driver import HaproxyDriver
from colonnade.protocol.bundle import Interface
from colonnade.runtime.config import Config
from tests.agent_bench import Bench
from tests.agent_site import AMPHORA_IP, VIP, VIP_MAC
from tests.certificates import Made
from tests.haproxy_trees import cluster, tree

INTERFACE = Interface(
    mac=VIP_MAC, addresses=(f"{VIP}/24",), gateways=("203.0.113.1",), is_default=True
)
MEMBER = "203.0.113.11"


class Answer(msgspec.Struct, frozen=True):
    """What a client saw. `shown` is the subject of the certificate."""

    shown: str
    protocol: str
    alpn: str | None
    status: int = 0
    headers: dict[str, str] = {}
    body: str = ""


class TlsBench:
    """`secrets` is what references lead to; change it and put the wish again."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.folder = folder
        self.secrets: dict[str, str] = {}
        self.generation = 0
        config = Config(state_dir=folder, run_dir=folder, database_url="")
        self.driver = HaproxyDriver(config, self.bench.client, secrets=self)
        self._servers: list[asyncio.Server] = []

    async def fetch(self, project: ProjectId, references: Collection[str]) -> Mapping[str, str]:
        assert project == "p"
        return {reference: self.secrets[reference] for reference in references}

    async def serve(self, listener: Listener, *pools: Pool) -> str:
        """Put a load balancer with these; by what means it came to be served."""
        return await self.put(cluster(tree((listener,), pools, vip=VIP)))

    async def put(self, wanted: Cluster) -> str:
        self.generation += 1
        wanted = msgspec.structs.replace(wanted, generation=self.generation)
        bundle = await self.driver.bundle(wanted, (INTERFACE,))
        return await self.bench.put(bundle)

    def amphora(self) -> Amphora:
        return Amphora(
            id=AmphoraId(self.bench.amphora_id),
            state=State.SERVING,
            flavor="default",
            lb_network_ip=AMPHORA_IP,
        )

    async def member(self, port: int = 8080, context: ssl.SSLContext | None = None) -> None:
        """A web server that answers with the head of the request and the client's subject."""
        listening = self.bench.site.new_socket(socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((MEMBER, port))
        listening.listen(50)
        self._servers.append(await asyncio.start_server(_answer, sock=listening, ssl=context))

    async def end(self) -> None:
        for server in self._servers:
            server.close()
        await self.bench.end()

    def client(
        self,
        trusts: str,
        *,
        own: Made | None = None,
        alpn: tuple[str, ...] = (),
        versions: tuple[ssl.TLSVersion, ssl.TLSVersion] | None = None,
    ) -> ssl.SSLContext:
        """A client that trusts this CA. `versions`: the lowest and the highest it speaks."""
        context = ssl.create_default_context(cadata=trusts)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if versions is not None:
            context.minimum_version, context.maximum_version = versions
        if own is not None:
            with self.written(own.pem) as file:
                context.load_cert_chain(file)
        return context

    def server(self, own: Made, *, asks: str | None = None) -> ssl.SSLContext:
        """A member's side. `asks`: the CA of the client certificates that it wants to see."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with self.written(own.pem) as file:
            context.load_cert_chain(file)
        if asks is not None:
            context.load_verify_locations(cadata=asks)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    @contextmanager
    def written(self, pem: str) -> Iterator[Path]:
        file = self.folder / "loaded.pem"
        file.write_text(pem)
        yield file
        file.unlink()

    async def connect(
        self, context: ssl.SSLContext, name: str, port: int = 443
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises ssl.SSLError or ConnectionError when one side does not like the other."""
        asking = self.bench.site.new_socket(socket.AF_INET)
        asking.setblocking(False)
        await asyncio.get_running_loop().sock_connect(asking, (VIP, port))
        return await asyncio.open_connection(sock=asking, ssl=context, server_hostname=name)

    async def get(
        self,
        context: ssl.SSLContext,
        name: str = "www.example.org",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request over a connection of its own."""
        async with asyncio.timeout(10):
            reader, writer = await self.connect(context, name)
            about = facts(writer)
            if about.alpn == "h2":
                writer.close()
                return about
            more = "".join(f"{word}: {value}\r\n" for word, value in (headers or {}).items())
            request = f"GET / HTTP/1.1\r\nHost: {name}\r\n{more}Connection: close\r\n\r\n"
            writer.write(request.encode())
            answer = await reader.read()
            writer.close()
        if not answer:
            raise ConnectionResetError("hung up after the handshake")
        return msgspec.structs.replace(about, **read(answer))


def facts(writer: asyncio.StreamWriter) -> Answer:
    channel = writer.get_extra_info("ssl_object")
    certificate = x509.load_der_x509_certificate(channel.getpeercert(True))
    return Answer(
        shown=certificate.subject.rfc4514_string(),
        protocol=channel.version(),
        alpn=channel.selected_alpn_protocol(),
    )


def read(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return {"status": int(first.split()[1]), "headers": headers, "body": body.decode()}


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        channel = writer.get_extra_info("ssl_object")
        own = channel.getpeercert(True) if channel is not None else None
        if channel is not None:
            seen["@tls"] = channel.version()
        if own:
            seen["@client"] = x509.load_der_x509_certificate(own).subject.rfc4514_string()
        body = json.dumps({word.lower(): value for word, value in seen.items()}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # a check that only connects
    finally:
        writer.close()
