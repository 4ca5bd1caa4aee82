# SPDX-License-Identifier: Apache-2.0
"""The control plane is away for a while, and nobody is replaced for it: no request fails."""

import signal
from typing import Any

from colonnade.cli.demo.scenario import PUBLIC, Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.drivers.network.namespaces.processes import ProcessName, kill, name_of
from colonnade.store.fleet import daemons
from tests.untouched import bystander, untouched

SILENT_S = 9.0  # more than twice what an amphora is allowed
RATE = 50.0
WATCHED_S_MAX = 30.0


async def test_an_absent_control_plane_costs_no_request_and_no_failover() -> None:
    async with running("--spares", "1") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            scenario = Scenario(rest, hosts, Figures())
            await scenario.hosts()
            await scenario.create()
            root = str(scenario.load_balancer["id"])
            subnet = await hosts.subnet(PUBLIC)
            others = [await bystander(rest, subnet, name) for name in ("one", "two")]

            async def all_overdue() -> bool:
                found: Any = (await rest.get("octavia/fleet"))["fleet"]
                return [one["silent_s"] > SILENT_S for one in found["overdue"]] == [True] * 3

            async def all_heard() -> bool:
                return bool((await rest.get("octavia/fleet"))["fleet"]["overdue"] == [])

            async with untouched(rest, root, *others):
                await until(all_heard, within_s=WATCHED_S_MAX, what="all to be heard")
                processes = control_plane(system)
                async with scenario.visits(RATE) as visits:
                    for process in processes:
                        kill(process, signal.SIGSTOP)
                    try:
                        await until(all_overdue, within_s=WATCHED_S_MAX, what="a long silence")
                    finally:
                        for process in processes:
                            kill(process, signal.SIGCONT)
                    await until(all_heard, within_s=WATCHED_S_MAX, what="all to be heard again")
                    back = len(visits.all)
                    await until(lambda: _more(visits, back), within_s=30, what="two seconds more")
                assert visits.failed() == []
                assert len(visits.all) > SILENT_S * RATE / 2
            fleet: Any = (await rest.get("octavia/fleet"))["fleet"]
            assert fleet["failovers"] == {}
            assert fleet["problems"] == []
            assert {one["kind"] for one in fleet["daemons"]} == {*daemons.Kind}
    assert system.left == []


def control_plane(system: System) -> list[ProcessName]:
    """Controller and health receiver, without those that only wait for them."""
    found = [
        name_of(pid)
        for pid, words in leftovers.family(system.mark).items()
        if "python" in words.split()[0]
        and any(f"colonnade {office} " in words for office in ("controller", "health"))
    ]
    named = [name for name in found if name is not None]
    assert len(named) == 2, named
    return named


async def _more(visits: Any, before: int) -> bool:
    return len(visits.all) > before + 2 * RATE
