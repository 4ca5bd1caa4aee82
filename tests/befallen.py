# SPDX-License-Identifier: Apache-2.0
"""Load balancers of any topology, one or many on an amphora, what may befall the amphora that
serves them, and how long clients miss them.

What befalls it is done from outside, to real processes and cables, to all that it carries at once.
A client of one of them opens a connection every 5 ms, and a listener notes when each VIP is
announced to the neighbours. It is used by the tests and by the benchmarks.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visit, Visits
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.drivers.network.namespaces.fabric import machine_link
from colonnade.protocol import paths
from colonnade.protocol.messages import Role
from tests.shared import CLIENT, Shared

RATE: Final = 200.0  # connections a second
LATE_S: Final = 0.9  # less than a client's kernel waits before it asks again
WHOLE_S_MAX: Final = float(os.environ.get("WHOLE_S_MAX", "120"))
OTHERS_MAX: Final = 4
VIPS: Final = "192.0.2.0/24"
LISTENER: Final = Path(__file__).with_name("heard_vips.py")


class Topology(NamedTuple):
    """`amphorae`: that serve one load balancer."""

    amphorae: int
    flavor: dict[str, Any]

    @property
    def is_routed(self) -> bool:
        return self.flavor.get("front_end") == "routed" or self.is_many

    @property
    def is_many(self) -> bool:
        return self.flavor.get("loadbalancer_topology") == "ACTIVE_ACTIVE"


TOPOLOGIES: Final = {
    "single": Topology(1, {}),
    "pair": Topology(2, {"loadbalancer_topology": "ACTIVE_STANDBY"}),
    "routed_pair": Topology(2, {"loadbalancer_topology": "ACTIVE_STANDBY", "front_end": "routed"}),
    "many": Topology(3, {"loadbalancer_topology": "ACTIVE_ACTIVE", "amphorae": 3}),
}


class Missed(NamedTuple):
    """What clients noticed. `moved`: of how many load balancers it had the VIPs. `gap_s`: the
    longest time in which one client got no answer. `failing_s`: until the last request was begun
    that failed, as one does that somebody drops: its client waits a second, and asks again.
    `announced_s`: until the last VIP was announced; None: not in layer 2."""

    moved: int
    gap_s: float
    failing_s: float
    failed: int
    announced_s: float | None


class Befallen(Shared):
    def __init__(self, system: System, rest: Rest, hosts: Hosts, topology: Topology) -> None:
        super().__init__(rest, hosts)
        self._system = system
        self._known: dict[str, Path] = {}  # folders of agents, by their amphorae
        self.topology = topology

    async def build(self, count: int) -> None:
        """So many load balancers; more than one are on the same amphorae."""
        own = {}
        if self.topology.is_routed:
            own["vip_subnet_id"] = await self.hosts.add_network("vips", VIPS, via="public")
        spares = {"spare_pool_size": self.topology.amphorae}
        await self.begin(count if count > 1 else None, **self.topology.flavor, **spares)
        await self.spare(self.topology.amphorae)
        for number in range(count):
            await self.add(f"lb{number}", **own)
        await self.whole()

    async def whole(self, *, without: str = "") -> None:
        """Wait until all are served as their topology says, and not by that amphora."""

        async def are() -> bool:
            serving = await self._serving()
            for root in self.roots:
                seats = [seat for seat in serving if seat["loadbalancer_id"] == root["id"]]
                if len(seats) != self.topology.amphorae or not self._is_whole(seats):
                    return False
            if without in {seat["compute_id"] for seat in serving}:
                return False
            hops = self.topology.amphorae * len(self.roots)
            return not self.topology.is_many or await self._next_hops() == hops

        await until(are, within_s=WHOLE_S_MAX, what="all to be served", pause_s=0.5)
        await self.settled()
        await self.spare()

    async def _serving(self) -> list[dict[str, Any]]:
        """All that serve a load balancer, by one question: nobody may be slowed down by it."""
        answer: Any = await self.rest.get("octavia/amphorae?status=ALLOCATED")
        return [one for one in answer["amphorae"] if one["loadbalancer_id"] is not None]

    async def missed(self, cause: str) -> Missed:
        """From before it befalls an amphora that serves until all is as before."""
        befalls, is_replaced = CAUSES[cause]
        ((active, _), *_) = (await self._held()).most_common()
        held = {seat["loadbalancer_id"] for seat in await self.carried(active, active=True)}
        vips = [root["vip_address"] for root in self.roots if root["id"] in held]
        act, mend = await befalls(self, active)
        async with self._heard() as heard, self._clients() as clients:
            began = time.time()
            await act()
            await asyncio.gather(
                *(one.first_ok(since=began + 0.5, within_s=WHOLE_S_MAX) for one in clients)
            )
            await self.whole(without=active if is_replaced else "")
            over = time.time()
        await mend()
        announced = [
            min((at for at in heard.get(vip, ()) if at >= began), default=over) for vip in vips
        ]
        missed = [visit for one in clients for visit in one.all if not visit.ok or _is_late(visit)]
        return Missed(
            moved=len(vips),
            gap_s=max(one.longest_gap(began, over) for one in clients),
            failing_s=max((visit.began - began for visit in missed), default=0.0),
            failed=len(missed),
            announced_s=None if self.topology.is_routed else max(announced) - began,
        )

    async def gather(self) -> None:
        """One amphora has all VIPs afterwards. Each pair of those that share amphorae has chosen by
        itself which half is active."""
        while self.topology.amphorae == 2 and len(await self._held()) > 1:
            (fewest, _) = (await self._held()).most_common()[-1]
            await self.rest.put(f"octavia/amphorae/{fewest}/failover")
            await self.whole(without=fewest)

    async def _held(self) -> Counter[str]:
        """How many load balancers have their VIPs on each amphora that has any."""
        held = (seat for seat in await self._serving() if seat["role"] != Role.BACKUP)
        return Counter(str(seat["compute_id"]) for seat in held)

    @contextlib.asynccontextmanager
    async def _clients(self) -> AsyncIterator[list[Visits]]:
        """One that notices a gap of 5 ms, and some of others that take little processor time."""
        first, *others = self.roots
        some = others[:: max(1, len(others) // OTHERS_MAX)][:OTHERS_MAX]
        async with self.visited([first], RATE) as one, self.visited(some, RATE / 10) as more:
            yield [*one, *more]

    @contextlib.asynccontextmanager
    async def _heard(self) -> AsyncIterator[dict[str, list[float]]]:
        """When each VIP was announced, in seconds since 1970."""
        found: dict[str, list[float]] = {}
        pipe = asyncio.subprocess.PIPE
        listener = await asyncio.create_subprocess_exec(
            *self.hosts.enter(CLIENT), sys.executable, str(LISTENER), stdin=pipe, stdout=pipe
        )
        assert listener.stdin is not None
        assert listener.stdout is not None
        said = listener.stdout
        await said.readline()

        async def note() -> None:
            async for line in said:
                one = msgspec.json.decode(line)
                found.setdefault(one["vip"], []).append(one["at"])

        noting = asyncio.create_task(note())
        try:
            yield found
        finally:
            listener.stdin.close()
            await listener.wait()
            await noting

    async def _next_hops(self) -> int:
        routes = await self.hosts._network.routes()
        return len({hop.address for route in routes for hop in route.next_hops})

    def _is_whole(self, seats: Sequence[dict[str, Any]]) -> bool:
        """Of a pair: one is active, and each was told of the other."""
        if self.topology.amphorae != 2:
            return True
        roles = sorted(str(seat["role"]) for seat in seats)
        pairs = (seats, seats[::-1])
        return roles == ["BACKUP", "MASTER"] and all(self._listens(*one) for one in pairs)

    def _listens(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        own = "" if one["id"] == one["compute_id"] else f"seats/{one['id']}/"
        carrier = one["compute_id"]
        folder = self._known.get(carrier) or next(self._folders({carrier}), None)
        with contextlib.suppress(OSError):
            if folder is not None:
                self._known[carrier] = folder
                return str(other["vrrp_ip"]) in (folder / f"{own}keepalived.conf").read_text()
        self._known.pop(carrier, None)
        return False

    async def carried(self, amphora: str, *, active: bool = False) -> list[dict[str, Any]]:
        """All that serve on it; `active`: of pairs those that hold VIPs."""
        here = [seat for seat in await self._serving() if seat["compute_id"] == amphora]
        return [seat for seat in here if not active or seat["role"] != Role.BACKUP]

    async def pids(self, amphora: str, *words: str) -> list[int]:
        """Its processes, as they are numbered here: those with one of these words, or all."""
        names = {amphora, *(seat["id"] for seat in await self.carried(amphora))}
        return [
            int(folder.parts[2])
            for folder in self._folders(names)
            if not words or any(word in _command(folder) for word in words)
        ]

    async def links(self, amphora: str) -> list[str]:
        """The fabric's ends of its cables where clients are."""
        seats = await self.carried(amphora)
        owners = {f"amphora:{seat['id']}" for seat in seats}
        public = await self.hosts.subnet("203.0.113.0/24")
        ports = await self.hosts._network.ports()
        found = {str(seat["vrrp_port_id"]) for seat in seats}
        found |= {p.id for p in ports if p.owner in owners and p.subnet_id == public}
        known = (await self.inside("ip", "-o", "link")).split()
        return [link for link in map(machine_link, found) if any(link in word for word in known)]

    async def inside(self, *argv: str, given: str = "") -> str:
        """What a command says in the lab."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.hosts._lab.enter([]), *argv, stdin=pipe, stdout=pipe
        )
        said, _ = await process.communicate(given.encode())
        assert process.returncode == 0, f"{argv}: {said.decode()}"
        return said.decode()

    def _folders(self, names: set[str]) -> Iterator[Path]:
        """The agent's folder as each process of these amphorae sees it, as it is seen from here."""
        for pid in leftovers.family(self._system.mark):
            folder = Path(f"/proc/{pid}/root{paths.ROOT}")
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                config = msgspec.json.decode((folder / "config/agent.json").read_bytes())
                if config["amphora_id"] in names:
                    yield folder


def _is_late(visit: Visit) -> bool:
    return visit.ended - visit.began > LATE_S


def _command(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return Path("/", *folder.parts[1:3], "cmdline").read_text()
    return ""


Act = Callable[[], Awaitable[None]]
Befalls = Callable[[Befallen, str], Awaitable[tuple[Act, Act]]]


async def _nothing() -> None:
    return


async def killed(site: Befallen, amphora: str) -> tuple[Act, Act]:
    return lambda: site.hosts.kill_amphora(amphora), _nothing


async def frozen(site: Befallen, amphora: str) -> tuple[Act, Act]:
    return _signalled(await site.pids(amphora), signal.SIGSTOP), _nothing


async def haproxy_stopped(site: Befallen, amphora: str) -> tuple[Act, Act]:
    return _signalled(await site.pids(amphora, "haproxy.cfg"), signal.SIGSTOP), _nothing


async def haproxy_killed(site: Befallen, amphora: str) -> tuple[Act, Act]:
    return _signalled(await site.pids(amphora, "haproxy.cfg"), signal.SIGKILL), _nothing


async def link_cut(site: Befallen, amphora: str) -> tuple[Act, Act]:
    links = await site.links(amphora)

    async def turn(word: str) -> None:
        known = (await site.inside("ip", "-o", "link")).split()
        there = [link for link in links if any(link in one for one in known)]
        lines = "".join(f"link set dev {link} {word}\n" for link in there)
        await site.inside("ip", "-batch", "-", given=lines)

    return lambda: turn("down"), lambda: turn("up")


async def asked_to_leave(site: Befallen, amphora: str) -> tuple[Act, Act]:
    async def ask() -> None:
        await site.rest.put(f"octavia/amphorae/{amphora}/failover")

    return ask, _nothing


def _signalled(pids: list[int], number: signal.Signals) -> Act:
    async def act() -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    return act


# What may befall one that serves, and whether another takes its place.
CAUSES: Final[dict[str, tuple[Befalls, bool]]] = {
    "killed": (killed, True),
    "frozen": (frozen, True),
    "link_cut": (link_cut, False),
    "haproxy_stopped": (haproxy_stopped, False),
    "haproxy_killed": (haproxy_killed, False),
    "asked_to_leave": (asked_to_leave, True),
}


@contextlib.asynccontextmanager
async def befallen_site(topology: str, count: int) -> AsyncIterator[Befallen]:
    """`count`: load balancers, with amphorae and spares of their flavor."""
    async with (
        running("--spares", "0") as system,
        Rest(system.endpoint) as rest,
        Hosts(system.state) as hosts,
    ):
        site = Befallen(system, rest, hosts, TOPOLOGIES[topology])
        await site.build(count)
        yield site
    assert system.left == []
