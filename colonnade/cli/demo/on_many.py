# SPDX-License-Identifier: Apache-2.0
"""The main job on three amphorae that all serve, led to by a router: one dies, the others go on.

Only what differs from one amphora is here.
"""

import asyncio
import time
from typing import Final

from colonnade.cli.demo.operator_calls import allocated, make_flavor
from colonnade.cli.demo.picture import answers
from colonnade.cli.demo.scenario import RATE, SETTLE_S_MAX, SPARE_S_MAX, Scenario
from colonnade.cli.waiting import until
from colonnade.domain.fleet import Topology

AMPHORAE: Final = 3
VIPS: Final = "192.0.2.0/24"  # nobody is on it: the router leads it to the public network


class OnMany(Scenario):
    spares = AMPHORAE

    async def create(self) -> str:
        data = {"loadbalancer_topology": Topology.ACTIVE_ACTIVE, "amphorae": AMPHORAE}
        self.wishes = {
            "flavor_id": await make_flavor(self.rest, "many", data),
            "vip_subnet_id": await self.lab.add_network("vips", VIPS, via="public"),
        }
        said = await super().create()
        await self._all(but="")
        return said

    async def amphora_killed(self) -> str:
        await self.spare()
        async with self.visits(RATE) as visits:
            await visits.first_ok(since=0.0)
            victim = (await self._all(but=""))[0]
            await asyncio.sleep(1.0)  # to be seen beside what follows
            killed = time.time()
            await self.lab.kill_amphora(victim)
            await self._all(but=victim)
            await visits.first_ok(since=time.time())
            over = time.time()
        self.figures.amphora_kill_gap_s = round(visits.longest_gap(killed, over), 3)
        failed = len(visits.failed(since=killed))
        count = sum(one.began >= killed for one in visits.all)
        row = answers(visits.all, killed - 1.0, over)
        return f"{failed} of {count} requests failed, those it was led to; others went on\n{row}"

    async def _all(self, *, but: str) -> list[str]:
        """The ids of those that serve, once they are all without that one."""

        async def three() -> list[str]:
            ids = [str(a["id"]) for a in await allocated(self.rest, self.load_balancer["id"])]
            return ids if len(ids) == AMPHORAE and but not in ids else []

        within_s = SPARE_S_MAX + SETTLE_S_MAX
        return await until(three, within_s=within_s, what=f"{AMPHORAE} amphorae that serve")
