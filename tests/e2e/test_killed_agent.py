# SPDX-License-Identifier: Apache-2.0
"""An agent that is killed is back before it is missed: no request fails, nobody is replaced."""

import os
import signal

from colonnade.cli.demo.scenario import PUBLIC, Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests import inside
from tests.untouched import bystander, untouched

KILLS = 5
RATE = 50.0


async def test_killed_agents_cost_no_request_and_no_failover() -> None:
    async with running("--spares", "1") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario = Scenario(rest, hosts, Figures())
            await scenario.hosts()
            await scenario.create()
            other = await bystander(rest, await hosts.subnet(PUBLIC))

            async def at_work() -> int:
                return inside.agent_at_work(system)

            async with untouched(rest, str(scenario.load_balancer["id"]), other):
                async with scenario.visits(RATE) as visits:
                    for _ in range(KILLS):
                        pid = await until(at_work, within_s=30.0, what="the agent to be at work")
                        os.kill(pid, signal.SIGKILL)
                    await until(at_work, within_s=30.0, what="the agent to be back")
                assert visits.failed() == []
                assert len(visits.all) > RATE
    assert system.left == []
