# SPDX-License-Identifier: Apache-2.0
"""Amphorae of a whole system are killed, one after the other: found when, and served again when.

Each loses its power (all of its processes end at once) while requests flow and spares are ready.
`detected`: until it is FAILED, as the store has it. `answers`: until the first good answer to a
request that began half a second after the kill or later, for one that was past the dead haproxy may
be answered still.
"""

import asyncio
import os
import time

import psycopg

from bench.census import database_url
from bench.results import Figures, percentile
from colonnade.cli.demo.scenario import RATE, Scenario
from colonnade.cli.demo.scenario import Figures as Measured
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until

KILLS = 30
SPARES = 2
READY_S_MAX = 60.0
SHARES = {"p50": 0.5, "p95": 0.95, "max": 1.0}

GOALS = {
    "kills_30.detected_max_s": "3.5 to 5",
    "kills_30.answers_max_s": "< 7",
    "kills_30.leftovers": "0",
}


async def measure() -> Figures:
    detected, answers = [], []
    async with running("--spares", str(SPARES)) as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario = Scenario(rest, hosts, Measured())
            for step in (scenario.hosts, scenario.spare, scenario.create):
                await step()
            for _ in range(KILLS):
                await _spares(rest)
                found_s, back_s = await _kill(system, scenario)
                detected.append(found_s)
                answers.append(back_s)
    found: Figures = {"times": len(answers)}
    for name, took in {"detected": detected, "answers": answers}.items():
        found |= {f"{name}_{w}_s": round(percentile(took, s), 2) for w, s in SHARES.items()}
    found["load_average"] = round(os.getloadavg()[0], 1)
    found["leftovers"] = len(system.left)
    return {f"kills_{KILLS}.{name}": figure for name, figure in found.items()}


async def _kill(system: System, scenario: Scenario) -> tuple[float, float]:
    async with scenario.visits(RATE) as visits:
        await visits.first_ok(since=0.0)
        victim = await scenario.serving()
        killed = time.time()
        await scenario.lab.kill_amphora(victim)
        back = await visits.first_ok(since=killed + 0.5, what="traffic after the failover")
    return _failed_at(system, victim) - killed, back.ended - killed


def _failed_at(system: System, amphora_id: str) -> float:
    with psycopg.connect(database_url(system)) as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM at)::float FROM failovers WHERE amphora_id = %s",
            [amphora_id],
        ).fetchone()
    assert row is not None, "another serves, so it was given up"
    return float(row[0])


async def _spares(rest: Rest) -> None:
    async def ready() -> bool:
        answer = await rest.get("octavia/amphorae?status=READY")
        return len(answer["amphorae"]) >= SPARES

    await until(ready, within_s=READY_S_MAX, what=f"{SPARES} spares", pause_s=0.1)


if __name__ == "__main__":
    print(asyncio.run(measure()))
