# SPDX-License-Identifier: Apache-2.0
"""A program, run by test_own_networks.py in a network namespace of its own, which plays a server
with networks of its own: what clients and members out there see of its load balancers.

The first argument is the mode. It prints what it found, as JSON.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from colonnade.cli.demo.operator_calls import allocated, make_flavor
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError
from tests.outer_world import FAR, MEMBER, SERVER, TAKEN, Inside, Place, World, world

S_MAX: Final = 60.0
OWN_PORT: Final = 2222  # a program of the server itself listens there
TRANSIT: Final = ("198.19.0.1", "fdc0:10ad:1::1")
NOWHERE: Final = ("169.254.169.254", "198.18.0.1")
FIXED: Final = {
    "action": "FIXED_RESPONSE",
    "fixed_response": {"status_code": 200, "body": "fixed"},
    "rules": [{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/fixed"}],
}


class Site:
    """A system on the server, and the world around."""

    def __init__(self, system: System, rest: Rest, around: World) -> None:
        self.system = system
        self.rest = rest
        self.world = around

    async def subnets(self) -> dict[str, dict[str, Any]]:
        found = (await self.rest.get("subnets"))["subnets"]
        return {one["name"]: one for one in found}

    async def balance(
        self, subnet: str, *, port: int = 80, members: Mapping[str, int], **more: Any
    ) -> dict[str, Any]:
        """A load balancer with one listener, once it is as wanted."""
        subnet_id = (await self.subnets())[subnet]["id"]
        wish = {
            "name": f"{subnet}-{port}",
            "vip_subnet_id": subnet_id,
            "listeners": [listener(port, members)],
            **more,
        }
        made: dict[str, Any] = await self.rest.post("lbaas/loadbalancers", {"loadbalancer": wish})
        await self.settled(made["id"])
        return made

    async def settled(self, root_id: str) -> None:
        async def is_active() -> bool:
            found = await self.rest.get(f"lbaas/loadbalancers/{root_id}")
            return bool(found["loadbalancer"]["provisioning_status"] == "ACTIVE")

        await until(is_active, within_s=S_MAX, what="the load balancer to be as wanted")

    async def refusal(self, path: str, wrapper: str, wish: Mapping[str, Any]) -> str:
        """Why the API will not."""
        try:
            await self.rest.post(path, {wrapper: wish})
        except ColonnadeError as error:
            return str(error)
        return "it was taken"

    async def answers(self, place: Place, asked: str, wanted: str) -> str:
        """What is answered there, once it has that in it."""

        async def is_there() -> str:
            said = await asyncio.to_thread(place.ask, asked)
            return said if wanted in said else ""

        return await until(is_there, within_s=S_MAX, what=f"an answer with {wanted}")


def listener(port: int, members: Mapping[str, int]) -> dict[str, Any]:
    listed = [{"address": address, "protocol_port": at} for address, at in members.items()]
    return {
        "protocol": "HTTP",
        "protocol_port": port,
        "insert_headers": {"X-Forwarded-For": "true"},
        "default_pool": {
            "name": f"servers-{port}",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "members": listed,
        },
        "l7policies": [FIXED],
    }


@contextlib.asynccontextmanager
async def site(tables: str, found: dict[str, Any], bridge: str = "") -> AsyncIterator[Site]:
    state = Path(tempfile.mkdtemp(prefix="colonnade-"))
    (state / "colonnade.toml").write_text(tables)
    try:
        with world(bridge) as around:
            async with running("--spares", "1", state=state) as system:
                async with Rest(system.endpoint) as rest:
                    yield Site(system, rest, around)
            server = around.server
            found["left"] = [
                *system.left,
                *[line for line in server.run("nft", "list", "tables").splitlines() if line],
                *[line for line in server.run("ip", "-o", "link").splitlines() if "clb" in line],
            ]
    finally:
        shutil.rmtree(state)


def url(address: str, port: int = 80, path: str = "/") -> str:
    place = f"[{address}]" if ":" in address else address
    return f"http://{place}:{port}{path}"


async def host(found: dict[str, Any]) -> None:
    async with site('[[network]]\nname = "web"\nmode = "host"\n', found) as one:
        around = one.world
        around.member.echo(80)
        around.server.echo(OWN_PORT, "own")
        subnets = await one.subnets()
        found["subnets"] = {n: s["cidr"] for n, s in subnets.items() if n.startswith("web")}
        v6 = [{"subnet_id": subnets["web-subnet-v6"]["id"]}]
        first = await one.balance("web-subnet", members={MEMBER[0]: 80}, additional_vips=v6)
        second = await one.balance("web-subnet", port=8080, members={MEMBER[0]: 80})
        found["vips"] = [first["vip_address"], second["vip_address"]]
        for address in SERVER:
            await one.answers(around.near, url(address), "50")
            version = 6 if ":" in address else 4
            for name in ("near", "far", "server"):
                found[f"{name}{version}"] = getattr(around, name).ask(url(address))
        found["second"] = around.far.ask(url(SERVER[0], 8080))
        found["own"] = around.far.ask(url(SERVER[0], OWN_PORT))
        await refused_ports(one, second, found)
        await tenants(one, first, found)
        await restarted(one, found)
        await one.rest.delete(f"lbaas/loadbalancers/{second['id']}?cascade=true")
        await one.answers(around.near, url(SERVER[0], 8080), "no answer")
        found["after delete"] = around.near.ask(url(SERVER[0]))


async def refused_ports(one: Site, there: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Ports of the address that are somebody's."""
    wish = {"loadbalancer_id": there["id"], "protocol": "HTTP"}
    for name, port in (("taken", 80), ("machine's", OWN_PORT)):
        asked = wish | {"protocol_port": port}
        found[f"refused: {name}"] = await one.refusal("lbaas/listeners", "listener", asked)
    nested = {
        "vip_subnet_id": there["vip_subnet_id"],
        "listeners": [listener(OWN_PORT, {})],
    }
    found["refused: nested"] = await one.refusal("lbaas/loadbalancers", "loadbalancer", nested)
    many = await make_flavor(one.rest, "pair", {"loadbalancer_topology": "ACTIVE_STANDBY"})
    pair = {"vip_subnet_id": there["vip_subnet_id"], "flavor_id": many}
    found["refused: pair"] = await one.refusal("lbaas/loadbalancers", "loadbalancer", pair)


async def tenants(one: Site, there: Mapping[str, Any], found: dict[str, Any]) -> None:
    """What a load balancer, and all that runs in its amphora, reaches of the machine."""
    (pool,) = (await one.rest.get(f"lbaas/pools?loadbalancer_id={there['id']}"))["pools"]
    members = f"lbaas/pools/{pool['id']}/members"
    for address in NOWHERE:
        wish = {"address": address, "protocol_port": 80}
        found[f"refused: {address}"] = await one.refusal(members, "member", wish)
    (amphora,) = await allocated(one.rest, there["id"])
    async with Hosts(one.system.state) as hosts:
        inside = Inside(hosts.enter_traffic(amphora["id"]))
        found["reached"] = {
            place: said
            for place, port in (
                *((address, OWN_PORT) for address in (*SERVER, *TRANSIT)),
                ("198.18.0.1", urlsplit(one.system.endpoint).port or 0),
                ("127.0.0.1", OWN_PORT),
                ("169.254.169.254", 80),
                (MEMBER[0], 80),
            )
            if (said := inside.ask(url(place, port), within_s=1.0)) != "no answer"
        }
    wish = {"address": SERVER[0], "protocol_port": OWN_PORT}
    own = await one.rest.post(members, {"member": wish})
    await one.settled(there["id"])
    vip = url(there["vip_address"])
    asked = [one.world.near.ask(vip, within_s=2.0) for _ in range(4)]
    found["by a member"] = [said for said in asked if said.endswith("own")]
    await one.rest.delete(f"{members}/{own['id']}")
    await one.settled(there["id"])


async def restarted(one: Site, found: dict[str, Any]) -> None:
    """The network daemon ends, and somebody takes all of the packet filter away."""
    around, table = one.world, one.world.server.run("nft", "list", "tables").split()[-1]
    around.server.run("nft", "delete", "table", "inet", table)
    found["without the table"] = around.far.ask(url(SERVER[0], 8080), within_s=1.0)
    for pid, words in leftovers.family(one.system.mark).items():
        if words.startswith(sys.executable) and "colonnade network" in words:
            os.kill(pid, signal.SIGKILL)
    await one.answers(around.far, url(SERVER[0], 8080), FAR[0])
    found["after restart"] = around.far.ask(url(SERVER[1]))


LAN: Final = """
[[network]]
name = "lan"
cidr = ["192.0.2.0/24", "2001:db8:5::/64"]
range = ["192.0.2.100-192.0.2.110", "2001:db8:5::100-2001:db8:5::110"]
"""
GATEWAYS: Final = 'gateway = ["192.0.2.1", "2001:db8:5::1"]\n'


async def bridge(found: dict[str, Any]) -> None:
    async with site(LAN + GATEWAYS + 'bridge = "br0"\n', found, "br0") as one:
        await on_a_wire(one, found)


async def macvlan(found: dict[str, Any]) -> None:
    async with site(LAN + GATEWAYS + 'interface = "eth0"\n', found) as one:
        await on_a_wire(one, found)
        subnets = await one.subnets()
        lan, public = (subnets[name]["id"] for name in ("lan-subnet", "public-subnet"))
        member = {"address": MEMBER[0], "protocol_port": 80, "subnet_id": lan}
        there = await one.balance("public-subnet", members={})
        (pool,) = (await one.rest.get(f"lbaas/pools?loadbalancer_id={there['id']}"))["pools"]
        await one.rest.post(f"lbaas/pools/{pool['id']}/members", {"member": member})
        await one.settled(there["id"])
        assert there["vip_subnet_id"] == public
        async with Hosts(one.system.state) as hosts:
            outside = Inside(hosts.enter("outside"))
            found["by subnet"] = await one.answers(outside, url(there["vip_address"]), "192.0.2.1")


async def routed(found: dict[str, Any]) -> None:
    async with site(LAN + 'mode = "routed"\ninterface = "eth0"\n', found) as one:
        await on_a_wire(one, found)


async def on_a_wire(one: Site, found: dict[str, Any]) -> None:
    around = one.world
    around.member.echo(80)
    around.server.echo(OWN_PORT, "own")
    subnets = await one.subnets()
    v6 = [{"subnet_id": subnets["lan-subnet-v6"]["id"]}]
    made = await one.balance("lan-subnet", members={MEMBER[0]: 80}, additional_vips=v6)
    vips = [made["vip_address"], made["additional_vips"][0]["ip_address"]]
    found["vips"] = vips
    again = {"vip_subnet_id": made["vip_subnet_id"], "vip_address": TAKEN[0]}
    found["refused: in use"] = await one.refusal("lbaas/loadbalancers", "loadbalancer", again)
    for address in vips:
        await one.answers(around.near, url(address), "50")
        version = 6 if ":" in address else 4
        for name in ("near", "far", "server"):
            found[f"{name}{version}"] = getattr(around, name).ask(url(address))
    await tenants(one, made, found)
    (amphora,) = await allocated(one.rest, made["id"])
    async with Hosts(one.system.state) as hosts:
        await hosts.kill_amphora(amphora["id"])

    async def is_another() -> bool:
        now = await allocated(one.rest, made["id"])
        return bool(now) and now[0]["id"] != amphora["id"]

    await until(is_another, within_s=S_MAX, what="another amphora")
    found["after failover"] = [
        await one.answers(around.far, url(address), FAR[0] if "." in address else FAR[1])
        for address in vips
    ]


async def main(mode: str) -> None:
    found: dict[str, Any] = {}
    scenarios: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
        "host": host,
        "bridge": bridge,
        "macvlan": macvlan,
        "routed": routed,
    }
    await scenarios[mode](found)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
