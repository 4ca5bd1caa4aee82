# SPDX-License-Identifier: Apache-2.0
"""Try an image: boot it, hear its first heartbeat, have it serve, and ask it as a client does.

The trial is controller, receiver, client and member at once, with an authority of its own. It
needs no KVM and no root, and sends nothing beyond loopback.
"""

import asyncio
import contextlib
import secrets
import socket
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from colonnade.cli.image.machine import (
    LB_GUEST,
    LB_HOST,
    VIP,
    VIP_HOST,
    VIP_MAC,
    VIP_PORT,
    Machine,
)
from colonnade.domain.errors import Broken, Unavailable
from colonnade.drivers.amphora.haproxy.client import AgentClient
from colonnade.protocol import birth, paths
from colonnade.protocol.bundle import Bundle, Interface
from colonnade.protocol.datagram import Kind, Rejected, decode
from colonnade.protocol.messages import AgentConfig, Info, Peers
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.mtls import server_context

STEP_S_MAX: Final = 900.0
RETRY_S: Final = 0.25
T = TypeVar("T")
LOOPBACK: Final = "127.0.0.1"
SERVING: Final = f"""\
global
  stats socket {paths.HAPROXY_SOCKET} mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 5s
frontend trial
  bind {VIP}:80
  default_backend member
backend member
  server member {VIP_HOST}:{{port}}
"""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds since the machine was switched on."""

    heartbeat_s: float
    serving_s: float
    agent: str
    haproxy: str


async def tried(image: Path, *, kvm: bool = False, within_s: float = STEP_S_MAX) -> Outcome:
    """`within_s`: for each step. Raises Broken with the guest's last words."""
    with tempfile.TemporaryDirectory(prefix="colonnade-trial-") as name:
        machine = Machine(image.absolute(), Path(name), kvm=kvm)
        async with _ControlPlane.beside(Path(name)) as plane:
            try:
                return await _steps(machine, plane, within_s)
            except (TimeoutError, aiohttp.ClientError, Unavailable) as error:
                reason = str(error) or type(error).__name__
                raise Broken(f"{reason}\n{machine.last_words()}") from error
            finally:
                machine.end()


async def _steps(machine: Machine, plane: "_ControlPlane", within_s: float) -> Outcome:
    began = time.monotonic()
    machine.start(plane.born())
    await _until(plane.heard.is_set, machine, within_s, "no heartbeat")
    heartbeat_s = time.monotonic() - began
    async with asyncio.timeout(within_s):
        about = await _patiently(machine, lambda at: plane.client.info(at, plane.amphora_id))
        await machine.plug()
        wanted = plane.bundle()
        await _patiently(machine, lambda at: plane.client.put_bundle(at, plane.amphora_id, wanted))
        await _answered(machine, plane)
    return _outcome(about, heartbeat_s, time.monotonic() - began)


async def _patiently(machine: Machine, ask: Callable[[str], Awaitable[T]]) -> T:
    """The answer of an agent that may be slow."""
    while True:
        machine.check()
        try:
            return await ask(machine.address)
        except Unavailable:
            await asyncio.sleep(RETRY_S)


async def _answered(machine: Machine, plane: "_ControlPlane") -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{machine.address}:{VIP_PORT}/") as answer,
    ):
        text = await answer.text()
        if (answer.status, text) != (200, plane.token):
            raise Broken(f"the VIP answers {answer.status} {text[:200]!r}, and not its member's")


def _outcome(about: Info, heartbeat_s: float, serving_s: float) -> Outcome:
    return Outcome(
        heartbeat_s=round(heartbeat_s, 1),
        serving_s=round(serving_s, 1),
        agent=about.agent_version,
        haproxy=about.haproxy_version,
    )


async def _until(fact: Any, machine: Machine, within_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + within_s
    while not fact():
        machine.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} within {within_s:g} s")
        await asyncio.sleep(RETRY_S)


class _ControlPlane(asyncio.DatagramProtocol):
    """All that the guest meets."""

    def __init__(self, folder: Path) -> None:
        self.amphora_id = str(uuid.uuid4())
        self.token = secrets.token_hex(8)
        self.heard = asyncio.Event()
        self._key = secrets.token_bytes(32)
        self._authority = Authority(Authority.new())
        self._identity, self._ca = folder / "controller.pem", folder / "ca.pem"
        self._identity.write_text(self._authority.issue("controller", days=1).pem)
        self._ca.write_text(self._authority.certificate_pem)
        self.client = AgentClient(self._identity, self._ca)
        self._ports = {name: 0 for name in ("controller", "receiver", "member")}

    @classmethod
    @contextlib.asynccontextmanager
    async def beside(cls, folder: Path) -> AsyncIterator["_ControlPlane"]:
        plane = cls(folder)
        context = server_context(plane._identity, plane._ca)
        routes = [("/peers", plane._peers), ("/bundle", plane._nothing)]
        controller = await plane._serve("controller", routes, context)
        member = await plane._serve("member", [("/", plane._member)])
        loop = asyncio.get_running_loop()
        receiver, _ = await loop.create_datagram_endpoint(lambda: plane, (LOOPBACK, 0))
        plane._ports["receiver"] = receiver.get_extra_info("sockname")[1]
        try:
            yield plane
        finally:
            receiver.close()
            await plane.client.close()
            await controller.cleanup()
            await member.cleanup()

    def born(self) -> dict[str, str]:
        config = AgentConfig(
            amphora_id=self.amphora_id,
            lb_network_ip=LB_GUEST,
            lb_prefix_length=24,
            lb_gateway=LB_HOST,
            controllers=(f"{LB_HOST}:{self._ports['controller']}",),
            receivers=(f"{LB_HOST}:{self._ports['receiver']}",),
        )
        return {
            birth.AGENT: msgspec.json.encode(config).decode(),
            birth.IDENTITY: self._authority.issue(self.amphora_id, days=1).pem,
            birth.AUTHORITIES: self._authority.certificate_pem,
            birth.HEARTBEAT_KEY: self._key.hex(),
        }

    def bundle(self) -> Bundle:
        text = SERVING.format(port=self._ports["member"])
        link = Interface(mac=VIP_MAC, addresses=(f"{VIP}/24",))
        return Bundle(generation=1, config=text, frame=text, interfaces=(link,))

    def datagram_received(self, data: bytes, _address: Any) -> None:
        with contextlib.suppress(Rejected):
            if decode(data, lambda _: self._key).kind is Kind.HEARTBEAT:
                self.heard.set()

    async def _serve(self, name: str, routes: Any, context: Any = None) -> web.AppRunner:
        app = web.Application()
        app.add_routes([web.get(path, answer) for path, answer in routes])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        door = socket.create_server((LOOPBACK, 0))
        self._ports[name] = door.getsockname()[1]
        await web.SockSite(runner, door, ssl_context=context).start()
        return runner

    async def _peers(self, _request: web.Request) -> web.Response:
        at = {name: (f"{LB_HOST}:{port}",) for name, port in self._ports.items()}
        known = Peers(controllers=at["controller"], receivers=at["receiver"])
        return web.Response(body=msgspec.json.encode(known))

    async def _nothing(self, _request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _member(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.token)
