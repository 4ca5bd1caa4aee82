# SPDX-License-Identifier: Apache-2.0
"""An operator asks for a failover, and traffic moves: real processes and packets."""

import time
from typing import Any

import pytest

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import NotFound

GAP_S_MAX = 2.0  # the VIP's port moves; some 0.1 s where nothing else is done
COUNTED_S_MAX = 40.0


@pytest.mark.timed
async def test_traffic_moves_when_an_operator_asks_for_a_failover() -> None:
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        root = scenario.load_balancer["id"]
        await _moves(scenario, f"lbaas/loadbalancers/{root}/failover")
        old = await scenario.serving()
        await _moves(scenario, f"octavia/amphorae/{old}/failover")
        await _has_counters(scenario, root)
    assert system.left == []


async def _moves(scenario: Scenario, path: str) -> None:
    """Whoever serves is another afterwards, and a request is answered soon."""
    await scenario.spare()
    old = await scenario.serving()

    async def is_replaced() -> bool:
        found: Any = await scenario.rest.get("octavia/amphorae")
        return old not in {amphora["id"] for amphora in found["amphorae"]}

    async with scenario.visits(20) as visits:
        await visits.first_ok(since=0.0)
        asked = time.time()
        await scenario.rest.put(path)
        await until(is_replaced, within_s=15, what="the old amphora to be gone")
        gone = time.time()
        await visits.first_ok(since=gone, what="traffic after the failover")
        answered = [visit.ended for visit in visits.all if visit.ok and visit.began > asked]
    assert await scenario.serving() != old
    gaps = [after - before for before, after in zip([asked, *answered], answered, strict=False)]
    print(f"{path}: longest gap {max(gaps):.3f} s")  # noqa: T201 - with -s
    assert max(gaps) < GAP_S_MAX, gaps


async def _has_counters(scenario: Scenario, root: str) -> None:
    """The amphora that serves now has told what it counted."""
    serving = await scenario.serving()

    async def counted() -> bool:
        try:
            found = await scenario.rest.get(f"octavia/amphorae/{serving}/stats")
        except NotFound:
            return False
        return bool(found["amphora_stats"][0]["loadbalancer_id"] == root)

    await until(counted, within_s=COUNTED_S_MAX, what="the new amphora's counters")
