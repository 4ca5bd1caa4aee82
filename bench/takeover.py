# SPDX-License-Identifier: Apache-2.0
"""How long clients miss load balancers when something befalls the amphora that serves them.

Each topology meets each cause EVENTS times, each time with all amphorae and spares there, with one
load balancer and with as many as fit on its amphorae. A client opens a connection every 5 ms, so a
gap is as exact as that; in layer 2 a listener notes when the last VIP of all is announced.
`parted`: no packet goes from one half to the other, so both hold the VIP; measured is how long they
still do when packets go again. TOPOLOGIES, CAUSES and LOAD_BALANCERS, words with commas between
them, choose among them.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Final

from bench.results import Figures, percentile
from colonnade.cli.waiting import until
from tests.befallen import CAUSES, TOPOLOGIES, Missed, befallen_site
from tests.pairs import Pair, pair_site


def _chosen(name: str, usual: Sequence[str]) -> list[str]:
    said = os.environ.get(name)
    return said.split(",") if said else list(usual)


EVENTS: Final = int(os.environ.get("EVENTS", "50"))
PARTED: Final = "parted"
CHANGES_S_MAX: Final = 30.0
PAIRS: Final = [f"{topology}_{count}" for topology in ("pair", "routed_pair") for count in (1, 50)]
GOALS: Final = {
    **{f"{pair}_{cause}_gap_p95_s": "< 0.5" for pair in PAIRS for cause in CAUSES},
    "single_1_killed_gap_p95_s": "< 7",
    "parted_two_hold_after_p95_s": "< 0.5",
}


async def measure() -> Figures:
    figures: Figures = {"events": EVENTS}
    topologies = _chosen("TOPOLOGIES", [*TOPOLOGIES, PARTED])
    for count in map(int, _chosen("LOAD_BALANCERS", ("1", "50"))):
        for name in topologies:
            if name != PARTED:
                figures |= await _befallen(name, count)
    if PARTED in topologies:
        async with pair_site("--spares", "2") as pair:
            after = [await _parted(pair) for _ in range(EVENTS)]
        figures |= _spread("parted_two_hold_after", after)
    return figures


async def _befallen(topology: str, count: int) -> Figures:
    figures: Figures = {}
    async with befallen_site(topology, count) as site:
        await site.gather()
        for cause in _chosen("CAUSES", list(CAUSES)):
            missed = [await site.missed(cause) for _ in range(EVENTS)]
            figures |= _figures(f"{topology}_{count}_{cause}", missed)
    return figures


def _figures(name: str, missed: Sequence[Missed]) -> Figures:
    figures = _spread(f"{name}_gap", [one.gap_s for one in missed])
    figures |= _spread(f"{name}_failing", [one.failing_s for one in missed])
    figures[f"{name}_failed_requests"] = sum(one.failed for one in missed)
    figures[f"{name}_moved_min"] = min(one.moved for one in missed)
    announced = [one.announced_s for one in missed if one.announced_s is not None]
    return figures | (_spread(f"{name}_all_announced", announced) if announced else {})


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


def _spread(name: str, seconds: list[float]) -> Figures:
    return {
        f"{name}_p50_s": round(percentile(seconds, 0.5), 3),
        f"{name}_p95_s": round(percentile(seconds, 0.95), 3),
        f"{name}_max_s": round(max(seconds), 3),
    }


if __name__ == "__main__":
    print(asyncio.run(measure()))
