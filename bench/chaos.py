# SPDX-License-Identifier: Apache-2.0
"""Everything of a running system is killed and stopped at random, under load and with writes.

One load balancer is on an amphora alone, one on a pair; both are hurt. Beside them are some that
nobody touches: one on an amphora of its own, two that share one. For half an hour, or for
`MINUTES`, in rounds; `SEED` says in which order. What is hurt and what is told of it is in
`tests/live_chaos.py`. Afterwards the system must hold what it held before.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from random import Random

from bench.census import failovers_of, quiet
from bench.results import Figures, percentile
from colonnade.cli.demo.operator_calls import make_flavor
from colonnade.cli.demo.scenario import PUBLIC, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.domain.errors import ColonnadeError
from tests import untouched
from tests.live_chaos import Act, Chaos, Writer, may_replace
from tests.pairs import alone_and_pair
from tests.shared import Shared

MINUTES = float(os.environ.get("MINUTES", "30"))
SEED = int(os.environ.get("SEED", "1"))  # of the first round; each has the next one
TWOS = 4  # in a round, blows of two parts at once

GOALS = {
    "writes_lost": "0",
    "stuck": "0",
    "not_well_again": "0",
    "leaked": "0",
    "needless_failovers": "0",
    "failed_elsewhere": "0",
    "leftovers": "0",
}


async def measure() -> Figures:
    random = Random(SEED)
    async with running("--spares", "2") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario, pair = await alone_and_pair(system, rest, hosts)
            others = await _bystanders(rest, hosts, scenario)
            mine = [str(one.load_balancer["id"]) for one in (scenario, pair.scenario)]
            await untouched.settled(rest, *mine, *others)
            writers = [Writer(one, random) for one in (scenario, pair.scenario)]
            chaos, unwell, rounds = Chaos(system, scenario, pair), list[str](), 0
            scenario.spares = 2
            await scenario.spare()
            scenario.spares = 1
            before = await quiet(system)
            beside = [await untouched.serving(rest, one) for one in others]
            writing = [asyncio.create_task(one.write()) for one in writers]
            until_s = time.monotonic() + 60 * MINUTES
            while time.monotonic() < until_s:
                seed = SEED + rounds
                try:
                    await chaos.round(Random(seed), until_s, twos=TWOS)
                except ColonnadeError as error:  # what comes next is told all the same
                    unwell.append(str(error))
                    print(f"{time.strftime('%H:%M:%S')} not well again, seed {seed}: {error}")
                rounds += 1
            for task in writing:
                task.cancel()
            await asyncio.wait(writing)
            stuck = await _stuck(rest, [*mine, *others])
            lost = sum([await one.lost() for one in writers])
            acknowledged = sum(one.acknowledged for one in writers)
            for one in writers:
                await one.drop_all()
            stuck = max(stuck, await _stuck(rest, [*mine, *others]))
            scenario.spares = 2
            await scenario.spare()
            after = await quiet(system)
            now = [await untouched.serving(rest, one) for one in others]
            replaced = untouched.replaced(beside, now)
            failovers = failovers_of(system)
    return {
        "writes": acknowledged,
        "writes_lost": lost,
        "stuck": stuck,
        "not_well_again": len(unwell),
        "leaked": sum(abs(more) for more in after.beyond(before).values()),
        **{f"leaked.{name}": more for name, more in after.beyond(before).items()},
        "acts": len(chaos.acts),
        "rounds": rounds,
        "failovers": failovers,
        "needless_failovers": sum(act.needless for act in chaos.acts) + replaced,
        "failed_elsewhere": sum(act.failed_elsewhere for act in chaos.acts),
        "memory_mb.before": before.pss_mb,
        "memory_mb.after": after.pss_mb,
        **_by_cause(chaos.acts),
        "load_average": round(os.getloadavg()[0], 1),
        "leftovers": len(system.left),
    }


async def _bystanders(rest: Rest, hosts: Hosts, scenario: Scenario) -> list[str]:
    """One on an amphora of its own, and two on one; none of them has traffic."""
    subnet = await hosts.subnet(PUBLIC)
    packed = Shared(rest, hosts)
    packed.member = scenario.addresses["web1"]
    packed.flavor = await make_flavor(rest, "packed", {"max_load_balancers": 2})
    roots = [await packed.add(name) for name in ("packed1", "packed2")]
    return [await untouched.bystander(rest, subnet), *(str(root["id"]) for root in roots)]


async def _stuck(rest: Rest, load_balancers: Sequence[str]) -> int:
    """How many do not become ACTIVE."""
    stuck = 0
    for one in load_balancers:
        try:
            await untouched.settled(rest, one)
        except ColonnadeError:
            stuck += 1
    return stuck


def _by_cause(acts: list[Act]) -> Figures:
    found: Figures = {}
    for cause in sorted({act.cause for act in acts}):
        same = [act for act in acts if act.cause == cause]
        gaps = [act.gap_s for act in same]
        word = cause.replace(" ", "_")
        found[f"{word}.times"] = len(same)
        found[f"{word}.gap_p50_s"] = round(percentile(gaps, 0.5), 2)
        found[f"{word}.gap_max_s"] = round(max(gaps), 2)
        found[f"{word}.failed_requests"] = sum(act.failed for act in same)
        if may_replace(cause):
            found[f"{word}.replaced"] = sum(act.replaced for act in same)
    return found


if __name__ == "__main__":
    print(asyncio.run(measure()))
