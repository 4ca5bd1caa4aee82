# SPDX-License-Identifier: Apache-2.0
"""How long clients miss a load balancer when something befalls the amphora that serves it.

A pair meets each cause EVENTS times, each time with two halves and spares there; a single amphora
is killed as often. A client opens a connection every 5 ms, so a gap is as exact as that. `parted`:
no packet goes from one half to the other, so both hold the VIP; measured is how long they still do
when packets go again.
"""

import asyncio
import os
import time
from typing import Final

from bench.results import Figures, percentile
from colonnade.cli.demo.scenario import Figures as Measured
from colonnade.cli.demo.scenario import Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.pairs import CAUSES, RATE, Pair, gap_of, pair_site

EVENTS: Final = int(os.environ.get("EVENTS", "50"))
CHANGES_S_MAX: Final = 30.0
GOALS: Final = {
    **{f"pair_{cause.__name__}_gap_p95_s": "< 0.5" for cause in CAUSES},
    "single_killed_gap_p95_s": "< 7",
    "parted_two_hold_after_p95_s": "< 0.5",
}


async def measure() -> Figures:
    figures: Figures = {"events": EVENTS}
    async with pair_site("--spares", "2") as pair:
        for cause in CAUSES:
            gaps = [await gap_of(pair, cause) for _ in range(EVENTS)]
            figures |= _spread(f"pair_{cause.__name__}_gap", [gap for gap, _ in gaps])
            figures[f"pair_{cause.__name__}_failed_requests"] = sum(failed for _, failed in gaps)
        figures |= _spread("parted_two_hold_after", [await _parted(pair) for _ in range(EVENTS)])
    return figures | _spread("single_killed_gap", await _single())


async def _parted(pair: Pair) -> float:
    """Until one holds the VIP, since packets go again."""
    await pair.whole()
    await pair.part()

    async def hold(count: int) -> bool:
        return len(await pair.holders()) == count

    await until(lambda: hold(2), within_s=CHANGES_S_MAX, what="two that hold the VIP", pause_s=0.01)
    await pair.part(mend=True)
    mended = time.monotonic()
    await until(
        lambda: hold(1), within_s=CHANGES_S_MAX, what="one that holds the VIP", pause_s=0.01
    )
    return time.monotonic() - mended


async def _single() -> list[float]:
    gaps = []
    async with running("--spares", "2") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario = Scenario(rest, hosts, Measured())
            for step in (scenario.hosts, scenario.spare, scenario.create):
                await step()
            for _ in range(EVENTS):
                await scenario.spare()
                async with scenario.visits(RATE) as visits:
                    await visits.first_ok(since=0.0)
                    began = time.time()
                    await hosts.kill_amphora(await scenario.serving())
                    await visits.first_ok(since=began + 0.5, what="traffic after the failover")
                    over = time.time()
                gaps.append(visits.longest_gap(began, over))
    return gaps


def _spread(name: str, seconds: list[float]) -> Figures:
    return {
        f"{name}_p50_s": round(percentile(seconds, 0.5), 3),
        f"{name}_p95_s": round(percentile(seconds, 0.95), 3),
        f"{name}_max_s": round(max(seconds), 3),
    }


if __name__ == "__main__":
    print(asyncio.run(measure()))
