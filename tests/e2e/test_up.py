# SPDX-License-Identifier: Apache-2.0
"""The whole system on this machine: it starts, serves, survives what happens to it, and leaves
nothing. Real processes, real packets between namespaces; only loopback of the host is used.
"""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from colonnade.cli.demo.scenario import Figures, Scenario, steps
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import leftovers
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import Unavailable
from tests.frozen import frozen


async def web(rest: Rest, hosts: Hosts) -> Scenario:
    """A load balancer in front of two servers that answers."""
    scenario = Scenario(rest, hosts, Figures())
    for step in (scenario.hosts, scenario.spare, scenario.create):
        await step()
    return scenario


def database_processes(system: System) -> list[int]:
    """PostgreSQL's processes of this system; they call themselves so."""
    found = []
    for pid in leftovers.family(system.mark):
        with contextlib.suppress(OSError):  # it has just ended
            if b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def processes(system: System, words: str) -> list[int]:
    """This system's Python processes with these words in their command line."""
    found = []
    for pid in leftovers.family(system.mark):
        with contextlib.suppress(OSError):  # it has just ended
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if "python" in line.partition(" ")[0] and f"-m {words} " in f"{line} ":
                found.append(pid)
    return found


async def test_the_main_job_holds_from_the_first_request_to_the_last_trace() -> None:
    figures = Figures()
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        for step in steps(Scenario(rest, hosts, figures)):
            await step.take()
    assert system.left == []
    assert figures.failed_requests_during_member_changes == 0
    assert figures.failed_requests_after_detection == 0
    assert set(figures.spread) == {"web1", "web2"}


async def test_a_second_start_on_the_same_state_serves_the_same_load_balancer(
    tmp_path: Path,
) -> None:
    async with (
        running(state=tmp_path) as first,
        Rest(first.endpoint) as rest,
        Hosts(tmp_path) as hosts,
    ):
        made = await web(rest, hosts)
    assert first.left == []
    async with running(state=tmp_path) as second:
        async with Rest(second.endpoint) as rest, Hosts(tmp_path) as hosts:
            again = Scenario(rest, hosts, Figures())
            again.load_balancer = await rest.get(f"lbaas/loadbalancers/{made.load_balancer['id']}")
            again.load_balancer = again.load_balancer["loadbalancer"]
            await again.hosts()
            async with again.visits(50) as visits:
                await visits.first_ok(since=0.0, what="the load balancer of the first run")
    assert again.load_balancer["vip_address"] == made.load_balancer["vip_address"]
    assert second.left == []


async def test_killing_the_supervisor_leaves_nothing_and_the_next_one_carries_on(
    tmp_path: Path,
) -> None:
    async with running(state=tmp_path) as first:
        async with Rest(first.endpoint) as rest, Hosts(tmp_path) as hosts:
            made = await web(rest, hosts)
        os.kill(first.pid, signal.SIGKILL)

        async def all_ended() -> bool:
            return not leftovers.marked(first.mark)

        await until(all_ended, within_s=15, what="every process to end with its supervisor")
    async with running(state=tmp_path) as second, Rest(second.endpoint) as rest:
        answer = await rest.get(f"lbaas/loadbalancers/{made.load_balancer['id']}")
        assert answer["loadbalancer"]["vip_address"] == made.load_balancer["vip_address"]
    assert second.left == []


async def test_down_stops_a_running_system_and_is_content_with_none(tmp_path: Path) -> None:
    async def down() -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *colonnade("down", "--state", str(tmp_path)), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async with running(state=tmp_path) as system:
        code, said = await down()
        assert (code, said.split()[0]) == (0, "stopped")

        async def ended() -> bool:
            return not leftovers.marked(system.mark)

        await until(ended, within_s=5, what="the supervisor to end")
    assert (await down())[0] == 0


async def test_a_second_system_on_the_same_state_is_refused_with_a_reason(tmp_path: Path) -> None:
    async with running(state=tmp_path) as system:
        with pytest.raises(Unavailable, match="is running already"):
            async with running(state=tmp_path):
                pass
        async with Rest(system.endpoint) as rest:
            assert await rest.get("lbaas/loadbalancers")


async def test_traffic_goes_on_while_the_database_is_away_and_all_converges_afterwards() -> None:
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        scenario = await web(rest, hosts)
        serving = await scenario.serving()
        stopped = database_processes(system)
        async with scenario.visits(50) as visits:
            await visits.first_ok(since=0.0)
            began = time.time()
            with frozen(stopped):
                with pytest.raises(Unavailable):
                    await rest.get("lbaas/loadbalancers")
                answered = time.time() - began
                await asyncio.sleep(30 - answered)

            await until(
                lambda: answers(rest), within_s=20, what="the API to find its database again"
            )
            await scenario.third_member()
        assert visits.failed() == []
        assert answered < 5
        assert await scenario.serving() == serving, "no amphora was blamed for the outage"
    assert system.left == []


async def test_a_database_that_dies_is_started_again_and_nobody_notices_for_long() -> None:
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        scenario = await web(rest, hosts)
        record = system.state / "postgres" / "postmaster.pid"
        killed = record.read_text().split()[0]
        os.kill(int(killed), signal.SIGKILL)

        async def another_answers() -> bool:
            # For a moment after its death the old one's processes still answer.
            words = record.read_text().split() if record.exists() else []
            return bool(words) and words[0] != killed and await answers(rest)

        await until(another_answers, within_s=20, what="the API to find a database again")
        await scenario.third_member()
    assert system.left == []


async def answers(rest: Rest) -> bool:
    try:
        return bool(await rest.get("lbaas/loadbalancers"))
    except Unavailable:
        return False
