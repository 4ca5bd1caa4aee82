# SPDX-License-Identifier: Apache-2.0
"""An agent in its site, with everything around it that a test wants to see or touch.

Real agent, real haproxy, real sockets. The controllers' end of the amphora-facing API is served
from here, with whatever the test says is wanted.
"""

import asyncio
import json
import secrets
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from colonnade.domain.errors import Unreachable
from colonnade.drivers.amphora.haproxy.client import AgentClient
from colonnade.protocol import paths
from colonnade.protocol.bundle import Backend, Bundle, Interface, Server
from colonnade.protocol.datagram import Datagram, Kind, decode
from colonnade.protocol.logs import LogPlaces, LogQuestion
from colonnade.protocol.messages import Peers, Renewal, Report
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.haproxy_binary import find_haproxy
from colonnade.runtime.mtls import server_context
from tests.agent_site import AMPHORA_IP, CONTROL_IP, LB_LENGTH, VIP, VIP6, VIP_MAC, Site

CONFIG = f"""global
  stats socket {paths.HAPROXY_SOCKET} mode 600 level admin expose-fd listeners
  server-state-file {paths.SERVER_STATE}
  log {paths.HAPROXY_LOG_SOCKET} local0 notice
  hard-stop-after 30s
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 1s
  retries 3
  option redispatch 1
  load-server-state-from-file global
  log global
  option log-health-checks
frontend web
  bind {VIP}:80
  bind {VIP6}:80
  {{extra}}
  default_backend pool
backend pool
  balance roundrobin
"""
CHECKED = "check inter 200ms rise 1 fall 2"
WEB = [f"203.0.113.{number}:8080" for number in (11, 12, 13)]


HEAD = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"


def server(number: int, **changes: Any) -> Server:
    fields = {"name": f"s{number}", "address": WEB[number - 1], "options": CHECKED} | changes
    return Server(**fields)


def bundle(generation: int, *servers: Server, extra: str = "") -> Bundle:
    text = CONFIG.format(extra=extra)
    lines = [
        f"  server {s.name} {s.address} weight {s.weight} {s.options}"
        + ("" if s.enabled else " disabled")
        for s in servers
    ]
    interface = Interface(
        mac=VIP_MAC,
        addresses=(f"{VIP}/24", f"{VIP6}/64"),
        gateways=("203.0.113.1", "2001:db8:1::1"),
        is_default=True,
    )
    return Bundle(
        generation=generation,
        config=text + "\n".join(lines) + "\n",
        frame=text,
        backends=(Backend(name="pool", servers=servers),),
        interfaces=(interface,),
    )


class Bench:
    def __init__(self, folder: Path) -> None:
        authority = Authority.new()
        self.ca = Authority(authority)
        self.folder = folder
        self.site = Site()
        self.amphora_id = str(uuid.uuid4())
        self.key = secrets.token_bytes(32)
        self.wanted: Bundle | None = None  # what a controller would answer
        self.reports: list[Report] = []
        self.heard: list[Datagram] = []
        # What a controller would answer of access logs.
        self.places: Callable[[LogQuestion], LogPlaces] = lambda _question: LogPlaces()
        self.asked = 0
        self.renew = False  # whether a controller has a new identity for it
        self.renewals = 0
        (folder / "ca.pem").write_text(authority.certificate)
        self.client = self.client_named("controller")
        self._open: list[Callable[[], Awaitable[None]]] = []

    def client_named(self, name: str) -> AgentClient:
        identity = self.folder / f"{name}.pem"
        identity.write_text(self.ca.issue(name, days=1).pem)
        return AgentClient(identity, self.folder / "ca.pem", new_socket=self.site.factory)

    async def start(
        self,
        *,
        spare_s: float = 30.0,
        plugged: bool = True,
        mute: bool = False,
        config: dict[str, Any] | None = None,
        kept: str = "",
    ) -> None:
        """`config`: what differs from a usual amphora's. `mute`: its log is stuck. `kept`: the
        bundle that it served before a boot."""
        config = {
            "amphora_id": self.amphora_id,
            "lb_network_ip": AMPHORA_IP,
            "lb_prefix_length": LB_LENGTH,
            "controllers": [f"{CONTROL_IP}:9442"],
            "receivers": [f"{CONTROL_IP}:5555"],
            "heartbeat_s": 0.2,
            "heartbeat_spare_s": spare_s,
            "haproxy": find_haproxy(),
            **(config or {}),
        }
        drive = {
            "agent.json": json.dumps(config),
            "agent.pem": self.ca.issue(self.amphora_id, days=1).pem,
            "ca.pem": self.ca.certificate_pem,
            "heartbeat.key": self.key.hex(),
        }
        files = {f"config/{name}": text for name, text in drive.items()}
        files |= {paths.KEPT: kept} if kept else {}
        await asyncio.to_thread(self.site.start_amphora, files, plugged=plugged, mute=mute)
        await self._receive()
        await self._serve_controllers()
        await self.ready()

    async def ready(self) -> None:
        async def answers() -> bool:
            try:
                await self.client.info(AMPHORA_IP, self.amphora_id)
            except Unreachable:
                return False
            return True

        await until(answers, 20)

    async def put(self, wanted: Bundle) -> str:
        return (await self.client.put_bundle(AMPHORA_IP, self.amphora_id, wanted)).means

    async def states(self) -> dict[str, str]:
        report = await self.client.status(AMPHORA_IP, self.amphora_id)
        return {one.name: one.state for one in report.servers}

    def beats(self, kind: Kind) -> list[Datagram]:
        return [one for one in self.heard if one.kind is kind]

    async def web_server(self, number: int) -> asyncio.Server:
        """A web server that says its number; `/slow` takes a second and a half, `/held`
        as long as the client stays."""
        host, _, port = WEB[number - 1].partition(":")
        listening = self.site.new_socket(socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, int(port)))
        listening.listen(200)
        serving = await asyncio.start_server(_answering(str(number)), sock=listening)

        async def end() -> None:
            serving.close()

        self._open.append(end)
        return serving

    async def ask(
        self, path: str, *, vip: str = VIP, keep: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A request through the VIP that has been sent. `keep`: others may follow it."""
        asking = self.site.new_socket(socket.AF_INET6 if ":" in vip else socket.AF_INET)
        asking.setblocking(False)
        await asyncio.get_running_loop().sock_connect(asking, (vip, 80))
        reader, writer = await asyncio.open_connection(sock=asking)
        after = "" if keep else "Connection: close\r\n"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\n{after}\r\n".encode())
        return reader, writer

    async def get(self, path: str = "/", *, vip: str = VIP) -> tuple[int, str]:
        """One request through the VIP on a connection of its own: status and body."""
        async with asyncio.timeout(10):
            reader, writer = await self.ask(path, vip=vip)
            answer = await reader.read()
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    @asynccontextmanager
    async def load(self) -> AsyncIterator[list[str]]:
        """Requests without a pause while inside; a failed one is in the list in words."""
        answers: list[str] = []
        over = asyncio.Event()

        async def ask() -> None:
            while not over.is_set():
                try:
                    status, body = await self.get()
                    answers.append(body if status == 200 else f"failed: {status}")
                except (OSError, TimeoutError, IndexError) as error:
                    answers.append(f"failed: {error!r}")

        tasks = [asyncio.create_task(ask()) for _ in range(4)]
        try:
            yield answers
        finally:
            over.set()
            await asyncio.gather(*tasks)

    async def end(self) -> None:
        for close in reversed(self._open):
            await close()
        await self.client.close()
        await asyncio.to_thread(self.site.end)

    async def _receive(self) -> None:
        listening = self.site.new_socket(socket.AF_INET, socket.SOCK_DGRAM)
        listening.bind((CONTROL_IP, 5555))
        listening.setblocking(False)
        bench = self

        class Receiver(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                bench.heard.append(decode(data, lambda _amphora: bench.key))

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Receiver, sock=listening
        )

        async def end() -> None:
            transport.close()

        self._open.append(end)

    async def _serve_controllers(self) -> None:
        async def give(request: web.Request) -> web.Response:
            self.asked += 1
            known = int(request.query["generation"])
            if self.wanted is None or self.wanted.generation <= known:
                return web.Response(status=204)
            return web.Response(body=msgspec.json.encode(self.wanted))

        async def peers(_request: web.Request) -> web.Response:
            known = Peers(
                controllers=(f"{CONTROL_IP}:9442",),
                receivers=(f"{CONTROL_IP}:5555",),
                renew=self.renew,
            )
            return web.Response(body=msgspec.json.encode(known))

        async def identity(_request: web.Request) -> web.Response:
            self.renewals += 1
            fresh = self.ca.issue(self.amphora_id, days=1).pem
            found = Renewal(identity=fresh, authorities=self.ca.trusted_pem)
            self.renew = False
            return web.Response(body=msgspec.json.encode(found))

        async def report(request: web.Request) -> web.Response:
            self.reports.append(msgspec.json.decode(await request.read(), type=Report))
            return web.Response(status=204)

        async def log_places(request: web.Request) -> web.Response:
            question = msgspec.json.decode(await request.read(), type=LogQuestion)
            return web.Response(body=msgspec.json.encode(self.places(question)))

        app = web.Application()
        app.add_routes(
            [
                web.get("/bundle", give),
                web.get("/peers", peers),
                web.post("/identity", identity),
                web.post("/report", report),
                web.post("/log-places", log_places),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        listening = self.site.new_socket(socket.AF_INET)
        listening.bind((CONTROL_IP, 9442))
        listening.listen(10)
        context = server_context(self.folder / "controller.pem", self.folder / "ca.pem")
        await web.SockSite(runner, listening, ssl_context=context).start()
        self._open.append(runner.cleanup)


async def until(fact: Callable[[], Awaitable[Any]], within_s: float = 10.0) -> Any:
    """Wait for a level; the value when it is true."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        value = await fact()
        if value:
            return value
        assert asyncio.get_running_loop().time() < deadline, f"not so within {within_s} s"
        await asyncio.sleep(0.02)


async def until_heard(
    bench: Bench, fact: Callable[[Datagram], bool], within_s: float = 10.0
) -> Datagram:
    """The first datagram that fits."""

    async def found() -> Sequence[Datagram]:
        return [one for one in bench.heard if fact(one)]

    fitting: Sequence[Datagram] = await until(found, within_s)
    return fitting[0]


def _answering(
    name: str,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            slow = b"/slow" in request
            writer.write(HEAD + name.encode())
            await writer.drain()
            if b"/held" in request:
                await reader.read()  # until the other end goes
            if slow:
                await asyncio.sleep(1.5)
                writer.write(b" finished")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # a health check that only connects
        finally:
            writer.close()

    return answer
