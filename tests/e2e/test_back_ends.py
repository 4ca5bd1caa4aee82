# SPDX-License-Identifier: Apache-2.0
"""How members are reached: on their subnet, through the router, both in one pool, and two projects
with the same range. Real packets from clients through amphorae to servers."""

import asyncio
import sys
from collections import Counter
from typing import Any

from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until

RANGE = "172.20.0.0/24"  # of two networks
PUBLIC = "203.0.113.0/24"
ASK = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(int(sys.argv[2])):
    try:
        print(opener.open(sys.argv[1], timeout=20).read().decode().strip())
    except OSError as error:
        print(f"failed: {error}")
"""

# Takes its time for each answer.
SLOW = """
import http.server, time

class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"slow-web")

http.server.ThreadingHTTPServer(("", 80), Slow).serve_forever()
"""
# Says when it has asked, and then what it was told.
ASK_SLOWLY = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=30)
connection.request("GET", "/")
print("asked", flush=True)
print(connection.getresponse().read().decode())
"""


async def said(hosts: Hosts, root: Any, count: int = 8) -> Counter[str]:
    """What a client gets through the VIP."""
    argv = [*hosts.enter("client"), sys.executable, "-c", ASK]
    process = await asyncio.create_subprocess_exec(
        *argv, f"http://{root['vip_address']}/", str(count), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return Counter(out.decode().splitlines())


async def served(hosts: Hosts, root: Any, by: set[str]) -> None:
    async def are_they() -> bool:
        return set(await said(hosts, root)) == by

    await until(are_they, within_s=60, what=f"{root['name']} to be served by {by}")


def member(address: str, **more: Any) -> dict[str, Any]:
    return {"address": address, "protocol_port": 80, **more}


async def balancer(rest: Rest, name: str, vip_subnet: str, *members: Any) -> Any:
    pool = {
        "name": name,
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": members,
    }
    listener = {"protocol": "HTTP", "protocol_port": 80, "default_pool": pool}
    wish = {"name": name, "vip_subnet_id": vip_subnet, "listeners": [listener]}
    return await rest.post("lbaas/loadbalancers", {"loadbalancer": wish})


async def links(hosts: Hosts, rest: Rest, root: Any) -> set[str]:
    """Of the amphora that serves it, where its traffic is."""
    answer = await rest.get(f"octavia/amphorae?loadbalancer_id={root['id']}")
    (amphora,) = answer["amphorae"]
    argv = [*hosts.enter_traffic(amphora["id"]), "cut", "-d:", "-f1", "-s", "/proc/net/dev"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return set(out.decode().split()) - {"lo"}


async def slowly_left(rest: Rest, hosts: Hosts, public: str, blue: str) -> Any:
    """The last member of a subnet goes while a request to it is under way, which is answered."""
    argv = [sys.executable, "-c", SLOW]
    slow = await hosts.add("slow-web", "blue", address="172.20.0.51", argv=argv)
    root = await balancer(rest, "third", public, member(slow, subnet_id=blue))

    async def is_served() -> bool:
        return set(await said(hosts, root, 1)) == {"slow-web"}

    await until(is_served, within_s=60, what="the slow server to be reached")
    pool = root["pools"][0]["id"]
    (found,) = (await rest.get(f"lbaas/pools/{pool}/members"))["members"]
    argv = [*hosts.enter("client"), sys.executable, "-c", ASK_SLOWLY, root["vip_address"]]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"asked\n"
    await rest.delete(f"lbaas/pools/{pool}/members/{found['id']}")
    out, _ = await process.communicate()
    assert out == b"slow-web\n"
    return root


async def test_members_are_reached_on_their_subnet_and_through_the_router() -> None:
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        blue, red = [
            await hosts.add_network(name, RANGE, is_routed=False) for name in ("blue", "red")
        ]
        await hosts.add("client", "public", argv=[])
        near = await hosts.web_server("blue-web", "172.20.0.50", "blue")
        assert near == await hosts.web_server("red-web", "172.20.0.50", "red")
        far = await hosts.web_server("far-web")
        public = await hosts.subnet(PUBLIC)

        # One pool with a member that only its own subnet leads to, and one behind the router.
        both = member(near, subnet_id=blue), member(far)
        first = await balancer(rest, "first", public, *both)
        await served(hosts, first, {"blue-web", "far-web"})
        spread = await said(hosts, first, 40)
        assert spread == {"blue-web": 20, "far-web": 20}
        assert len(await links(hosts, rest, first)) == 2  # the VIP's, and one on blue

        # Another load balancer, the same address on another network.
        second = await balancer(rest, "second", public, member(near, subnet_id=red))
        await served(hosts, second, {"red-web"})
        answers = await asyncio.gather(said(hosts, first, 40), said(hosts, second, 40))
        assert [set(answer) for answer in answers] == [{"blue-web", "far-web"}, {"red-web"}]

        # The last member of the subnet goes, and with it the interface; and comes again.
        pool = first["pools"][0]["id"]
        before = await links(hosts, rest, first)
        (one,) = [
            found["id"]
            for found in (await rest.get(f"lbaas/pools/{pool}/members"))["members"]
            if found["address"] == near
        ]
        await rest.delete(f"lbaas/pools/{pool}/members/{one}")
        await served(hosts, first, {"far-web"})

        async def is_left() -> bool:
            return len(await links(hosts, rest, first)) == 1

        await until(is_left, within_s=90, what="the amphora to leave the subnet")
        assert await links(hosts, rest, first) < before
        await rest.post(f"lbaas/pools/{pool}/members", {"member": member(near, subnet_id=blue)})
        await served(hosts, first, {"blue-web", "far-web"})
        assert await said(hosts, second) == {"red-web": 8}
        third = await slowly_left(rest, hosts, public, blue)
        for root in (first, second, third):
            await rest.delete(f"lbaas/loadbalancers/{root['id']}?cascade=true")
    assert system.left == []
