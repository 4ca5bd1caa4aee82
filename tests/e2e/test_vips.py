# SPDX-License-Identifier: Apache-2.0
"""A load balancer with an additional VIP answers on both those whom its owner allows, also after a
failover."""

import asyncio
import sys
import time

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.environments import needs_nft

pytestmark = needs_nft

PUBLIC, PUBLIC6 = "203.0.113.0/24", "2001:db8:1::/64"
SENT = "2001:DB8:1:0::077"  # no canonical spelling: it is shown so, and packets do not care
ASK = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(sys.argv[1], timeout=2).status)
"""


async def test_both_vips_answer_before_and_after_a_failover() -> None:
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        made = Scenario(rest, hosts, Figures())
        await made.hosts()
        await hosts.add("client6", "public", address="2001:db8:1::50", argv=[])
        await made.spare()
        wish = {
            "name": "two",
            "vip_subnet_id": await hosts.subnet(PUBLIC),
            "additional_vips": [{"subnet_id": await hosts.subnet(PUBLIC6), "ip_address": SENT}],
            "listeners": [
                {
                    "protocol": "HTTP",
                    "protocol_port": 80,
                    "default_pool": {
                        "name": "web",
                        "protocol": "HTTP",
                        "lb_algorithm": "ROUND_ROBIN",
                        "members": [{"address": made.addresses["web1"], "protocol_port": 80}],
                    },
                }
            ],
        }
        answer = await rest.post("lbaas/loadbalancers", {"loadbalancer": wish})
        (second,) = answer["additional_vips"]
        assert second["ip_address"] == SENT
        urls = {
            "client": f"http://{answer['vip_address']}/",
            "client6": f"http://[{second['ip_address']}]/",
        }

        async def all_answer() -> bool:
            return all([await answers(hosts, client, url) for client, url in urls.items()])

        await until(all_answer, within_s=15, what="both VIPs to answer")
        (listener,) = answer["listeners"]
        shown = f"lbaas/listeners/{listener['id']}"

        async def only_one_answers() -> bool:
            allowed = await answers(hosts, "client6", urls["client6"])
            return allowed and not await answers(hosts, "client", urls["client"])

        cidrs = ["2001:db8:1::50/128", "203.0.113.250/32"]
        await rest.put(shown, {"listener": {"allowed_cidrs": cidrs}})
        await until(only_one_answers, within_s=15, what="the other client to be kept out")
        await rest.put(shown, {"listener": {"allowed_cidrs": None}})
        await until(all_answer, within_s=15, what="both VIPs to answer all")
        made.load_balancer = answer
        await made.spare()
        victim = await made.serving()
        killed = time.time()
        await hosts.kill_amphora(victim)

        async def replaced() -> bool:
            return await made.serving() != victim

        await until(replaced, within_s=30, what="another amphora to serve")
        await until(all_answer, within_s=15, what="both VIPs to answer again")
        assert time.time() - killed < 30
        await made.delete()
    assert system.left == []


async def answers(hosts: Hosts, client: str, url: str) -> bool:
    argv = [*hosts.enter(client), sys.executable, "-c", ASK, url]
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return said.strip() == b"200"
