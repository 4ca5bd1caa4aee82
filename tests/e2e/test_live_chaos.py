# SPDX-License-Identifier: Apache-2.0
"""Each part of a running system is killed and stopped once, under load and with writes: no write
that was answered is lost, nothing is left pending or behind, and no amphora is replaced without
need. For half an hour: `make bench PARTS=chaos`."""

import asyncio
from random import Random

from colonnade.cli.demo.scenario import PUBLIC, Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from tests.live_chaos import Chaos, Writer
from tests.untouched import bystander, settled, untouched

SEED = 1


async def test_whatever_is_killed_nothing_is_lost_stuck_or_replaced_without_need() -> None:
    random = Random(SEED)
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        other = await bystander(rest, await hosts.subnet(PUBLIC))
        writer, chaos = Writer(scenario, random), Chaos(system, scenario)
        async with untouched(rest, other):
            writing = asyncio.create_task(writer.write())
            await chaos.round(random)
            writing.cancel()
            await asyncio.wait([writing])
            await settled(rest, str(scenario.load_balancer["id"]))
        assert await writer.lost() == 0
        assert writer.acknowledged > 0
    assert [act for act in chaos.acts if act.needless] == []
    assert system.left == []
