# SPDX-License-Identifier: Apache-2.0
"""All of the control plane stands still, for an hour or for `MINUTES`: nobody is replaced for it,
and no request fails. Database and network daemon stand still too, and all go on at the same moment.

One load balancer is on an amphora alone, one on a pair, one has nothing to serve; 20 requests a
second go to each of the first two. The short form is `tests/e2e/test_control_plane_away.py`, and
with a clock that is moved `tests/contract/test_safe_mode.py`.
"""

import asyncio
import contextlib
import os
import time
from typing import Any, Final

from bench.census import failovers_of
from bench.results import Figures
from colonnade.cli.demo.scenario import PUBLIC
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError
from tests import untouched
from tests.frozen import frozen
from tests.live_chaos import control_plane
from tests.pairs import alone_and_pair

MINUTES: Final = float(os.environ.get("MINUTES", "60"))
RATE: Final = 20.0
HEARD_S_MAX: Final = 60.0
# Those that are not heard again within a minute of a return would be replaced at a trickle.
WATCHED_S: Final = 90.0
GOALS: Final = {"failovers": "0", "failed_requests": "0", "replaced": "0", "leftovers": "0"}


async def measure() -> Figures:
    async with running("--spares", "1") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario, pair = await alone_and_pair(system, rest, hosts)
            other = await untouched.bystander(rest, await hosts.subnet(PUBLIC))
            scenarios = (scenario, pair.scenario)
            roots = [str(one.load_balancer["id"]) for one in scenarios] + [other]
            await untouched.settled(rest, *roots)
            await scenario.spare()
            await _heard(rest)
            before = [await untouched.serving(rest, one) for one in roots]
            async with contextlib.AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(one.visits(RATE)) for one in scenarios]
                for one in clients:
                    await one.first_ok(since=0.0)
                began = time.time()
                with frozen(control_plane(system)):
                    await asyncio.sleep(60 * MINUTES)
                back = time.time()
                await _heard(rest)
                heard_s = time.time() - back
                await asyncio.sleep(WATCHED_S)
            after = [await untouched.serving(rest, one) for one in roots]
            failovers = failovers_of(system)
    return {
        "away_s": round(back - began),
        "heard_again_s": round(heard_s, 1),
        "requests": sum(len(one.all) for one in clients),
        "failed_requests": sum(len(one.failed()) for one in clients),
        "longest_gap_s": round(max(one.longest_gap(began) for one in clients), 2),
        "failovers": failovers,
        "replaced": untouched.replaced(before, after),
        "load_average": round(os.getloadavg()[0], 1),
        "leftovers": len(system.left),
    }


async def _heard(rest: Rest) -> None:
    async def nobody_is_overdue() -> bool:
        with contextlib.suppress(ColonnadeError):
            found: Any = (await rest.get("octavia/fleet"))["fleet"]
            return bool(found["overdue"] == [])
        return False

    await until(nobody_is_overdue, within_s=HEARD_S_MAX, what="all amphorae to be heard")


if __name__ == "__main__":
    print(asyncio.run(measure()))
