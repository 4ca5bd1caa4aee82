# SPDX-License-Identifier: Apache-2.0
"""A load balancer on a pair of amphorae, what may befall a half, and how long clients miss it.

A client opens a connection every 5 ms. What befalls a half is done from outside of it, to real
processes and cables. It is used by the tests and by the benchmarks.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from colonnade.agent.keepalived.half import has_address
from colonnade.cli.demo.operator_calls import allocated, make_flavor
from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visits
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.drivers.network.namespaces.fabric import machine_link
from colonnade.protocol import paths

RATE: Final = 200.0  # connections a second
WHOLE_S_MAX: Final = 45.0
PUBLIC6: Final = "2001:db8:1::/64"
VIPS: Final = ("192.0.2.0/24", "2001:db8:2::/64")  # on a routed front end


class Pair:
    """The load balancer, its two halves, and a client."""

    def __init__(self, system: System, rest: Rest, hosts: Hosts) -> None:
        self.system, self.rest, self.hosts = system, rest, hosts
        self.scenario = Scenario(rest, hosts, Figures())

    async def begin(
        self, *, further: int = 0, beside: Scenario | None = None, **flavor: Any
    ) -> None:
        """`flavor`: what its data says beside the topology. `further`: VIPs beside two, where a
        router leads them. `beside`: with its members and its client."""
        if beside is None:
            await self.scenario.hosts()
        else:
            self.scenario.addresses = beside.addresses
        self.scenario.wishes["flavor_id"] = await make_flavor(
            self.rest, "pairs", {"loadbalancer_topology": "ACTIVE_STANDBY", **flavor}
        )
        subnet6, others = await self.hosts.subnet(PUBLIC6), list[str]()
        if flavor.get("front_end") == "routed":
            more = (*VIPS[1:], *(f"198.51.100.{16 * number}/28" for number in range(further)))
            vips = await self.hosts.add_network("vips", VIPS[0], more=more, via="public")
            self.scenario.wishes["vip_subnet_id"] = vips
            subnet6, *others = [await self.hosts.subnet(cidr) for cidr in more]
        self.scenario.wishes["additional_vips"] = [{"subnet_id": one} for one in (subnet6, *others)]
        await self.scenario.spare()
        await self.scenario.create()
        await self.whole()

    async def put_flavor(self, flavor_id: str) -> None:
        place = f"lbaas/loadbalancers/{self.scenario.load_balancer['id']}"
        answer = await self.rest.put(place, {"loadbalancer": {"flavor_id": flavor_id}})
        self.scenario.load_balancer = answer["loadbalancer"]

    @property
    def flavor_id(self) -> str:
        """The pair's own."""
        return str(self.scenario.wishes["flavor_id"])

    @property
    def vip(self) -> str:
        return str(self.scenario.load_balancer["vip_address"])

    async def halves(self) -> list[dict[str, Any]]:
        """Those that serve, the one that holds the VIP first."""
        halves = await allocated(self.rest, self.scenario.load_balancer["id"])
        return sorted(halves, key=lambda half: str(half["role"]), reverse=True)

    async def whole(
        self, within_s: float = WHOLE_S_MAX, *, settled: bool = True
    ) -> tuple[str, str]:
        """Wait for two halves that both serve what is wanted; the active one and the other. Not
        `settled`: while somebody writes all the time, they serve what was wanted just before."""

        async def both() -> Any:
            halves = await self.halves()
            roles = [half["role"] for half in halves]
            root = self.scenario.load_balancer["id"]
            found: Any = await self.rest.get(f"lbaas/loadbalancers/{root}")
            is_settled = found["loadbalancer"]["provisioning_status"] == "ACTIVE" or not settled
            if roles == ["MASTER", "BACKUP"] and is_settled and self._speak(halves):
                return halves[0]["id"], halves[1]["id"]
            return None

        found: tuple[str, str] = await until(both, within_s=within_s, what="a pair")
        return found

    def _speak(self, halves: Sequence[dict[str, Any]]) -> bool:
        """Whether each was told of the other."""
        for one, other in (halves, halves[::-1]):
            with contextlib.suppress(OSError):
                if (
                    str(other["vrrp_ip"])
                    in (self.folder(one["id"]) / "keepalived.conf").read_text()
                ):
                    continue
            return False
        return True

    def folder(self, amphora_id: str) -> Path:
        """The agent's folder, as it is seen from here."""
        for _, folder in self._folders(amphora_id):
            return folder
        raise FileNotFoundError(f"amphora {amphora_id} does not run")

    async def asked(self, amphora_id: str, words: str) -> str:
        """An answer of a half's haproxy."""
        reader, writer = await asyncio.open_unix_connection(self.folder(amphora_id) / "master.sock")
        try:
            writer.write(f"@1 {words}\n".encode())
            writer.write_eof()
            async with asyncio.timeout(WHOLE_S_MAX):
                return (await reader.read()).decode()
        finally:
            writer.close()

    def pids(self, amphora_id: str, *words: str) -> list[int]:
        """The amphora's processes, as they are numbered here: those whose command line has one of
        the words, or all."""
        found = []
        for pid, _ in self._folders(amphora_id):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_text()
                if not words or any(word in command for word in words):
                    found.append(pid)
        return found

    def signal(self, amphora_id: str, number: signal.Signals, *words: str) -> None:
        for pid in self.pids(amphora_id, *words):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def cut(self, amphora_id: str, *, mend: bool = False) -> None:
        """Take the cable of a half on the VIP's network, or put it back: carrier and packets."""
        halves = {half["id"]: half for half in await self.halves()}
        link = machine_link(halves[amphora_id]["vrrp_port_id"])
        await self.inside("ip", "link", "set", "dev", link, "up" if mend else "down")

    async def part(self, *, mend: bool = False) -> None:
        """Have no packet go from one half to the other, while everybody else reaches both."""
        for half in await self.halves():
            link = machine_link(half["vrrp_port_id"])
            words = "type", "bridge_slave", "isolated", "off" if mend else "on"
            await self.inside("ip", "link", "set", "dev", link, *words)

    async def holders(self) -> list[str]:
        """The halves whose kernel has the VIP."""
        found = []
        for half in await self.halves():
            for pid in self.pids(half["id"], "keepalived.conf")[:1]:
                if has_address(Path(f"/proc/{pid}/net"), f"{self.vip}/24"):
                    found.append(half["id"])
        return found

    async def inside(self, *argv: str, host: str | None = None) -> str:
        """What a command says in the lab."""
        enter = self.hosts.enter(host) if host is not None else self.hosts._lab.enter([])
        process = await asyncio.create_subprocess_exec(
            *enter, *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, f"{argv}: {said.decode()}"
        return said.decode()

    async def answers6(self) -> None:
        """The VIP of the other IP version is where the first one is."""
        (vip,) = self.scenario.load_balancer["additional_vips"]
        url = f"http://[{vip['ip_address']}]/"
        async with Visits(self.hosts.enter(self.scenario.client), url, rate=20) as visits:
            await visits.first_ok(since=0.0, what="an answer of the IPv6 VIP")

    def _folders(self, amphora_id: str) -> Iterator[tuple[int, Path]]:
        for pid in leftovers.family(self.system.mark):
            folder = Path(f"/proc/{pid}/root{paths.ROOT}")
            with contextlib.suppress(OSError, ValueError):
                config = json.loads((folder / "config/agent.json").read_bytes())
                if config["amphora_id"] == amphora_id:
                    yield pid, folder


async def alone_and_pair(system: System, rest: Rest, hosts: Hosts) -> tuple[Scenario, Pair]:
    """One load balancer on an amphora alone, and one on a pair, with the same members."""
    scenario, pair = Scenario(rest, hosts, Figures()), Pair(system, rest, hosts)
    for step in (scenario.hosts, scenario.spare, scenario.create):
        await step()
    await pair.begin(beside=scenario)
    return scenario, pair


async def killed(pair: Pair, active: str) -> None:
    await pair.hosts.kill_amphora(active)


async def frozen(pair: Pair, active: str) -> None:
    pair.signal(active, signal.SIGSTOP)


async def haproxy_stopped(pair: Pair, active: str) -> None:
    pair.signal(active, signal.SIGSTOP, "haproxy.cfg")


async def haproxy_killed(pair: Pair, active: str) -> None:
    pair.signal(active, signal.SIGKILL, "haproxy.cfg")


async def link_cut(pair: Pair, active: str) -> None:
    await pair.cut(active)


async def asked_to_leave(pair: Pair, active: str) -> None:
    await pair.rest.put(f"octavia/amphorae/{active}/failover")


async def both_asked_to_leave(pair: Pair, _active: str) -> None:
    await pair.rest.put(f"lbaas/loadbalancers/{pair.scenario.load_balancer['id']}/failover")


Befalls = Callable[[Pair, str], Coroutine[Any, Any, None]]
# What may befall the active half, and whether another takes its place.
CAUSES: Final[dict[Befalls, bool]] = {
    killed: True,
    frozen: True,
    haproxy_stopped: False,
    haproxy_killed: False,
    link_cut: False,
    asked_to_leave: True,
    both_asked_to_leave: True,
}


async def gap_of(pair: Pair, befalls: Befalls) -> tuple[float, int]:
    """The longest time without an answer, and how many requests failed: from before it befalls the
    active half until there are two again and another is active."""
    await pair.scenario.spare()
    active, _ = await pair.whole()

    async def is_another() -> bool:
        after = await pair.whole()
        return after[0] != active and not (CAUSES[befalls] and active in after)

    async with pair.scenario.visits(RATE) as visits:
        await visits.first_ok(since=0.0)
        began = time.time()
        await befalls(pair, active)
        await until(is_another, within_s=60, what=f"another active half ({befalls.__name__})")
        await visits.first_ok(since=time.time())
        over = time.time()  # what ends later was begun earlier, and tried again
    if befalls is link_cut:
        await pair.cut(active, mend=True)
    return visits.longest_gap(began, over), len(visits.failed())


@contextlib.asynccontextmanager
async def pair_site(*words: str, further: int = 0, **flavor: Any) -> AsyncIterator[Pair]:
    async with running(*words) as system, Rest(system.endpoint) as rest:
        async with Hosts(system.state) as hosts:
            pair = Pair(system, rest, hosts)
            await pair.begin(further=further, **flavor)
            yield pair
    assert system.left == []
