# SPDX-License-Identifier: Apache-2.0
"""The main job as steps: build a load balancer, use it, break things, take it away.

Each step checks what it promises and notes what it measured in `Figures`; it raises a
ColonnadeError with a sentence for people when the promise does not hold. The demo shows the
steps, the benchmarks repeat them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles
from typing import Any

import msgspec

from colonnade.cli.demo.operator_calls import allocated
from colonnade.cli.demo.picture import answers
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visits
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import Broken, NotFound

RATE = 100.0  # requests a second while something is being watched
CHANGES = 20
SPARE_S_MAX = 45.0
SETTLE_S_MAX = 45.0
PUBLIC, PRIVATE = "203.0.113.0/24", "10.0.0.0/24"


class Figures(msgspec.Struct, kw_only=True):
    """What was measured; seconds and milliseconds as the names say. None: not reached."""

    ok: bool = False
    error: str = ""
    ready_s: float | None = None
    create_to_first_200_s: float | None = None
    spread: dict[str, int] = {}
    member_down_detected_s: float | None = None
    failed_requests_after_detection: int | None = None
    member_up_detected_s: float | None = None
    member_change_to_live_ms: float | None = None
    member_change_to_live_p95_ms: float | None = None
    requests_during_member_changes: int | None = None
    failed_requests_during_member_changes: int | None = None
    amphora_kill_gap_s: float | None = None
    delete_s: float | None = None
    leftovers: list[str] = []
    total_s: float = 0.0


class Step(msgspec.Struct, frozen=True):
    title: str
    take: Callable[[], Awaitable[str]]  # returns what to show beside the title


class Scenario:
    """One run of the main job against a running system."""

    spares = 1  # that there are before a load balancer is made, and before its amphora is killed

    def __init__(self, rest: Rest, hosts: Hosts, figures: Figures) -> None:
        self.rest = rest
        self.lab = hosts
        self.figures = figures
        self.client = "client"
        self.addresses: dict[str, str] = {}
        self.load_balancer: dict[str, Any] = {}
        self.pool = ""
        self.wishes: dict[str, Any] = {}  # what else is asked of the load balancer
        self.member_ids: dict[str, str] = {}
        self.changes_ms: list[float] = []  # each member change, until it was live

    async def hosts(self) -> str:
        for name in ("web1", "web2", "web3"):
            self.addresses[name] = await self.lab.web_server(name)
        await self.lab.add(self.client, "public", argv=[])
        return ", ".join(f"{name} {address}" for name, address in self.addresses.items())

    async def spare(self) -> str:
        async def ready() -> int:
            answer = await self.rest.get("octavia/amphorae?status=READY")
            count = len(answer["amphorae"])
            return count if count >= self.spares else 0

        count = await until(ready, within_s=SPARE_S_MAX, what=f"spare amphorae: {self.spares}")
        return f"{count} ready"

    async def create(self) -> str:
        began = time.time()
        vip = {"name": "demo", "vip_subnet_id": await self.lab.subnet(PUBLIC), **self.wishes}
        self.load_balancer = await self.rest.post("lbaas/loadbalancers", {"loadbalancer": vip})
        async with self.visits(50) as visits:
            await self._tree()
            first = await visits.first_ok(
                since=began, within_s=SETTLE_S_MAX, what="the first 200 through the VIP"
            )
        self.figures.create_to_first_200_s = round(first.ended - began, 3)
        await self._settled()
        return (
            f"http://{self.load_balancer['vip_address']}/ answers after {first.ended - began:.2f} s"
        )

    async def spread(self) -> str:
        await self._members_are("ONLINE", "web1", "web2")
        async with self.visits(RATE) as visits:
            for name in ("web1", "web2"):  # a busy machine may take longer than a second
                await visits.first_ok(since=0.0, by=name, what=f"a request that goes to {name}")
            await asyncio.sleep(1.0)
        self._nothing_failed(visits, 0.0)
        self.figures.spread = dict(visits.shares())
        return ", ".join(f"{name} {count}" for name, count in sorted(self.figures.spread.items()))

    async def server_down(self) -> str:
        async with self.visits(RATE) as visits:
            killed = time.time()
            await self.lab.remove("web2")
            await self._members_are("ERROR", "web2")
            detected = time.time()
            await asyncio.sleep(1.0)
        self.figures.member_down_detected_s = round(detected - killed, 3)
        failed = visits.failed(since=detected)
        self.figures.failed_requests_after_detection = len(failed)
        self._nothing_failed(visits, detected)
        return f"ERROR after {detected - killed:.2f} s, no failed request after that"

    async def server_up(self) -> str:
        began = time.time()
        await self.lab.web_server("web2", self.addresses["web2"])
        await self._members_are("ONLINE", "web2")
        took = time.time() - began
        self.figures.member_up_detected_s = round(took, 3)
        return f"ONLINE after {took:.2f} s"

    async def member_changes(self) -> str:
        took: list[float] = []
        async with self.visits(RATE * 2) as visits:
            await visits.first_ok(since=0.0)
            began = time.time()
            for number in range(CHANGES):
                change = self._add_third if number % 2 == 0 else self._remove_third
                took.append(await change(visits) * 1000)
        failed = visits.failed(since=0.0)
        self.changes_ms += took
        self.figures.member_change_to_live_ms = round(median(took), 1)
        self.figures.member_change_to_live_p95_ms = round(quantiles(took, n=20)[-1], 1)
        self.figures.requests_during_member_changes = sum(visits.shares(since=began).values())
        self.figures.failed_requests_during_member_changes = len(failed)
        self._nothing_failed(visits, 0.0)
        return (
            f"live after {median(took):.0f} ms (median), "
            f"0 of {self.figures.requests_during_member_changes} requests failed"
        )

    async def amphora_killed(self) -> str:
        await self.spare()
        async with self.visits(RATE) as visits:
            await visits.first_ok(since=0.0)
            victim = await self.serving()
            await asyncio.sleep(1.0)  # to be seen beside what follows
            killed = time.time()
            await self.lab.kill_amphora(victim)
            # Requests already past haproxy may still be answered.
            await visits.first_ok(since=killed + 0.5, what="traffic after the failover")
            back = time.time()
            replaced = await self.serving()
        gap_s = visits.longest_gap(killed, back)
        self.figures.amphora_kill_gap_s = round(gap_s, 3)
        if victim == replaced:
            raise Broken("the amphora that was killed is still named as the one that serves")
        before_s = min(gap_s, 1.0)
        row = answers(visits.all, killed - before_s, min(killed + 2 * gap_s, back))
        return f"no answer for {gap_s:.2f} s, then another serves\n{row}"

    async def delete(self) -> str:
        began = time.time()
        place = f"lbaas/loadbalancers/{self.load_balancer['id']}"
        await self.rest.delete(f"{place}?cascade=true")

        async def gone() -> bool:
            try:
                await self.rest.get(place)
            except NotFound:
                return True
            return False

        await until(gone, within_s=SETTLE_S_MAX, what="the load balancer to be gone")
        self.figures.delete_s = round(time.time() - began, 3)
        return f"gone after {time.time() - began:.2f} s"

    def visits(self, rate: float) -> Visits:
        url = f"http://{self.load_balancer['vip_address']}/"
        return Visits(self.lab.enter(self.client), url, rate=rate)

    async def _tree(self) -> None:
        """A listener, a pool, two members and a health monitor."""
        listener = {
            "loadbalancer_id": self.load_balancer["id"],
            "name": "web",
            "protocol": "HTTP",
            "protocol_port": 80,
        }
        listener = await self.rest.post("lbaas/listeners", {"listener": listener})
        pool = {
            "listener_id": listener["id"],
            "name": "web",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
        }
        self.pool = (await self.rest.post("lbaas/pools", {"pool": pool}))["id"]
        for name in ("web1", "web2"):
            await self._add_member(name)
        monitor = {
            "pool_id": self.pool,
            "type": "HTTP",
            "delay": 1,
            "timeout": 1,
            "max_retries": 1,
            "max_retries_down": 2,
            "url_path": "/",
        }
        await self.rest.post("lbaas/healthmonitors", {"healthmonitor": monitor})

    async def _add_member(self, name: str) -> None:
        member = {
            "name": name,
            "address": self.addresses[name],
            "protocol_port": 80,
            "subnet_id": await self.lab.subnet(PRIVATE),
        }
        made = await self.rest.post(f"lbaas/pools/{self.pool}/members", {"member": member})
        self.member_ids[name] = made["id"]

    async def third_member(self) -> None:
        """Add the third server, and wait until it answers through the VIP."""
        async with self.visits(RATE) as visits:
            await self._add_third(visits)

    async def _add_third(self, visits: Visits) -> float:
        """Seconds from the request to the first answer of the new member."""
        began = time.time()
        await self._add_member("web3")
        visit = await visits.first_ok(since=began, by="web3", what="the third member's answer")
        return visit.ended - began

    async def _remove_third(self, visits: Visits) -> float:
        """Seconds from the request to the last visit that still went to the member."""
        began = time.time()
        await self.rest.delete(f"lbaas/pools/{self.pool}/members/{self.member_ids['web3']}")
        await self._settled()
        settled = time.time()
        await asyncio.sleep(0.2)
        last = visits.last_by("web3", since=began)
        if last > settled + 0.05:
            raise Broken("a removed member still got a request after its removal was applied")
        return last - began

    async def _settled(self) -> None:
        async def active() -> bool:
            place = f"lbaas/loadbalancers/{self.load_balancer['id']}/status"
            tree = (await self.rest.get(place))["statuses"]["loadbalancer"]
            return "_" not in _provisioning(tree)

        await until(active, within_s=SETTLE_S_MAX, what="every change to be applied")

    async def _members_are(self, status: str, *names: str) -> None:
        async def are() -> bool:
            answer = await self.rest.get(f"lbaas/pools/{self.pool}/members")
            seen = {m["name"]: m["operating_status"] for m in answer["members"]}
            return all(seen[name] == status for name in names)

        await until(are, within_s=SETTLE_S_MAX, what=f"{', '.join(names)} {status}")

    async def serving(self) -> str:
        """The id of the amphora that serves the load balancer."""

        async def one() -> str:
            amphorae = await allocated(self.rest, self.load_balancer["id"])
            return str(amphorae[0]["id"]) if amphorae else ""

        return await until(one, within_s=SETTLE_S_MAX, what="an amphora that serves")

    def _nothing_failed(self, visits: Visits, since: float) -> None:
        failed = visits.failed(since=since)
        if failed:
            raise Broken(f"{len(failed)} of {len(visits.all)} requests failed: {failed[0].why}")


def steps(scenario: Scenario) -> list[Step]:
    """The steps in their order."""
    return [
        Step("Two web servers on a private network, a client on the public one", scenario.hosts),
        Step("Spare amphorae are ready", scenario.spare),
        Step("A load balancer, made through the HTTP API", scenario.create),
        Step("Requests spread over both servers", scenario.spread),
        Step("One server is killed", scenario.server_down),
        Step("The server is back", scenario.server_up),
        Step(f"{CHANGES} member changes under load", scenario.member_changes),
        Step("The amphora is killed, as by a power cut", scenario.amphora_killed),
        Step("The load balancer is deleted", scenario.delete),
    ]


def _provisioning(tree: Any) -> str:
    """Every provisioning status in a status tree, in one text."""
    if isinstance(tree, list):
        return " ".join(_provisioning(inner) for inner in tree)
    if isinstance(tree, dict):
        own = str(tree.get("provisioning_status", ""))
        return " ".join([own, *(_provisioning(inner) for inner in tree.values())])
    return ""
