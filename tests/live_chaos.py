# SPDX-License-Identifier: Apache-2.0
"""Processes of a running system are killed and stopped at random, under load and with writes.

One part is hurt at a time, in an order that the seed says, and the next one when all is well again.
What is told of each is a fact from outside: requests, rows of the API, processes. An amphora may be
replaced by what left it dead or dumb, and by nothing else.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from colonnade.cli.demo.scenario import Scenario
from colonnade.cli.lab.visits import Visits
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError
from tests import inside
from tests.frozen import frozen

RATE: Final = 30.0
STOPPED_S: Final = 6.0  # longer than a silence that counts
WRITE_S: Final = 0.4
BACK_S_MAX: Final = 60.0
UNSERVED: Final = 81  # the port of members that a writer adds
KEPT_MAX: Final = 6  # members that a writer adds
KILLED: Final = (
    "controller",
    "health",
    "api",
    "network",
    "database",
    "agent",
    "haproxy",
    "amphora",
)
STOPPED: Final = ("controller", "health", "api", "network", "database", "agent", "haproxy")
# Whoever does not speak for so long is replaced, as it should be.
REPLACING: Final = ("amphora killed", "agent stopped")
GO_BETWEENS: Final = ("sh", "unshare", "setpriv", "nsenter")


class Act(msgspec.Struct, frozen=True):
    """What was done, and what the clients saw of it until all was well again."""

    cause: str
    gap_s: float  # the longest time without a good answer
    failed: int
    well_s: float  # until all answered, with a spare ready
    replaced: bool

    @property
    def needless(self) -> bool:
        return self.replaced and self.cause not in REPLACING


class Writer:
    """Adds members that take no traffic and drops some, and remembers what was answered."""

    def __init__(self, scenario: Scenario, random: Random) -> None:
        self.kept: set[str] = set()
        self.gone: set[str] = set()
        self.acknowledged = 0
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
            if len(self.kept) >= KEPT_MAX:
                with contextlib.suppress(ColonnadeError):
                    await self._drop(self._random.choice(sorted(self.kept)))
            await asyncio.sleep(WRITE_S)

    async def _add(self, address: str) -> None:
        member = {"address": address, "protocol_port": UNSERVED, "weight": 0}
        made = await self._scenario.rest.post(self._place, {"member": member})
        self.kept.add(made["id"])
        self.acknowledged += 1

    async def _drop(self, member: str) -> None:
        self.kept.discard(member)  # whatever is answered, it may be gone
        await self._scenario.rest.delete(f"{self._place}/{member}")
        self.gone.add(member)
        self.acknowledged += 1

    async def drop_all(self) -> None:
        """Also those of which no answer came."""
        found: Any = await self._scenario.rest.get(self._place)
        for member in found["members"]:
            if member["protocol_port"] == UNSERVED:
                await self._drop(member["id"])

    async def lost(self) -> int:
        """Writes that were answered and do not hold. A member that is dropped is shown until its
        amphora has dropped it too."""
        found: Any = await self._scenario.rest.get(self._place)
        there = {one["id"]: one["provisioning_status"] for one in found["members"]}
        undone = [one for one in self.gone & there.keys() if there[one] != "PENDING_DELETE"]
        return len(self.kept - there.keys()) + len(undone)


class Chaos:
    """A system, the load balancer that is hurt, and what has been done so far."""

    def __init__(self, system: System, scenario: Scenario, random: Random) -> None:
        self.acts: list[Act] = []
        self._system = system
        self._scenario = scenario
        self._random = random

    async def round(self, until_s: float | None = None) -> None:
        """Each part once, in an order of its own. None begins after `until_s` of the clock."""
        causes = [(f"{one} killed", one) for one in KILLED]
        causes += [(f"{one} stopped", one) for one in STOPPED]
        self._random.shuffle(causes)
        for cause, victim in causes:
            if until_s is None or time.monotonic() < until_s:
                self.acts.append(await self._act(cause, victim))

    async def _act(self, cause: str, victim: str) -> Act:
        scenario = self._scenario
        async with scenario.visits(RATE) as visits:
            await visits.first_ok(since=0.0)
            began = time.time()
            served_by = await scenario.serving()
            await self._hurt(victim, is_stopped=cause.endswith("stopped"))
            await _is_well(scenario, visits)
            well_s = time.time() - began
        return Act(
            cause,
            gap_s=visits.longest_gap(began),
            failed=len(visits.failed()),
            well_s=well_s,
            replaced=await scenario.serving() != served_by,
        )

    async def _hurt(self, victim: str, *, is_stopped: bool) -> None:
        if victim == "amphora":
            await self._scenario.lab.kill_amphora(await self._scenario.serving())
            return
        pids = self._pids(victim, is_stopped=is_stopped)
        assert pids, f"no {victim} runs"
        if is_stopped:
            with frozen(pids):
                await asyncio.sleep(STOPPED_S)
            return
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

        async def is_back() -> bool:
            return bool(set(self._pids(victim, is_stopped=False)) - set(pids))

        await until(is_back, within_s=BACK_S_MAX, what=f"{victim} to be back")

    def _pids(self, victim: str, *, is_stopped: bool) -> Sequence[int]:
        """All of a part to be stopped; its first process to be killed, on which the others hang."""
        match victim:
            case "agent":
                found = inside.serving(self._system, inside.AGENT)
            case "haproxy":
                found = inside.serving(self._system, inside.HAPROXY)
            case "database":
                found = _postgres(self._system)
            case _:
                return _daemons(self._system, victim)
        return found if is_stopped else found[:1]


def _postgres(system: System) -> list[int]:
    """The server and its backends, the server first: they are its children."""
    return sorted(
        pid
        for pid, words in leftovers.family(system.mark).items()
        if Path(words.split()[0] if words else "").name.rstrip(":") == "postgres"
    )


def _daemons(system: System, office: str) -> list[int]:
    found = []
    for pid in leftovers.marked(system.mark):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            is_it = f"-m\0colonnade\0{office}\0" in "\0".join(words)
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
