# SPDX-License-Identifier: Apache-2.0
"""Processes of a running system are killed and stopped at random, under load and with writes.

One part is hurt at a time, in an order that the seed says, and the next one when all is well again.
What is told of each is a fact from outside: requests, rows of the API, processes. An amphora may be
replaced by what left it dead or dumb, and by nothing else; and what befalls the amphorae of one
load balancer is no matter of another's.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from colonnade.cli.demo.operator_calls import allocated
from colonnade.cli.demo.scenario import Scenario
from colonnade.cli.lab.visits import Visits
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError, Unavailable
from tests import inside
from tests.frozen import frozen
from tests.pairs import Pair

RATE: Final = 30.0
STOPPED_S: Final = 6.0  # longer than a silence that counts
WRITE_S: Final = 0.4
BACK_S_MAX: Final = 60.0
WELL_S_MAX: Final = 120.0  # a busy machine boots no amphora in less than a minute
UNSERVED: Final = 81  # the port of members that a writer adds
KEPT_MAX: Final = 6  # members that a writer adds
DAEMONS: Final = ("controller", "health", "api", "network", "notifier")
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
# Of a pair: what is hurt of which half, "" for all of it.
HALVES: Final = {
    "active half": ("active", ""),
    "standby half": ("standby", ""),
    "active agent": ("active", inside.AGENT),
    "standby agent": ("standby", inside.AGENT),
    "active haproxy": ("active", inside.HAPROXY),
    "standby haproxy": ("standby", inside.HAPROXY),
    "active keepalived": ("active", inside.KEEPALIVED),
}
PAIR_KILLED: Final = tuple(HALVES)
PAIR_STOPPED: Final = ("active agent", "standby agent", "active haproxy", "standby haproxy")
# Whoever does not speak for so long is replaced, as it should be.
REPLACING: Final = (
    "amphora killed",
    "agent stopped",
    "active half killed",
    "standby half killed",
    "active agent stopped",
    "standby agent stopped",
)
NEEDED: Final = ("controller", "health", "network", "database")  # by a failover
AMPHORAE: Final = ("agent", "haproxy", "amphora")  # of the load balancer on one alone
GO_BETWEENS: Final = ("sh", "unshare", "setpriv", "nsenter")


class Act(msgspec.Struct, frozen=True):
    """What was done, and what the clients saw of it until all was well again."""

    cause: str
    gap_s: float  # the longest time without a good answer of what was hurt
    failed: int
    failed_elsewhere: int  # of load balancers whose amphorae were not
    well_s: float  # until all answered, with a spare ready
    replaced: bool
    replaced_elsewhere: bool

    @property
    def needless(self) -> bool:
        return self.replaced_elsewhere or (self.replaced and not may_replace(self.cause))


def may_replace(cause: str) -> bool:
    return any(one in REPLACING for one in cause.split(" and "))


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


class Blow(msgspec.Struct, frozen=True):
    victim: str
    is_stopped: bool = False

    @property
    def words(self) -> str:
        return f"{self.victim} {'stopped' if self.is_stopped else 'killed'}"


@contextlib.contextmanager
def _telling(blows: Sequence[Blow]) -> Iterator[None]:
    """What was done, where all is not well afterwards."""
    try:
        yield
    except ColonnadeError as error:
        done = " and ".join(blow.words for blow in blows)
        raise Unavailable(f"{error.public} (after: {done})") from error


class Chaos:
    """A system, the load balancer that is hurt, a pair that is too, and what has been done so
    far."""

    def __init__(self, system: System, scenario: Scenario, pair: Pair | None = None) -> None:
        self.acts: list[Act] = []
        self._system = system
        self._scenario = scenario
        self._pair = pair

    async def round(self, random: Random, until_s: float | None = None, *, twos: int = 0) -> None:
        """Each part once, in an order of its own; so often, an amphora and one of those that would
        replace it. None begins after `until_s` of the clock."""
        with_pair = self._pair is not None
        blows = [[Blow(one)] for one in (*KILLED, *(PAIR_KILLED if with_pair else ()))]
        stopped = (*STOPPED, *(PAIR_STOPPED if with_pair else ()))
        blows += [[Blow(one, is_stopped=True)] for one in stopped]
        for _ in range(twos):
            amphora = random.choice(("amphora", *(("active half",) if with_pair else ())))
            other = Blow(random.choice(NEEDED), is_stopped=random.random() < 0.5)
            blows.append([Blow(amphora), other])
        random.shuffle(blows)
        for one in blows:
            if until_s is None or time.monotonic() < until_s:
                with _telling(one):
                    self.acts.append(await self._act(one))

    async def _act(self, blows: Sequence[Blow]) -> Act:
        scenarios = [self._scenario, *([self._pair.scenario] if self._pair is not None else [])]
        hurt = [any(blow.victim in own for blow in blows) for own in (AMPHORAE, HALVES)]
        hurt = hurt if any(hurt) else [True, True]  # the control plane is everybody's
        async with contextlib.AsyncExitStack() as stack:
            visits = [await stack.enter_async_context(one.visits(RATE)) for one in scenarios]
            for one in visits:
                await one.first_ok(since=0.0)
            before = [await _serving(one) for one in scenarios]
            places = [await self._place(blow.victim) for blow in blows]
            began = time.time()
            await asyncio.gather(
                *(self._hurt(blow, *place) for blow, place in zip(blows, places, strict=True))
            )
            await self._is_well(visits)
            well_s = time.time() - began
        replaced = [
            bool(was - await _serving(one)) for one, was in zip(scenarios, before, strict=True)
        ]
        seen = list(zip(visits, replaced, hurt, strict=False))
        return Act(
            " and ".join(blow.words for blow in blows),
            gap_s=max(one.longest_gap(began) for one, _, is_hurt in seen if is_hurt),
            failed=sum(len(one.failed()) for one, _, is_hurt in seen if is_hurt),
            failed_elsewhere=sum(len(one.failed()) for one, _, is_hurt in seen if not is_hurt),
            well_s=well_s,
            replaced=any(is_other for _, is_other, is_hurt in seen if is_hurt),
            replaced_elsewhere=any(is_other for _, is_other, is_hurt in seen if not is_hurt),
        )

    async def _hurt(self, blow: Blow, amphora_id: str, words: str) -> None:
        victim = blow.victim
        if amphora_id and not words:
            await self._scenario.lab.kill_amphora(amphora_id)
            return
        pids = self._pids(victim, amphora_id, words)
        assert pids, f"no {victim} runs"
        if blow.is_stopped:
            with frozen(pids):
                await asyncio.sleep(STOPPED_S)
            return
        pids = pids[:1]  # on which the others hang
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

        async def is_back() -> bool:
            return bool(set(self._pids(victim, amphora_id, words)[:1]) - set(pids))

        await until(is_back, within_s=BACK_S_MAX, what=f"{victim} to be back")

    async def _place(self, victim: str) -> tuple[str, str]:
        """The amphora that it is in, and the words of its command line, "" for all of the amphora.
        Both are "" for what is in none."""
        if self._pair is not None and victim in HALVES:
            which, words = HALVES[victim]
            active, standby = await self._pair.whole(WELL_S_MAX, settled=False)
            return (active if which == "active" else standby), words
        if victim not in AMPHORAE:
            return "", ""
        words = {"agent": inside.AGENT, "haproxy": inside.HAPROXY}.get(victim, "")
        return await self._scenario.serving(), words

    def _pids(self, victim: str, amphora_id: str, words: str) -> Sequence[int]:
        """All of a part, the first process of it before those that hang on it."""
        if amphora_id:
            return inside.of(self._system, amphora_id, words)
        return _postgres(self._system) if victim == "database" else _daemons(self._system, victim)

    async def _is_well(self, visits: Sequence[Visits]) -> None:
        """Answered again, with the API at work and a spare ready for whoever is next."""

        async def answers() -> bool:
            with contextlib.suppress(ColonnadeError):
                return bool(await self._scenario.rest.get("lbaas/loadbalancers"))
            return False

        await until(answers, within_s=BACK_S_MAX, what="the API to answer")
        for one in visits:
            await one.first_ok(since=time.time(), within_s=BACK_S_MAX, what="traffic afterwards")
        await self._scenario.spare()
        if self._pair is not None:
            await self._pair.whole(WELL_S_MAX, settled=False)


async def _serving(scenario: Scenario) -> set[str]:
    await scenario.serving()
    found = await allocated(scenario.rest, scenario.load_balancer["id"])
    return {str(one["id"]) for one in found}


def control_plane(system: System) -> list[int]:
    """All of its processes, the database's too, but for the supervisor."""
    return [pid for one in DAEMONS for pid in _daemons(system, one)] + _postgres(system)


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
