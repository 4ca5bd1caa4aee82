# SPDX-License-Identifier: Apache-2.0
"""A load balancer becomes a pair and one again under load, by a PUT of `flavor_id` each.

Real processes, cables and packets. A client sends requests all the time, and none fails; with `-s`
the longest time without an answer is told.
"""

import time

from colonnade.cli.demo.operator_calls import make_flavor
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visits
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.catalogue import NO_ID
from tests.environments import needs_keepalived, needs_nft
from tests.pairs import PUBLIC6, RATE, WHOLE_S_MAX, Pair

pytestmark = [needs_keepalived, needs_nft]  # nft drains an amphora before another has its VIP

ANSWER_S_MAX = 20.0  # a SYN that nobody answers is repeated after 1, 3, 7 s
GAP_S_MAX = 3.0  # some 0.5 s where nothing else is done


async def test_no_request_fails_while_one_amphora_becomes_a_pair_and_one_again() -> None:
    async with (
        running("--spares", "2") as system,
        Rest(system.endpoint) as rest,
        Hosts(system.state) as hosts,
    ):
        pair = Pair(system, rest, hosts)
        scenario = pair.scenario
        await scenario.hosts()
        scenario.wishes["additional_vips"] = [{"subnet_id": await hosts.subnet(PUBLIC6)}]
        flavor = await make_flavor(rest, "pairs", {"loadbalancer_topology": "ACTIVE_STANDBY"})
        await scenario.spare()
        await scenario.create()
        address, alone = pair.vip, await scenario.serving()
        enter, vip = hosts.enter(scenario.client), f"http://{pair.vip}/"
        async with Visits(enter, vip, rate=RATE, within_s=ANSWER_S_MAX) as visits:
            await visits.first_ok(since=0.0)
            for flavor_id, settled in ((flavor, pair.whole), (NO_ID, lambda: _one(pair))):
                began = time.time()
                await pair.put_flavor(flavor_id)
                after = await settled()
                assert alone not in after
                await visits.first_ok(since=time.time())
                over = time.time()
                gap = visits.longest_gap(began, over)
                print(f"gap {gap:.3f} s after {began:.1f}")  # noqa: T201 - with -s
                assert gap < GAP_S_MAX
                await pair.answers6()
        assert pair.vip == address
        assert visits.failed() == [], f"of {len(visits.all)}"
        await scenario.delete()
    assert system.left == []


async def _one(pair: Pair) -> list[str]:
    """Wait for one that serves alone."""

    async def one() -> list[str]:
        root = pair.scenario.load_balancer["id"]
        found = (await pair.rest.get(f"octavia/amphorae?loadbalancer_id={root}"))["amphorae"]
        shown = (await pair.rest.get(f"lbaas/loadbalancers/{root}"))["loadbalancer"]
        roles = [(amphora["role"], amphora["status"]) for amphora in found]
        settled = shown["provisioning_status"] == "ACTIVE"
        is_one = settled and roles == [("STANDALONE", "ALLOCATED")]
        return [amphora["id"] for amphora in found] if is_one else []

    return await until(one, within_s=WHOLE_S_MAX, what="one amphora that serves alone")
