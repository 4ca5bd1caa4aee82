# SPDX-License-Identifier: Apache-2.0
"""A VIP that a router leads to two amphorae, with real packets: both have it and neither tells a
neighbour, flows are spread, those of the one that left break and no other, and a fence keeps one
from interfering."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import pytest

from colonnade.domain.ids import AmphoraId, PortId, new_id
from colonnade.drivers.compute.protocol import Boot
from colonnade.drivers.network.namespaces.address_book import PUBLIC, network_id, subnet_id
from colonnade.drivers.network.namespaces.client import RouterClient
from colonnade.drivers.network.protocol import NextHop, Port, PortWish, Route
from colonnade.protocol.bundle import LOCAL, Interface
from tests.environments import needs_nft
from tests.lab_site import Site, site, why_impossible

pytestmark = needs_nft

VIPS: Final = {4: "192.0.2.10", 6: "2001:db8:9::10"}
WIDTH: Final = {4: 32, 6: 128}
PORT: Final = 7080
CONNECTIONS: Final = 1000

# Says its name to whoever connects, and again for each byte that comes.
SERVE = """
import asyncio, sys
name, port, *vips = sys.argv[1:]

async def serve(reader, writer):
    writer.write(name.encode())
    try:
        while await reader.read(1):
            writer.write(name.encode())
    except OSError:
        pass
    writer.close()

async def main():
    for vip in vips:
        await asyncio.start_server(serve, vip, int(port), backlog=1024)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

# Told in lines of JSON what to do; it answers each with one.
VISIT = """
import asyncio, json, sys
port, held = int(sys.argv[1]), []

async def opened(vip, within_s=30):
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(vip, port)
            return reader, writer, (await reader.readexactly(1)).decode()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None, None, ""

async def asked(reader, writer, name):
    try:
        writer.write(b".")
        async with asyncio.timeout(30):
            said = await reader.readexactly(1)
        return name if said.decode() == name else "?"
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return f"{name} is gone"

async def visit(vip, count):
    names = []
    for place in range(0, count, 50):
        for _, writer, name in await asyncio.gather(*(opened(vip) for _ in range(min(50, count)))):
            names.append(name)
            if writer is not None:
                writer.close()
    return names

async def main():
    while line := await asyncio.to_thread(sys.stdin.readline):
        act, vip, count = json.loads(line)
        if act == "visit":
            names = await visit(vip, count)
        elif act == "try":
            names = [n for _, _, n in await asyncio.gather(*(opened(vip, 1) for _ in range(count)))]
        elif act == "hold":
            held.extend(await asyncio.gather(*(opened(vip) for _ in range(count))))
            names = [name for _, _, name in held]
        else:
            names = await asyncio.gather(*(asked(*one) for one in held))
        print(json.dumps(names), flush=True)

asyncio.run(main())
"""

ARRANGE = 'printf %s "$1" | exec "$2" -I -m colonnade.agent.network.interface_process'
FENCE = """
import asyncio, sys
from pathlib import Path
from colonnade.agent.network import fence
act, *vips = sys.argv[1:]
namespace = Path("/proc/self/ns/net")
asyncio.run(fence.put_up(vips, namespace) if act == "up" else fence.take_down(namespace))
"""
# A route that has the VIP beside oneself, so that it is asked for by ARP or NDP.
BESIDE = """
import sys
from pyroute2 import IPRoute
with IPRoute() as route:
    (index,) = route.link_lookup(ifname="eth0")
    for vip, length in zip(sys.argv[2::2], sys.argv[3::2]):
        family = 10 if ":" in vip else 2
        route.route(sys.argv[1], dst=f"{vip}/{length}", oif=index, family=family, scope=253)
"""


class Amphora:
    def __init__(self, lab: Site, name: str, ports: dict[int, Port]) -> None:
        self.lab, self.name, self.ports = lab, name, ports
        self.id = AmphoraId(new_id())

    def arrange(self, vips: tuple[str, ...]) -> None:
        """As its agent does for a bundle, with an agent's rights."""
        gateways = {4: "203.0.113.1", 6: "2001:db8:1::1"}
        own = [
            Interface(
                mac=port.mac,
                addresses=(f"{port.address}/{24 if version == 4 else 64}",),
                gateways=(gateways[version],),
                is_default=True,
            )
            for version, port in self.ports.items()
        ]
        wanted = msgspec.json.encode([*own, Interface(mac=LOCAL, addresses=vips)]).decode()
        pid = self.lab.machine_pid(self.id)
        enter = ("nsenter", f"--target={pid}", "--user", "--mount", "--pid", "--net")
        traffic = ("nsenter", "--net=/run/netns/traffic", "sh", "-euc", ARRANGE)
        self.lab.run(*enter, "--", *traffic, "sh", wanted, sys.executable)

    def fence(self, *words: str) -> None:
        self.lab.run_in_traffic(self.id, sys.executable, "-c", FENCE, *words)


class Visitor:
    """A client on the public network."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(self, act: str, vip: str = "", count: int = 0) -> Counter[str]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([act, vip, count]) + "\n")
        stdin.flush()
        return Counter(json.loads(stdout.readline()))


@contextmanager
def running(*argv: str) -> Iterator["subprocess.Popen[str]"]:
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def lab() -> Iterator[Site]:
    if reason := why_impossible():
        pytest.skip(reason)
    with site() as made:
        yield made


async def born(lab: Site, name: str) -> Amphora:
    networks, compute = lab.networks(), lab.compute()
    ports = {
        version: await networks.create_port(
            PortWish(id=PortId(new_id()), owner="lb:x", subnet_id=subnet_id(PUBLIC.name, cidr))
        )
        for version, cidr in zip((4, 6), PUBLIC.cidrs, strict=True)
    }
    made = Amphora(lab, name, ports)
    own = PortWish(
        id=PortId(new_id()),
        owner=f"amphora:{made.id}",
        subnet_id=(await networks.lb_subnet()).id,
    )
    await networks.create_port(own)
    await compute.create(Boot(amphora_id=made.id, lb_port_id=own.id, config_drive={}))
    for port in ports.values():
        await networks.plug(port.id, made.id)
    await networks.close()
    await compute.close()
    return made


@pytest.fixture(scope="module")
def both(lab: Site) -> Iterator[list[Amphora]]:
    """Two amphorae that have both VIPs and serve on them."""

    async def make() -> list[Amphora]:
        return [await born(lab, name) for name in "ab"]

    made = asyncio.run(make())
    for one in made:
        one.arrange(tuple(f"{vip}/{WIDTH[version]}" for version, vip in VIPS.items()))
    with running(*_server(lab, made[0])) as first, running(*_server(lab, made[1])) as second:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield made


def _server(lab: Site, one: Amphora) -> list[str]:
    net = f"--net=/proc/{lab.machine_pid(one.id)}/root/run/netns/traffic"
    own = (port.address for port in one.ports.values())
    serve = (sys.executable, "-c", SERVE, one.name, str(PORT), *VIPS.values(), *own)
    return lab.lab.enter(["nsenter", net, "--", *serve])


@pytest.fixture
def visitor(lab: Site) -> Iterator[Visitor]:
    argv = lab.lab.enter([sys.executable, "-c", VISIT, str(PORT)], netns="outside")
    with running(*argv) as process:
        yield Visitor(process)


def lead(lab: Site, version: int, *hops: Amphora) -> None:
    """Set the route to the VIP."""

    async def ask() -> None:
        router = RouterClient(*lab.credentials("controller"))
        try:
            await router.set_route(
                Route(
                    destination=f"{VIPS[version]}/{WIDTH[version]}",
                    network_id=network_id(PUBLIC.name),
                    next_hops=tuple(NextHop(one.ports[version].address) for one in hops),
                    owner="lb:x",
                )
            )
        finally:
            await router.close()

    asyncio.run(ask())


@pytest.mark.parametrize("version", [4, 6])
def test_flows_are_spread_and_keep_their_amphora_while_it_is_there(
    lab: Site, both: list[Amphora], visitor: Visitor, version: int
) -> None:
    first, _second = both
    vip = VIPS[version]
    lead(lab, version, *both)
    spread = visitor.do("visit", vip, CONNECTIONS)
    assert set(spread) == {"a", "b"}
    assert all(0.4 * CONNECTIONS < count < 0.6 * CONNECTIONS for count in spread.values()), spread
    held = visitor.do("hold", vip, 100)
    assert set(held) == {"a", "b"}
    assert visitor.do("ask") == held
    lead(lab, version, first)
    assert visitor.do("visit", vip, 200) == {"a": 200}
    assert visitor.do("ask") == {"a": held["a"], "b is gone": held["b"]}
    lead(lab, version, *both)
    again = visitor.do("visit", vip, 200)
    assert again.total() == 200
    assert not again[""]
    assert visitor.do("ask")["a"] == held["a"]


def test_no_neighbour_is_told_who_has_the_vip(
    lab: Site, both: list[Amphora], visitor: Visitor
) -> None:
    for version in VIPS:
        lead(lab, version, *both)
    words = [str(word) for version, vip in VIPS.items() for word in (vip, WIDTH[version])]
    beside = (sys.executable, "-c", BESIDE)
    lab.run(*beside, "add", *words, inside="outside")
    try:
        for vip in VIPS.values():
            assert visitor.do("try", vip, 3) == {"": 3}
        for port in both[0].ports.values():
            assert visitor.do("visit", port.address, 3) == {"a": 3}  # that one is told
    finally:
        lab.run(*beside, "del", *words, inside="outside")
    for vip in VIPS.values():
        assert visitor.do("visit", vip, 3)[""] == 0


def test_behind_a_fence_nothing_is_answered_and_nothing_is_refused(
    lab: Site, both: list[Amphora], visitor: Visitor
) -> None:
    first, _ = both
    for version, vip in VIPS.items():
        lead(lab, version, first)
        visitor.do("hold", vip, 5)
    for _ in range(2):
        first.fence("up", *VIPS.values(), "192.0.2.99")
    for vip in VIPS.values():
        assert visitor.do("try", vip, 3) == {"": 3}
    for port in first.ports.values():
        assert visitor.do("visit", port.address, 3) == {"a": 3}
    for _ in range(2):
        first.fence("down")
    for vip in VIPS.values():
        assert visitor.do("visit", vip, 3) == {"a": 3}
    assert visitor.do("ask") == {"a": 10}


def test_another_vip_takes_no_further_interface(lab: Site, both: list[Amphora]) -> None:
    first, _ = both
    links = ("cut", "-d:", "-f1", "-s", "/proc/net/dev")
    before = lab.run_in_traffic(first.id, *links)
    vips = [f"{vip}/{WIDTH[version]}" for version, vip in VIPS.items()]
    more = [f"198.51.100.{n}/32" for n in range(1, 21)]

    def local() -> int:
        return lab.run_in_traffic(first.id, "cat", "/proc/net/fib_trie").count("198.51.100.")

    first.arrange((*vips, *more))
    assert local() > 0
    assert lab.run_in_traffic(first.id, *links) == before
    first.arrange(tuple(vips))
    assert local() == 0
