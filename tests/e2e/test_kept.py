# SPDX-License-Identifier: Apache-2.0
"""`colonnade up --keep`: amphorae serve on when it ends, the next one adopts them, and an `up`
without the word ends them."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visits
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.untouched import failures, serving, settled

RATE = 50.0


async def test_amphorae_serve_on_while_supervisors_come_and_go(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with running("--keep", "--spares", "0", state=tmp_path) as first:
            async with Rest(first.endpoint) as rest, Hosts(tmp_path) as hosts:
                scenario = Scenario(rest, hosts, Figures())
                await scenario.hosts()
                await scenario.create()
                name = str(scenario.load_balancer["id"])
                before = await serving(rest, name)
                visits = await stack.enter_async_context(scenario.visits(RATE))
                await visits.first_ok(since=0.0)
            os.kill(first.pid, signal.SIGKILL)
        await served_for_a_second(visits)
        async with (
            running("--keep", "--spares", "0", state=tmp_path) as second,
            Rest(second.endpoint) as rest,
        ):
            await until(lambda: _all_heard(rest), within_s=30, what="the amphora to be heard")
            # It is not only left alone: it takes changes.
            change = {"loadbalancer": {"description": "adopted"}}
            await rest.put(f"lbaas/loadbalancers/{name}", change)
            await settled(rest, name)
            assert await serving(rest, name) == before
            assert await failures(rest, name) == []
        await served_for_a_second(visits)
        assert len(before) == 1
        assert visits.failed() == []
    assert leftovers.family(first.mark)
    async with running("--spares", "0", state=tmp_path) as plain:
        assert leftovers.family(first.mark) == {}
    assert plain.left == []


async def served_for_a_second(visits: Visits) -> None:
    since = time.time()
    await visits.first_ok(since=since + 1.0, what="an answer without a supervisor")


async def _all_heard(rest: Rest) -> bool:
    found: Any = (await rest.get("octavia/fleet"))["fleet"]
    return bool(found["overdue"] == [] and found["daemons"])
