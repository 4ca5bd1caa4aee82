# SPDX-License-Identifier: Apache-2.0
"""A load balancer on several amphorae that all serve, and clients that count what fails.

What befalls one is done from outside of it, to real processes. It is used by the tests and by the
benchmarks.
"""

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from colonnade.cli.demo.operator_calls import allocated, make_flavor
from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import folders
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import NotFound
from colonnade.runtime.config import read_config
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work
from tests.pairs import VIPS

AFTER_S: Final = 1.0  # of requests, when their number is as wanted
WHOLE_S_MAX: Final = 60.0


class Many:
    """The load balancer, its amphorae, and a client."""

    def __init__(self, system: System, rest: Rest, hosts: Hosts) -> None:
        self.system, self.rest, self.hosts = system, rest, hosts
        self.scenario = Scenario(rest, hosts, Figures())

    async def begin(self, amphorae: int) -> None:
        await self.scenario.hosts()
        subnet = await self.hosts.add_network("vips", VIPS[0], more=VIPS[1:], via="public")
        self.scenario.wishes = {
            "flavor_id": await make_flavor(
                self.rest, "many", {"loadbalancer_topology": "ACTIVE_ACTIVE", "amphorae": amphorae}
            ),
            "vip_subnet_id": subnet,
            "additional_vips": [{"subnet_id": await self.hosts.subnet(VIPS[1])}],
        }
        await self.spares(amphorae)
        await self.scenario.create()
        await self.whole(amphorae)

    async def spares(self, count: int) -> None:
        async def ready() -> bool:
            found = await self.rest.get("octavia/amphorae?status=READY")
            return len(found["amphorae"]) >= count

        await until(ready, within_s=WHOLE_S_MAX, what=f"{count} spares")

    async def serving(self) -> list[str]:
        found = await allocated(self.rest, self.scenario.load_balancer["id"])
        return [str(amphora["id"]) for amphora in found]

    async def whole(self, count: int, *, without: str = "") -> list[str]:
        """Wait until so many serve, the router leads to each, and nobody else is left."""

        async def are() -> list[str]:
            names = await self.serving()
            whole = len(names) == count and without not in names
            return names if whole and await self.led() == await self._own(names) else []

        return await until(are, within_s=WHOLE_S_MAX, what=f"{count} that serve")

    async def led(self) -> set[str]:
        """The addresses to which the router leads the VIPs, of both IP versions."""
        routes = await self.hosts._network.routes()
        return {hop.address for route in routes for hop in route.next_hops}

    async def _own(self, names: list[str]) -> set[str]:
        owners = {f"amphora:{name}" for name in names}
        public = {await self.hosts.subnet(c) for c in ("203.0.113.0/24", "2001:db8:1::/64")}
        ports = await self.hosts._network.ports()
        return {p.address for p in ports if p.owner in owners and p.subnet_id in public}

    async def connections(self, at_least: int) -> Counter[str]:
        """How many each has had, once all of these are told of."""

        async def told() -> Counter[str] | None:
            found: Counter[str] = Counter()
            for name in await self.serving():
                with contextlib.suppress(NotFound):  # none was told yet
                    shown = await self.rest.get(f"octavia/amphorae/{name}/stats")
                    found[name] = sum(one["total_connections"] for one in shown["amphora_stats"])
            return found if found.total() >= at_least else None

        found = await until(told, within_s=WHOLE_S_MAX, what=f"{at_least} connections", pause_s=0.3)
        assert found is not None
        return found

    async def resize(self, amphorae: int) -> None:
        """As a change of its flavor does."""
        config = read_config(folders.config_file(self.system.state))
        database = await Database.connect(config.database_url)
        try:
            async with database.transaction() as connection:
                cursor = await connection.execute(
                    "UPDATE clusters SET amphorae = %s RETURNING id", [amphorae]
                )
                for (cluster_id,) in await cursor.fetchall():
                    await work.mark(connection, f"cluster:{cluster_id}")
        finally:
            await database.close()


class Loss(NamedTuple):
    """What clients noticed of a loss. `gone_s`: until the router led there no more."""

    gone_s: float
    failed: int
    of: int
    after: int

    def __str__(self) -> str:
        return (
            f"led there no more after {self.gone_s:.2f} s; until then {self.failed} of {self.of} "
            f"requests failed, and {self.after} afterwards"
        )


async def one_lost(many: Many, rate: float) -> Loss:
    """Kill one as a power cut does, while a client asks so often in a second."""
    before = await many.serving()
    own = await many._own(before[:1])
    await many.spares(1)
    async with many.scenario.visits(rate) as visits:
        await visits.first_ok(since=0.0)
        killed = time.time()
        await many.hosts.kill_amphora(before[0])

        async def is_gone() -> bool:
            return not own & await many.led()

        await until(is_gone, within_s=WHOLE_S_MAX, what="the next hop to be gone")
        gone = time.time()
        await many.whole(len(before), without=before[0])
        await visits.first_ok(since=time.time())
    begun = [visit for visit in visits.all if killed <= visit.began < gone]
    failed = [visit for visit in begun if not visit.ok]
    return Loss(gone - killed, len(failed), len(begun), len(visits.failed(since=gone)))


async def resized(many: Many, amphorae: int, rate: float) -> tuple[int, int]:
    """How many requests failed, of how many, while their number was changed."""
    await many.spares(1)
    async with many.scenario.visits(rate) as visits:
        await visits.first_ok(since=0.0)
        await many.resize(amphorae)
        await many.whole(amphorae)
        await visits.first_ok(since=time.time() + AFTER_S)
    return len(visits.failed()), len(visits.all)


@contextlib.asynccontextmanager
async def many_site(amphorae: int, *words: str) -> AsyncIterator[Many]:
    async with running(*words) as system, Rest(system.endpoint) as rest:
        async with Hosts(system.state) as hosts:
            many = Many(system, rest, hosts)
            await many.begin(amphorae)
            yield many
    assert system.left == []
