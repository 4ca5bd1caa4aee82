# SPDX-License-Identifier: Apache-2.0
"""Everything of a running system is killed and stopped at random, under load and with writes.

For half an hour, or for `MINUTES`; `SEED` says in which order. What is hurt and what is told of it
is in `tests/live_chaos.py`. Afterwards the system must hold what it held before.
"""

import asyncio
import os
import time
from random import Random

import psycopg

from bench.census import database_url, quiet
from bench.results import Figures, percentile
from colonnade.cli.demo.scenario import PUBLIC, Scenario
from colonnade.cli.demo.scenario import Figures as Measured
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.domain.errors import ColonnadeError
from tests import untouched
from tests.live_chaos import REPLACING, Act, Chaos, Writer

MINUTES = float(os.environ.get("MINUTES", "30"))
SEED = int(os.environ.get("SEED", "1"))

GOALS = {
    "writes_lost": "0",
    "stuck": "0",
    "not_well_again": "0",
    "leaked": "0",
    "needless_failovers": "0",
    "leftovers": "0",
}


async def measure() -> Figures:
    random = Random(SEED)
    async with running("--spares", "1") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario = Scenario(rest, hosts, Measured())
            for step in (scenario.hosts, scenario.spare, scenario.create, scenario.spare):
                await step()
            other = await untouched.bystander(rest, await hosts.subnet(PUBLIC))
            both = str(scenario.load_balancer["id"]), other
            await untouched.settled(rest, *both)
            writer, chaos = Writer(scenario, random), Chaos(system, scenario, random)
            before, unwell = await quiet(system), list[str]()
            beside = await untouched.serving(rest, other)
            writing = asyncio.create_task(writer.write())
            until_s = time.monotonic() + 60 * MINUTES
            while time.monotonic() < until_s:
                try:
                    await chaos.round(until_s)
                except ColonnadeError as error:  # what comes next is told all the same
                    unwell.append(str(error))
                    print(f"{time.strftime('%H:%M:%S')} not well again: {error}")
            writing.cancel()
            await asyncio.wait([writing])
            stuck = await _stuck(rest, both)
            lost, acknowledged = await writer.lost(), writer.acknowledged
            await writer.drop_all()
            stuck = max(stuck, await _stuck(rest, both))
            await scenario.spare()
            after = await quiet(system)
            replaced = beside.keys() - (await untouched.serving(rest, other)).keys()
            failovers = _failovers(system)
    return {
        "writes": acknowledged,
        "writes_lost": lost,
        "stuck": stuck,
        "not_well_again": len(unwell),
        "leaked": sum(abs(more) for more in after.beyond(before).values()),
        **{f"leaked.{name}": more for name, more in after.beyond(before).items()},
        "acts": len(chaos.acts),
        "failovers": failovers,
        "needless_failovers": sum(act.needless for act in chaos.acts) + len(replaced),
        "memory_mb.before": before.pss_mb,
        "memory_mb.after": after.pss_mb,
        **_by_cause(chaos.acts),
        "load_average": round(os.getloadavg()[0], 1),
        "leftovers": len(system.left),
    }


async def _stuck(rest: Rest, load_balancers: tuple[str, ...]) -> int:
    """How many do not become ACTIVE."""
    stuck = 0
    for one in load_balancers:
        try:
            await untouched.settled(rest, one)
        except ColonnadeError:
            stuck += 1
    return stuck


def _failovers(system: System) -> int:
    with psycopg.connect(database_url(system)) as connection:
        row = connection.execute("SELECT count(*) FROM failovers").fetchone()
    return int(row[0]) if row else 0


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
        if cause in REPLACING:
            found[f"{word}.replaced"] = sum(act.replaced for act in same)
    return found


if __name__ == "__main__":
    print(asyncio.run(measure()))
