# SPDX-License-Identifier: Apache-2.0
"""What is kinder, with real amphorae: answers that wait, whole trees, the way back, events."""

import asyncio
import time
from copy import deepcopy
from typing import Any

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest


async def test_a_tree_is_put_rolled_back_and_waited_for_while_it_serves() -> None:
    async with (
        running() as system,
        Rest(system.endpoint, request_s_max=60) as rest,
        Hosts(system.state) as hosts,
    ):
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        root = scenario.load_balancer["id"]
        path = f"lbaas/loadbalancers/{root}"
        heard: list[str] = []
        hearing = asyncio.create_task(_hear(rest, path, heard))
        before = (await rest.get(f"{path}/tree"))["loadbalancer"]
        (history,) = (await rest.get(f"{path}/history?limit=1"))["history"]

        wished: Any = deepcopy(before)
        (pool,) = wished["pools"]
        pool["members"] = pool["members"][:1]
        pool["members"][0]["weight"] = 7
        wished["listeners"].append({"name": "second", "protocol": "HTTP", "protocol_port": 81})
        tried = await rest.put(f"{path}/tree?dry_run=true", {"loadbalancer": wished})
        assert tried["dry_run"]["configuration"]["action"] == "reload"
        assert "weight 7" in tried["dry_run"]["configuration"]["diff"]
        async with scenario.visits(50) as visits:
            await visits.first_ok(since=0.0)
            put = await rest.put(f"{path}/tree?wait=30", {"loadbalancer": wished})
            assert put["loadbalancer"]["provisioning_status"] == "ACTIVE"
            assert len(put["loadbalancer"]["listeners"]) == 2
            rolled = await rest.post(
                f"{path}/rollback?wait=30", {"generation": history["generation"]}
            )
            assert rolled["provisioning_status"] == "ACTIVE"
            await visits.first_ok(since=time.time())
        assert visits.failed(since=0.0) == []
        after = (await rest.get(f"{path}/tree"))["loadbalancer"]
        assert _sorted(after) == _sorted(before)
        await rest.delete(f"{path}?cascade=true&wait=30")
        async with asyncio.timeout(20):
            await hearing
        assert heard[-2:] == ["deleted", "gone"]
        assert heard.count("updated") == 2
        assert heard.count("applied") >= 2
    assert system.left == []


async def _hear(rest: Rest, path: str, heard: list[str]) -> None:
    async for line in rest.lines(f"{path}/events"):
        if line.startswith("event: ") and "operating" not in line:
            heard.append(line.removeprefix("event: "))
            if heard[-1] == "gone":
                return


def _sorted(tree: Any) -> Any:
    tree["pools"][0]["members"].sort(key=lambda member: member["id"])
    return tree
