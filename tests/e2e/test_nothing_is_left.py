# SPDX-License-Identifier: Apache-2.0
"""Load balancers that came and went leave nothing in a system that runs on: no process, link, file
or row. The same for a hundred of them, and fifty at once: `make bench PARTS=cycles`."""

import asyncio

from bench.cycles import SPARES, Trees
from colonnade.cli.demo.scenario import PUBLIC
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest

AT_ONCE = 3


async def test_load_balancers_that_came_and_went_leave_nothing() -> None:
    async with running("--spares", str(SPARES)) as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            trees = Trees(rest, await hosts.subnet(PUBLIC))
            await trees.cycle()  # what is made once is there
            before = await trees.quiet(system)
            await trees.cycle()
            made = await asyncio.gather(*(trees.create() for _ in range(AT_ONCE)))
            assert (await trees.quiet(system)).beyond(before) != {}, "what is there is counted"
            await asyncio.gather(*(trees.delete(one) for one in made))
            assert (await trees.quiet(system)).beyond(before) == {}
    assert system.left == []
