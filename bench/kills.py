# SPDX-License-Identifier: Apache-2.0
"""What traffic pays when a part of an amphora dies, on a machine that is kept busy meanwhile.

Agents are killed one after the other, each as soon as it is at work; then haproxy's master, its
worker, and haproxy is stopped (SIGSTOP) and goes on running without an answer. Requests flow at a
constant rate. A gap is the longest time without a good answer around one kill, so it has the
client's own waiting in it.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from bench.results import Figures, percentile
from colonnade.cli.demo.scenario import PUBLIC, Scenario
from colonnade.cli.demo.scenario import Figures as Measured
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visit, Visits
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.drivers.network.namespaces.processes import ProcessName, name_of
from tests import inside, untouched

LOAD = 4  # processes that always want a processor
AGENTS, ROUNDS, DEATHS = 50, 5, 5  # agents in as many rounds; deaths of haproxy of each kind
RATE = 100.0
BACK_S_MAX = 30.0
CALM_S = 1.0  # of requests before a kill, and after what was killed is back
BUSY = "while True: pass"

GOALS = {
    "agent_kills_failed_requests": "0",
    "haproxy_master_gap_max_s": "< 0.3",
    "haproxy_worker_gap_max_s": "< 0.3",
    "haproxy_stopped_noticed_max_s": "< 2",
    "amphorae_replaced": "0",
    "leftovers": "0",
}


async def measure() -> Figures:
    async with running("--spares", "1") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario = Scenario(rest, hosts, Measured())
            for step in (scenario.hosts, scenario.spare, scenario.create):
                await step()
            other = await untouched.bystander(rest, await hosts.subnet(PUBLIC))
            both = str(scenario.load_balancer["id"]), other
            await untouched.settled(rest, *both)
            before = [await untouched.serving(rest, one) for one in both]
            async with _busy(LOAD):
                kills = Kills(system, scenario)
                figures = {
                    **await kills.agents(),
                    **await kills.haproxies("master", signal.SIGKILL),
                    **await kills.haproxies("worker", signal.SIGKILL),
                    **await kills.haproxies("stopped", signal.SIGSTOP),
                    "load_average": round(os.getloadavg()[0], 1),
                }
            await untouched.settled(rest, *both)
            after = [await untouched.serving(rest, one) for one in both]
            gone = sum(len(one.keys() - now.keys()) for one, now in zip(before, after, strict=True))
    return {**figures, "amphorae_replaced": gone, "leftovers": len(system.left)}


class Kills:
    def __init__(self, system: System, scenario: Scenario) -> None:
        self._system = system
        self._scenario = scenario

    async def agents(self) -> Figures:
        gaps, back, visits = [], [], []
        for _ in range(ROUNDS):
            async with self._scenario.visits(RATE) as flow:
                await _calm(flow)
                for _ in range(AGENTS // ROUNDS):
                    pid = await until(self._agent, within_s=BACK_S_MAX, what="the agent at work")
                    killed = time.time()
                    os.kill(pid, signal.SIGKILL)
                    await until(self._agent, within_s=BACK_S_MAX, what="the agent to be back")
                    back.append(time.time() - killed)
                await _calm(flow)
            gaps.append(_gap(flow.all))
            visits += flow.all
        return {
            "agent_kills": len(back),
            "agent_kills_requests": len(visits),
            "agent_kills_failed_requests": sum(not visit.ok for visit in visits),
            "agent_kills_gap_max_s": round(max(gaps), 3),
            "agent_back_p50_s": round(percentile(back, 0.5), 2),
            "agent_back_max_s": round(max(back), 2),
        }

    async def haproxies(self, kind: str, number: signal.Signals) -> Figures:
        """One haproxy after the other; `noticed`: until the process is gone, `gap`: until another
        answers."""
        gaps, noticed, visits = [], [], []
        for _ in range(DEATHS):
            async with self._scenario.visits(RATE) as flow:
                await _calm(flow)
                await until(self._agent, within_s=BACK_S_MAX, what="the agent at work")
                victim = self._haproxy(is_master=kind == "master")
                began = time.time()
                os.kill(victim.pid, number)
                await _gone(victim)
                noticed.append(time.time() - began)
                await flow.first_ok(since=time.time(), what="an answer of another haproxy")
                await _calm(flow)
            gaps.append(_gap([visit for visit in flow.all if visit.ended > began - CALM_S]))
            visits += flow.all
        found: Figures = {
            f"haproxy_{kind}_gap_p50_s": round(percentile(gaps, 0.5), 3),
            f"haproxy_{kind}_gap_max_s": round(max(gaps), 3),
            f"haproxy_{kind}_failed_requests": sum(not visit.ok for visit in visits),
        }
        if number is signal.SIGSTOP:
            found["haproxy_stopped_noticed_max_s"] = round(max(noticed), 3)
        return found

    async def _agent(self) -> int:
        return inside.agent_at_work(self._system)

    def _haproxy(self, *, is_master: bool) -> ProcessName:
        """The master, or its newest worker: the one that is nobody's parent here."""
        family = {pid: _parent(pid) for pid in inside.serving(self._system, inside.HAPROXY)}
        masters = set(family.values()) & family.keys()
        chosen = masters if is_master else family.keys() - masters
        found = name_of(max(chosen))
        assert found is not None, "haproxy ended by itself"
        return found


@contextlib.asynccontextmanager
async def _busy(count: int) -> AsyncIterator[None]:
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY) for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            await process.wait()


async def _calm(flow: Visits) -> None:
    await flow.first_ok(since=time.time() + CALM_S)


async def _gone(process: ProcessName) -> None:
    async def gone() -> bool:
        return not process.is_alive

    await until(gone, within_s=BACK_S_MAX, what="the haproxy to be gone", pause_s=0.01)


def _gap(visits: Sequence[Visit]) -> float:
    ended = sorted(visit.ended for visit in visits if visit.ok)
    return max(later - earlier for earlier, later in itertools.pairwise(ended))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


if __name__ == "__main__":
    print(asyncio.run(measure()))
