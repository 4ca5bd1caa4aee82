# SPDX-License-Identifier: Apache-2.0
"""Each call of the network daemon, whatever becomes of its answer and whoever asks it: versions,
lost answers, and the same question twice at once."""

import asyncio
import inspect
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from colonnade.domain.errors import ColonnadeError, Invalid, Unavailable, Unreachable
from colonnade.domain.ids import AmphoraId, PortId, SubnetId, derived_id
from colonnade.drivers.compute.namespaces.client import ComputeClient
from colonnade.drivers.compute.protocol import Boot
from colonnade.drivers.network.namespaces.address_book import (
    LB_NETWORK,
    PUBLIC,
    network_id,
    subnet_id,
)
from colonnade.drivers.network.namespaces.client import LabClient, NetworkClient, RouterClient
from colonnade.drivers.network.namespaces.wire import (
    VERSION,
    VERSION_HEADER,
    Connection,
    HostWish,
    write_error,
)
from colonnade.drivers.network.protocol import NextHop, PortWish, Route
from colonnade.runtime.mtls import server_context
from tests.lab_site import Site, site, until, why_impossible

PUBLIC_SUBNET = subnet_id(PUBLIC.name, PUBLIC.cidrs[0])
LB_SUBNET = subnet_id(LB_NETWORK.name, LB_NETWORK.cidrs[0])
AMPHORA = AmphoraId(derived_id("calls", "amphora"))
LB_PORT, VIP = (PortId(derived_id("calls", name)) for name in ("lb", "vip"))
LB_WISH = PortWish(id=LB_PORT, owner=f"amphora:{AMPHORA}", subnet_id=LB_SUBNET)
VIP_WISH = PortWish(id=VIP, owner="lb:calls", subnet_id=PUBLIC_SUBNET, address="203.0.113.77")
BOOT = Boot(amphora_id=AMPHORA, lb_port_id=LB_PORT, config_drive={"a": "b"})
HOST = HostWish(name="calls", network="private")


@pytest.fixture(scope="module")
def lab() -> Iterator[Site]:
    if reason := why_impossible():
        pytest.skip(reason)
    with site() as made:
        yield made


class Clients:
    """All that there are to call, as one caller."""

    def __init__(self, *credentials: Any) -> None:
        self.networks = NetworkClient(*credentials)
        self.compute = ComputeClient(*credentials)
        self.router = RouterClient(*credentials)
        self.bench = LabClient(*credentials)

    async def close(self) -> None:
        for one in (self.networks, self.compute, self.router, self.bench):
            await one.close()


class Thief:
    """Stands before the daemon, passes calls on, and while `steals` keeps every answer."""

    def __init__(self, daemon: Connection) -> None:
        self.steals = False
        self.stolen = 0
        self.asked = asyncio.Event()  # something was passed on
        self._daemon = daemon

    async def pass_on(self, request: web.Request) -> web.Response:
        body: Any = msgspec.Raw(await request.read()) if request.can_read_body else None
        self.asked.set()
        status = 200
        try:
            path = request.rel_url.raw_path
            answer: bytes = bytes(await self._daemon.call(request.method, path, msgspec.Raw, body))
        except ColonnadeError as error:
            status, answer = write_error(error)
        if self.steals:
            self.stolen += 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=status, body=answer)


@asynccontextmanager
async def thief(lab: Site) -> AsyncIterator[tuple[Thief, Clients]]:
    """The thief, and clients that it steals from."""
    pki = lab.config.pki_dir
    daemon = Connection(*lab.credentials("supervisor"))
    made = Thief(daemon)
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", made.pass_on)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    context = server_context(pki / "network.pem", pki / "ca.pem")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    clients = Clients(url, pki / "supervisor.pem", pki / "ca.pem")
    try:
        yield made, clients
    finally:
        await clients.close()
        await runner.cleanup()
        await daemon.close()


def _route(hop: str) -> Route:
    return Route(
        destination="192.0.2.10/32",
        network_id=network_id(PUBLIC.name),
        next_hops=(NextHop(hop),),
        owner="lb:calls",
    )


async def _answered(call: Awaitable[Any]) -> str:
    """What is refused the same way each time: the lab has no addresses of a machine."""
    try:
        await call
    except Invalid as error:
        return error.public
    return ""


Call = Callable[[Clients], Awaitable[Any]]
# In an order in which each has something to do. True: it changes something.
CALLS: tuple[tuple[str, bool, Call], ...] = (
    ("networks", False, lambda c: c.networks.networks()),
    ("subnets", False, lambda c: c.networks.subnets()),
    ("lb_subnet", False, lambda c: c.networks.lb_subnet()),
    ("free_addresses", False, lambda c: c.networks.free_addresses(SubnetId(PUBLIC_SUBNET))),
    ("taken", False, lambda c: c.networks.taken(SubnetId(PUBLIC_SUBNET), "203.0.113.77")),
    ("add_network", True, lambda c: c.bench.add_network("calls", "10.77.0.0/24")),
    ("create_port", True, lambda c: c.networks.create_port(LB_WISH)),
    ("create_port", True, lambda c: c.networks.create_port(VIP_WISH)),
    ("ports", False, lambda c: c.networks.ports()),
    ("port", False, lambda c: c.networks.port(VIP)),
    ("create", True, lambda c: c.compute.create(BOOT)),
    ("instance", False, lambda c: c.compute.instance(AMPHORA)),
    ("instances", False, lambda c: c.compute.instances()),
    ("plug", True, lambda c: c.networks.plug(VIP, AMPHORA)),
    ("unplug", True, lambda c: c.networks.unplug(VIP)),
    ("set_route", True, lambda c: c.router.set_route(_route("203.0.113.77"))),
    ("routes", False, lambda c: c.router.routes()),
    ("route", False, lambda c: c.router.route("192.0.2.10/32")),
    ("delete_route", True, lambda c: c.router.delete_route("192.0.2.10/32")),
    ("set_route", True, lambda c: c.router.set_route(_route("203.0.113.77"))),
    ("set_forwards", False, lambda c: _answered(c.networks.set_forwards(VIP, []))),
    ("plug", True, lambda c: c.networks.plug(VIP, AMPHORA)),
    ("delete_port", True, lambda c: c.networks.delete_port(VIP)),
    ("destroy", True, lambda c: c.compute.destroy(AMPHORA)),
    ("delete_port", True, lambda c: c.networks.delete_port(LB_PORT)),
    ("add_host", True, lambda c: c.bench.add_host(HOST)),
    ("hosts", False, lambda c: c.bench.hosts()),
    ("remove_host", True, lambda c: c.bench.remove_host("calls")),
)


def test_every_call_is_among_those_that_are_tried() -> None:
    named = {
        name
        for kind in (NetworkClient, ComputeClient, RouterClient, LabClient)
        for name, _ in inspect.getmembers(kind, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert named - {"close"} == {name for name, _, _ in CALLS}


async def found(lab: Site, clients: Clients) -> dict[str, Any]:
    """All that calls can change, seen from the daemon and from the kernel."""
    records = sorted((lab.lab.folder / "machines").glob("*"))
    return {
        "networks": await clients.networks.networks(),
        "routes": await clients.router.routes(),
        "kernel's routes": lab.run("cat", "/proc/net/route", inside="router"),
        "ports": sorted(await clients.networks.ports(), key=lambda port: port.id),
        "instances": await clients.compute.instances(),
        "hosts": await clients.bench.hosts(),
        "machines": {path.name: path.read_bytes() for path in records},
        "links": sorted(line.split(":")[0] for line in lab.run(*LINKS).splitlines()),
    }


LINKS = ("sh", "-c", "cut -d: -f1 -s /proc/net/dev")


def processes(lab: Site) -> list[str]:
    """Of the lab, without the one that looks."""
    said = lab.run("sh", "-c", "for p in /proc/[0-9]*; do readlink $p/ns/pid || :; done 2>&1")
    return sorted(said.split())


async def test_any_answer_may_be_lost_and_the_call_repeated(lab: Site) -> None:
    sure = Clients(*lab.credentials("supervisor"))
    async with thief(lab) as (one, clients):
        for name, is_change, call in CALLS:
            before = await found(lab, sure)
            one.steals, one.stolen = True, 0
            with pytest.raises(Unreachable):
                await call(clients)
            one.steals = False
            assert one.stolen > 0, name
            after = await found(lab, sure)
            assert (after != before) == is_change, f"{name} was not done, or did too much"
            answer = await call(clients)
            assert await found(lab, sure) == after, f"{name}, repeated, did something more"
            assert await call(sure) == answer
    await sure.close()


async def test_a_call_is_asked_again_while_it_is_under_way(lab: Site) -> None:
    """Its caller hangs up and asks again at once, as one does that was started anew."""
    sure = Clients(*lab.credentials("supervisor"))
    at_first = processes(lab)
    async with thief(lab) as (one, clients):
        for name, is_change, call in CALLS:
            if not is_change:
                continue
            one.asked.clear()
            hanging = asyncio.ensure_future(call(clients))
            await one.asked.wait()
            hanging.cancel()
            await asyncio.wait([hanging])
            answers = await asyncio.gather(call(clients), call(sure))
            assert answers[0] == answers[1], name
            once = await found(lab, sure)
            assert await call(sure) == answers[0]
            assert await found(lab, sure) == once, name
    until(lambda: processes(lab) == at_first, 30, "nothing more to run than before")
    await sure.close()


def raw(lab: Site, office: str, text: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of the answer to a request as it is on the wire."""
    pki = lab.config.pki_dir
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    context.load_cert_chain(str(pki / f"{office}.pem"))
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(10)
        plain.connect(str(lab.config.run_dir / "network.sock"))
        with context.wrap_socket(plain, server_hostname="network") as wire:
            wire.sendall(text.encode())
            said = b""
            while chunk := wire.recv(65536):
                said += chunk
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, json.loads(body) if body else None


def request(method: str, path: str, body: str = "", version: str | None = None) -> str:
    said = f"{VERSION_HEADER}: {version}\r\n" if version is not None else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: network\r\nConnection: close\r\n{said}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )


@pytest.mark.parametrize("said", [None, "1.0", str(VERSION), "1.99"])
def test_every_minor_of_our_major_is_served(lab: Site, said: str | None) -> None:
    status, headers, body = raw(lab, "controller", request("GET", "/v1/lb-subnet", "", said))
    assert (status, body["id"]) == (200, LB_SUBNET)
    assert headers[VERSION_HEADER] == str(VERSION)


@pytest.mark.parametrize("said", ["2.0", "0.9", "x", "1", "1.-1", "1.0.0", "9" * 400])
def test_another_major_is_refused_in_words_and_changes_nothing(lab: Site, said: str) -> None:
    wish = msgspec.json.encode(VIP_WISH).decode()
    status, headers, body = raw(lab, "controller", request("PUT", f"/v1/ports/{VIP}", wish, said))
    assert (status, body["kind"]) == (503, "Unavailable")
    assert "releases too far apart" in body["public"]
    assert said[:40] in body["detail"]
    assert headers[VERSION_HEADER] == str(VERSION)
    assert raw(lab, "controller", request("GET", f"/v1/ports/{VIP}"))[0] == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/moons"), ("PATCH", "/v1/ports")])
def test_a_newer_call_is_not_mistaken_for_a_thing_that_is_not_there(
    lab: Site, method: str, path: str
) -> None:
    status, _, body = raw(lab, "controller", request(method, path, "", "1.99"))
    assert (status, body["kind"]) == (501, "Unavailable")
    assert body["public"] == "the network daemon does not know this call"
    assert "1.99" in body["detail"]


@pytest.mark.parametrize(("said", "is_understood"), [("1.99", True), ("2.0", False), (None, True)])
async def test_a_client_understands_a_daemon_of_its_major_alone(
    lab: Site, said: str | None, is_understood: bool
) -> None:
    async def answer(_: web.Request) -> web.Response:
        headers = {} if said is None else {VERSION_HEADER: said}
        return web.json_response([], headers=headers)

    pki = lab.config.pki_dir
    application = web.Application()
    application.router.add_get("/v1/networks", answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    context = server_context(pki / "network.pem", pki / "ca.pem")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    client = NetworkClient(url, pki / "api.pem", pki / "ca.pem")
    try:
        if is_understood:
            assert await client.networks() == []
        else:
            with pytest.raises(Unavailable, match="too far apart"):
                await client.networks()
    finally:
        await client.close()
        await runner.cleanup()
