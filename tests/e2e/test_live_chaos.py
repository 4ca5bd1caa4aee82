# SPDX-License-Identifier: Apache-2.0
"""Processes of a running system are killed and stopped at random, under load and with writes.

One round of each kind, or as many as begin in `MINUTES`; `SEED` says in which order. No write that
was answered is lost, nothing is left pending or behind, and no amphora is replaced but those whose
power was cut. With `-s` the longest gap by cause is told.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from colonnade.cli.demo.scenario import PUBLIC, Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visits
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError
from tests import inside
from tests.frozen import frozen
from tests.untouched import bystander, settled, untouched

RATE = 30.0
STOPPED_S = 6.0  # longer than a silence that counts
WRITE_S = 0.4
BACK_S_MAX = 60.0
MINUTES = float(os.environ.get("MINUTES", "0"))
SEED = int(os.environ.get("SEED", "1"))
KILLED = ("controller", "health", "api", "network", "agent", "haproxy", "amphora")
STOPPED = ("controller", "health", "api")
GO_BETWEENS = ("sh", "unshare", "setpriv", "nsenter")


class Writer:
    """Adds members that take no traffic and drops some, and remembers what was answered."""

    def __init__(self, scenario: Scenario, random: Random) -> None:
        self.kept: set[str] = set()
        self.gone: set[str] = set()
        self._scenario = scenario
        self._random = random
        self._place = f"lbaas/pools/{scenario.pool}/members"

    async def write(self) -> None:
        """Until cancelled."""
        number = 0
        while True:
            number = number % 200 + 1
            with contextlib.suppress(ColonnadeError):
                await self._add(f"10.0.0.{number + 40}")
            if len(self.kept) > 5:
                with contextlib.suppress(ColonnadeError):
                    await self._drop(self._random.choice(sorted(self.kept)))
            await asyncio.sleep(WRITE_S)

    async def _add(self, address: str) -> None:
        member = {"address": address, "protocol_port": 81, "weight": 0}
        made = await self._scenario.rest.post(self._place, {"member": member})
        self.kept.add(made["id"])

    async def _drop(self, member: str) -> None:
        self.kept.discard(member)  # whatever is answered, it may be gone
        await self._scenario.rest.delete(f"{self._place}/{member}")
        self.gone.add(member)

    async def assert_nothing_is_lost(self) -> None:
        found: Any = await self._scenario.rest.get(self._place)
        there = {member["id"] for member in found["members"]}
        assert self.kept <= there
        assert self.gone.isdisjoint(there)


async def test_whatever_is_killed_nothing_is_lost_stuck_or_replaced_without_need() -> None:
    random = Random(SEED)
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        other = await bystander(rest, await hosts.subnet(PUBLIC))
        writer = Writer(scenario, random)
        async with untouched(rest, other):
            writing = asyncio.create_task(writer.write())
            gaps = await _rounds(system, scenario, random)
            writing.cancel()
            await asyncio.wait([writing])
            await settled(rest, str(scenario.load_balancer["id"]))
        await writer.assert_nothing_is_lost()
    for cause, gap in sorted(gaps.items(), key=lambda one: -one[1]):
        print(f"{cause}: longest gap {gap:.2f} s")  # noqa: T201 - with -s
    assert system.left == []


async def _rounds(system: System, scenario: Scenario, random: Random) -> dict[str, float]:
    """The longest gap by cause."""
    gaps: dict[str, float] = {}
    until_s = time.monotonic() + 60 * MINUTES
    while not gaps or time.monotonic() < until_s:
        causes = [(f"{one} killed", one) for one in KILLED]
        causes += [(f"{one} stopped", one) for one in STOPPED]
        random.shuffle(causes)
        for cause, victim in causes:
            async with scenario.visits(RATE) as visits:
                await visits.first_ok(since=0.0)
                began = time.time()
                served_by = await scenario.serving()
                await _hurt(system, scenario, victim, is_stopped=cause.endswith("stopped"))
                await _is_well(scenario, visits)
            if victim != "amphora":
                assert await scenario.serving() == served_by, f"{cause}: nobody else"
            gaps[cause] = max(gaps.get(cause, 0.0), _longest_gap(visits, began))
    return gaps


async def _hurt(system: System, scenario: Scenario, victim: str, *, is_stopped: bool) -> None:
    if victim == "amphora":
        await scenario.spare()
        await scenario.lab.kill_amphora(await scenario.serving())
        return
    pids = _pids(system, victim)
    assert pids, f"no {victim} runs"
    if is_stopped:
        with frozen(pids):
            await asyncio.sleep(STOPPED_S)
        return
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    async def is_back() -> bool:
        return bool(set(_pids(system, victim)) - set(pids))

    await until(is_back, within_s=BACK_S_MAX, what=f"{victim} to be back")


def _pids(system: System, victim: str) -> Sequence[int]:
    if victim == "agent":
        return inside.serving(system, inside.AGENT)[:1]
    if victim == "haproxy":
        return inside.serving(system, inside.HAPROXY)[:1]
    found = []
    for pid in leftovers.marked(system.mark):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            is_it = f"-m\0colonnade\0{victim}\0" in "\0".join(words)
            if is_it and Path(words[0]).name not in GO_BETWEENS:
                found.append(pid)
    return sorted(found)


async def _is_well(scenario: Scenario, visits: Visits) -> None:
    """Answered again, with the API at work and a spare ready for whoever is next."""

    async def answers() -> bool:
        with contextlib.suppress(ColonnadeError):
            return bool(await scenario.rest.get("lbaas/loadbalancers"))
        return False

    await until(answers, within_s=BACK_S_MAX, what="the API to answer")
    await visits.first_ok(since=time.time(), within_s=BACK_S_MAX, what="traffic afterwards")
    await scenario.spare()


def _longest_gap(visits: Visits, since: float) -> float:
    ends = sorted(visit.ended for visit in visits.all if visit.ok and visit.ended > since)
    return max(after - before for before, after in zip([since, *ends], ends, strict=False))
