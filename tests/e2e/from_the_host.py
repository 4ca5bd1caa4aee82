# SPDX-License-Identifier: Apache-2.0
"""A program, run by test_host_route.py in a network namespace of its own, which plays the host.

It starts a system with a route from here to the public network, makes a load balancer and asks
it from this namespace. It prints what the VIP answered, and what was left behind.
"""

import asyncio
import json
import sys

from pyroute2 import IPRoute

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.http_tool import fetch
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest


async def main() -> None:
    async with running("--host-route") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario = Scenario(rest, hosts, Figures())
            for step in (scenario.hosts, scenario.spare, scenario.create):
                await step()
            answer = await fetch(scenario.load_balancer["vip_address"], 80, "/")
    sys.stdout.write(json.dumps({"answer": answer, "left": system.left}))


with IPRoute() as netlink:
    netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
asyncio.run(main())
