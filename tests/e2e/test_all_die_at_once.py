# SPDX-License-Identifier: Apache-2.0
"""Every amphora of the machine loses its power at once: it is doubted, asked, and healed."""

import asyncio
import time
from typing import Any

from colonnade.cli.demo.scenario import PUBLIC, Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.untouched import bystander, serving, settled

HEALED_S_MAX = 60.0  # far less than one a minute would take


async def test_amphorae_that_truly_died_together_are_replaced_soon() -> None:
    async with running("--spares", "1") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario = Scenario(rest, hosts, Figures())
            await scenario.hosts()
            await scenario.create()
            subnet = await hosts.subnet(PUBLIC)
            root = str(scenario.load_balancer["id"])
            all_three = [root, *[await bystander(rest, subnet, name) for name in ("one", "two")]]
            await settled(rest, *all_three)
            found: Any = await rest.get("octavia/amphorae?status=ALLOCATED")
            old = [one["id"] for one in found["amphorae"]]
            assert len(old) == 3

            async def are_replaced() -> bool:
                now = [await serving(rest, one) for one in all_three]
                return all(
                    [status for name, status in amphorae.items() if name not in old]
                    == ["ALLOCATED"]
                    for amphorae in now
                )

            async with scenario.visits(20) as visits:
                await visits.first_ok(since=0.0)
                killed = time.time()
                await asyncio.gather(*(hosts.kill_amphora(one) for one in old))
                await until(are_replaced, within_s=HEALED_S_MAX, what="all to be replaced")
                await settled(rest, *all_three)
                await visits.first_ok(since=killed + 1, within_s=30, what="traffic again")
            fleet: Any = (await rest.get("octavia/fleet"))["fleet"]
            assert sum(fleet["failovers"].values()) >= 3
            assert fleet["failovers"].get("not_running", 0) >= 1
    assert system.left == []
