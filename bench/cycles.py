# SPDX-License-Identifier: Apache-2.0
"""What a system holds before and after 100 load balancers came and went, and 50 at once.

Each is a whole tree: listener, pool with two members, monitor. `CYCLES` and `AT_ONCE` of the
environment say otherwise. Before the first count some come and go, so that what is made once is
there. All that differs afterwards is shown: processes, links, files, rows, memory.
"""

import asyncio
import os
import time
from collections import Counter
from typing import Any

from bench.census import Census, quiet
from bench.results import Figures, percentile
from colonnade.cli.demo.scenario import PUBLIC
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import NotFound
from tests.untouched import settled

CYCLES = int(os.environ.get("CYCLES", "100"))
AT_ONCE = int(os.environ.get("AT_ONCE", "50"))
WARM_UP = 5
SPARES = 2
READY_S_MAX = 120.0
ALL_S_MAX = 900.0

GOALS = {
    "cycles.leaked": "0",
    "at_once.leaked": "0",
    "leftovers": "0",
}


async def measure() -> Figures:
    async with running("--spares", str(SPARES)) as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            trees = Trees(rest, await hosts.subnet(PUBLIC))
            for _ in range(WARM_UP):
                await trees.cycle()
            before = await trees.quiet(system)
            took = [await trees.cycle() for _ in range(CYCLES)]
            after_cycles = await trees.quiet(system)
            began = time.monotonic()
            made = await asyncio.gather(*(trees.create() for _ in range(AT_ONCE)))
            all_active_s = time.monotonic() - began
            serving = await trees.quiet(system)
            began = time.monotonic()
            await asyncio.gather(*(trees.delete(one) for one in made))
            all_gone_s = time.monotonic() - began
            after_many = await trees.quiet(system)
    return {
        "cycles": CYCLES,
        "cycle_p50_s": round(percentile(took, 0.5), 2) if took else None,
        "cycle_max_s": round(max(took), 2) if took else None,
        **_changed("cycles", before, after_cycles),
        "at_once": AT_ONCE,
        "at_once.all_active_s": round(all_active_s, 1),
        "at_once.all_gone_s": round(all_gone_s, 1),
        "at_once.processes": sum(serving.processes.values()),
        "at_once.links": serving.links,
        "at_once.memory_mb": serving.pss_mb,
        **_changed("at_once", before, after_many),
        "load_average": round(os.getloadavg()[0], 1),
        "leftovers": len(system.left),
    }


class Trees:
    """Load balancers that come and go."""

    def __init__(self, rest: Rest, subnet: str) -> None:
        self._rest = rest
        self._subnet = subnet
        self._number = self._there = 0

    async def cycle(self) -> float:
        """Seconds from the wish until it is gone again."""
        began = time.monotonic()
        await self.delete(await self.create())
        return time.monotonic() - began

    async def create(self) -> str:
        """Its id, when all of it is served."""
        self._number += 1
        made = await self._rest.post("lbaas/loadbalancers", {"loadbalancer": self._tree()})
        self._there += 1
        await settled(self._rest, str(made["id"]), within_s=ALL_S_MAX)
        return str(made["id"])

    async def delete(self, load_balancer: str) -> None:
        place = f"lbaas/loadbalancers/{load_balancer}"
        await self._rest.delete(f"{place}?cascade=true")

        async def gone() -> bool:
            try:
                await self._rest.get(place)
            except NotFound:
                return True
            return False

        await until(gone, within_s=ALL_S_MAX, what=f"{load_balancer} to be gone")
        self._there -= 1

    async def quiet(self, system: System) -> Census:
        """With the amphorae that are wanted, and no other on its way to be or to be gone."""

        async def ready() -> bool:
            amphorae = (await self._rest.get("octavia/amphorae?limit=1000"))["amphorae"]
            states = Counter(one["status"] for one in amphorae)
            return states == Counter(READY=SPARES, ALLOCATED=self._there)

        await until(ready, within_s=READY_S_MAX, what=f"{SPARES} spares", pause_s=0.2)
        return await quiet(system)

    def _tree(self) -> dict[str, Any]:
        monitor = {"type": "TCP", "delay": 5, "timeout": 2, "max_retries": 2}
        members = [{"address": f"10.0.0.{100 + n}", "protocol_port": 80} for n in (1, 2)]
        pool: dict[str, Any] = {"name": "web", "protocol": "HTTP"}
        pool |= {"lb_algorithm": "ROUND_ROBIN", "members": members, "healthmonitor": monitor}
        listener = {"name": "web", "protocol": "HTTP", "protocol_port": 80, "default_pool": pool}
        name = f"cycle-{self._number}"
        return {"name": name, "vip_subnet_id": self._subnet, "listeners": [listener]}


def _changed(word: str, before: Census, after: Census) -> Figures:
    changed = after.beyond(before)
    return {
        f"{word}.leaked": sum(abs(more) for more in changed.values()),
        **{f"{word}.leaked.{name}": more for name, more in changed.items()},
        f"{word}.open_files": after.open_files - before.open_files,
        f"{word}.memory_before_mb": before.pss_mb,
        f"{word}.memory_after_mb": after.pss_mb,
        **{
            f"{word}.memory_more_mb.{name}": round(mb - before.memory_mb.get(name, 0.0), 1)
            for name, mb in sorted(after.memory_mb.items())
        },
    }


if __name__ == "__main__":
    print(asyncio.run(measure()))
