# SPDX-License-Identifier: Apache-2.0
"""What load balancers on one amphora cost, and how long clients miss them when it dies.

For each number of them, alone and in pairs: how long one more takes until it is served, what the
amphora's processes hold, and the longest time without an answer of some clients, as the amphora
that serves them is killed.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

from bench.results import Figures, percentile
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.domain.limits import LOAD_BALANCERS_PER_AMPHORA_MAX
from tests.shared import Shared

NUMBERS: Final = [int(n) for n in os.environ.get("NUMBERS", "1,10,50").split(",")]
TOPOLOGIES: Final = {"single": "SINGLE", "pair": "ACTIVE_STANDBY"}
CLIENTS_MAX: Final = 5
RATE: Final = 50.0
SETTLE_S_MAX: Final = 900.0
GOALS: Final = {f"pair_{n}_killed_gap_max_s": "< 0.5" for n in NUMBERS}
MIB: Final = 1024


async def measure() -> Figures:
    figures: Figures = {}
    for name, topology in TOPOLOGIES.items():
        for number in NUMBERS:
            found = await _measured(topology, number)
            figures |= {f"{name}_{number}_{word}": value for word, value in found.items()}
    return figures


async def _measured(topology: str, number: int) -> Figures:
    spares = 1 if topology == "SINGLE" else 2
    async with (
        running("--spares", "0") as system,
        Rest(system.endpoint) as rest,
        Hosts(system.state) as hosts,
    ):
        site = Shared(rest, hosts)
        data = {"loadbalancer_topology": topology, "spare_pool_size": spares}
        await site.begin(LOAD_BALANCERS_PER_AMPHORA_MAX, **data)
        await site.spare(spares)
        took = []
        for place in range(number):
            began = time.monotonic()
            await site.add(f"lb{place}")
            took.append(time.monotonic() - began)
        await site.spare(spares)
        active = await site.active()
        agents, proxies = await asyncio.to_thread(_held_mib, system, number)
        step = max(1, number // CLIENTS_MAX)
        async with site.visited(site.roots[::step][:CLIENTS_MAX], RATE) as clients:
            killed = time.time()
            await hosts.kill_amphora(active)
            await asyncio.gather(
                *(one.first_ok(since=killed + 0.5, within_s=SETTLE_S_MAX) for one in clients)
            )
            gaps = [client.longest_gap(killed) for client in clients]
            await site.moved({active}, each=spares, within_s=SETTLE_S_MAX)
            whole_s = time.time() - killed
        return {
            "served_p50_s": round(percentile(took, 0.5), 2),
            "agent_mib": round(agents, 1),
            "haproxy_mib_each": round(proxies / number, 1),
            "killed_gap_max_s": round(max(gaps), 2),
            "killed_all_settled_s": round(whole_s, 1),
        }


def _held_mib(system: System, seats: int) -> tuple[float, float]:
    """Of one amphora that carries so many: its agent, and all haproxies. What processes share
    counts once (proportional set size)."""
    agents: dict[str, float] = {}
    proxies: dict[str, float] = {}
    for pid in leftovers.family(system.mark):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            folder = Path(f"/proc/{pid}/root/run/colonnade")
            namespace = str(Path(f"/proc/{pid}/ns/pid").readlink())
            held = _pss_mib(pid)
            is_carrier = len([*folder.glob("seats/*")]) == seats
        except OSError:
            continue
        if words[-2:-1] == ["colonnade.agent"] and words[0].rpartition("/")[2].startswith("python"):
            if is_carrier:
                agents[namespace] = held
        elif words[0].endswith("haproxy"):
            proxies[namespace] = proxies.get(namespace, 0.0) + held
    one = next(iter(agents))
    return agents[one], proxies.get(one, 0.0)


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / MIB
    return 0.0
