# SPDX-License-Identifier: Apache-2.0
"""A load balancer whose amphorae announce its VIPs, and an operator's router with a client behind.

The router is a host of the lab with a real BIRD; requests are made in it, so its kernel spreads
them over those that announce the VIP. It is used by the tests and by the benchmarks.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple

from colonnade.cli.demo.operator_calls import make_flavor
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.bgp_router import BgpRouter
from tests.many_active import Many
from tests.pairs import VIPS

ROUTER: Final = "fabric"  # the lab has a router of its own
RANGES: Final = ("203.0.113.0/24", "2001:db8:1::/64")
# By addresses and ports, as routers of fabrics do.
SPREAD: Final = "for v in 4 6; do echo 1 >/proc/sys/net/ipv$v/fib_multipath_hash_policy; done"
WITHIN_S: Final = 60.0


class Lost(NamedTuple):
    """`gone_s`: from the kill until no route led to it. `failed` of those requests that `of` were
    begun until then, and `after`, of those begun within a second then."""

    gone_s: float
    failed: int
    of: int
    after: int
    was_missed: bool  # by us, before the route was gone

    def __str__(self) -> str:
        return (
            f"no route led there after {self.gone_s:.2f} s; until then {self.failed} of {self.of} "
            f"requests failed, and {self.after} in the second afterwards"
        )


class Announcing(Many):
    router: BgpRouter

    async def begin_at(self, folder: Path, amphorae: int) -> None:
        """With so many amphorae, once all are announced."""
        await self.scenario.hosts()
        await self._run_router(folder)
        subnet = await self.hosts.add_network(
            "vips", VIPS[0], more=VIPS[1:], via="public", announced=self.router.announced
        )
        self.scenario.wishes = {
            "flavor_id": await self.flavor(amphorae),
            "vip_subnet_id": subnet,
            "additional_vips": [{"subnet_id": await self.hosts.subnet(VIPS[1])}],
        }
        await self.spares(amphorae)
        await self.scenario.create()
        await self.whole(amphorae)

    async def flavor(self, amphorae: int) -> str:
        many = {"loadbalancer_topology": "ACTIVE_ACTIVE", "amphorae": amphorae}
        data = many if amphorae > 1 else {"front_end": "routed"}
        return await make_flavor(self.rest, f"of {amphorae}", data)

    async def change(self, amphorae: int) -> None:
        """By a PUT of another flavor, until as many are announced, and nobody else is."""
        body = {"loadbalancer": {"flavor_id": await self.flavor(amphorae)}}
        await self.rest.put(f"lbaas/loadbalancers/{self.scenario.load_balancer['id']}", body)
        await self.whole(amphorae)

    async def _run_router(self, folder: Path) -> None:
        await self.hosts.add(ROUTER, "public", argv=[])
        self.scenario.client = ROUTER
        enter = self.hosts.enter(ROUTER)
        process = await asyncio.create_subprocess_exec(*enter, "sh", "-c", SPREAD)
        assert await process.wait() == 0
        (host,) = [one for one in await self.hosts._client.hosts() if one.name == ROUTER]
        own4, own6 = host.addresses
        self.router = BgpRouter(folder, (own4, own6), RANGES, VIPS)
        self._bird = await asyncio.create_subprocess_exec(*enter, *self.router.argv)

    async def end(self) -> None:
        if self._bird.returncode is None:
            self._bird.terminate()
        await self._bird.wait()

    async def led(self) -> set[str]:
        """The addresses from which the router has heard of the VIPs, of both IP versions."""
        root = self.scenario.load_balancer
        vips = [root["vip_address"], *(v["ip_address"] for v in root["additional_vips"])]
        return {hop for vip in vips for hop in await self.router.led_to(vip)}


async def one_lost(many: Announcing, rate: float) -> Lost:
    """Kill one as a power cut does, while a client asks so often in a second."""
    victim, *_ = before = await many.serving()
    own = await many._own([victim])
    await many.spares(1)
    async with many.scenario.visits(rate) as visits:
        await visits.first_ok(since=0.0)
        killed = time.time()
        await many.hosts.kill_amphora(victim)

        async def is_gone() -> bool:
            return not own & await many.led()

        await until(is_gone, within_s=WITHIN_S, what="its routes to be gone")
        gone = time.time()
        was_missed = victim not in await many.serving()
        await visits.first_ok(since=gone + 1.0)
    begun = [visit for visit in visits.all if killed <= visit.began < gone]
    after = [one for one in visits.failed(since=gone) if one.began < gone + 1.0]
    await many.whole(len(before), without=victim)
    failed = [visit for visit in begun if not visit.ok]
    return Lost(gone - killed, len(failed), len(begun), len(after), was_missed)


@contextlib.asynccontextmanager
async def announcing_site(folder: Path, amphorae: int, *words: str) -> AsyncIterator[Announcing]:
    async with running(*words) as system, Rest(system.endpoint) as rest:
        async with Hosts(system.state) as hosts:
            many = Announcing(system, rest, hosts)
            await many.begin_at(folder, amphorae)
            try:
                yield many
            finally:
                await many.end()
    assert system.left == []
