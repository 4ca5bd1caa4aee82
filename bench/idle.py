# SPDX-License-Identifier: Apache-2.0
"""What a system costs that has nothing to do: `colonnade up` with two spares, left alone.

Memory is counted as PSS, where pages that several processes share are split between them, and as
RSS, where they are counted again in each; processor time includes children that came and went.
All processes of the run are found by its mark, also those inside the lab.
"""

import asyncio
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.processes import megabytes
from bench.results import Figures
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until

SPARES = 2
SPARES_S_MAX = 60.0
SETTLE_S = 20.0
WATCH_S = 30.0
TICKS = os.sysconf("SC_CLK_TCK")

GOALS = {
    "cpu_percent.all": "< 5",
    "pss_mb.without_agents": "< 350, the control plane with its database",
    "pss_mb.agent_each": "< 45",
    "rss_mb.agent_each": "< 45",
    "ready_again_s": "< 3",
}


class Cost(msgspec.Struct):
    """What the processes of one name have cost so far, and hold now."""

    cpu_s: float = 0.0
    pss_mb: float = 0.0
    rss_mb: float = 0.0
    processes: int = 0


async def measure() -> Figures:
    folder = Path(tempfile.mkdtemp(prefix="colonnade-"))
    try:
        async with running("--spares", str(SPARES), state=folder) as system:
            await _spares_are_ready(system)
            await asyncio.sleep(SETTLE_S)
            first = _costs(system.mark)
            await asyncio.sleep(WATCH_S)
            found = _figures(first, _costs(system.mark))
        async with running("--spares", str(SPARES), state=folder) as again:
            await _spares_are_ready(again)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "ready_first_s": round(system.ready_s, 2),
        "ready_again_s": round(again.ready_s, 2),
        **found,
        "leftovers": len(system.left) + len(again.left),
    }


async def _spares_are_ready(system: System) -> None:
    async with Rest(system.endpoint) as rest:

        async def ready() -> bool:
            answer = await rest.get("octavia/amphorae?status=READY")
            return len(answer["amphorae"]) >= SPARES

        await until(ready, within_s=SPARES_S_MAX, what=f"{SPARES} spares", pause_s=0.1)


def _figures(first: Mapping[str, Cost], last: Mapping[str, Cost]) -> Figures:
    figures: Figures = {}
    whole = Cost()
    for name, cost in sorted(last.items()):
        used = cost.cpu_s - first.get(name, Cost()).cpu_s
        figures[f"cpu_percent.{name}"] = round(used / WATCH_S * 100, 2)
        figures[f"pss_mb.{name}"] = round(cost.pss_mb, 1)
        figures[f"rss_mb.{name}"] = round(cost.rss_mb, 1)
        whole.cpu_s += used
        whole.pss_mb += cost.pss_mb
        whole.rss_mb += cost.rss_mb
        whole.processes += cost.processes
    agents = last["agent"]
    figures["pss_mb.without_agents"] = round(whole.pss_mb - agents.pss_mb, 1)
    figures["pss_mb.agent_each"] = round(agents.pss_mb / agents.processes, 1)
    figures["rss_mb.agent_each"] = round(agents.rss_mb / agents.processes, 1)
    figures["cpu_percent.all"] = round(whole.cpu_s / WATCH_S * 100, 2)
    figures["pss_mb.all"] = round(whole.pss_mb, 1)
    figures["rss_mb.all"] = round(whole.rss_mb, 1)
    figures["processes"] = whole.processes
    return figures


def _costs(mark: str) -> dict[str, Cost]:
    costs: dict[str, Cost] = defaultdict(Cost)
    for pid in leftovers.family(mark):
        try:
            place = Path(f"/proc/{pid}")
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            memory = (place / "smaps_rollup").read_text()
        except OSError:
            continue  # gone meanwhile
        cost = costs[kind_of(words)]
        cost.cpu_s += sum(map(int, fields[11:15])) / TICKS  # its own and its ended children's
        cost.pss_mb += megabytes(memory, "Pss:")
        cost.rss_mb += megabytes(memory, "Rss:")
        cost.processes += 1
    return dict(costs)


def kind_of(words: list[str]) -> str:
    if "postgres" in words[0]:
        return "postgres"
    match Path(words[0]).name.startswith("python"), [word for word in words[1:] if word != "-I"]:
        case True, ["-m", "colonnade.agent", *_]:
            return "agent"
        case True, ["-m", "colonnade", process, *_]:
            return process
    return "shells"  # first processes of namespaces, and what keeps them


if __name__ == "__main__":
    print(asyncio.run(measure()))
