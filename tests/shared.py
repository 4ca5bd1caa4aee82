# SPDX-License-Identifier: Apache-2.0
"""Several load balancers on one amphora, each with a client that notices what befalls it.

Used by the tests and by the benchmarks.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from colonnade.cli.demo.operator_calls import allocated, make_flavor
from colonnade.cli.demo.scenario import PRIVATE, PUBLIC
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visits
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import NotFound

CLIENT: Final = "client"
SETTLE_S_MAX: Final = 60.0
ANSWER_S_MAX: Final = 20.0  # a SYN that nobody answers is repeated after 1, 3, 7 s


class Shared:
    """Load balancers of one flavor that lets them share amphorae."""

    def __init__(self, rest: Rest, hosts: Hosts) -> None:
        self.rest, self.hosts = rest, hosts
        self.flavor = ""
        self.member = ""
        self.roots: list[dict[str, Any]] = []

    async def begin(self, per_amphora: int | None, **flavor: Any) -> None:
        """None: each has amphorae of its own."""
        self.member = await self.hosts.web_server("web1")
        await self.hosts.add(CLIENT, "public", argv=[])
        data = {**({} if per_amphora is None else {"max_load_balancers": per_amphora}), **flavor}
        self.flavor = await make_flavor(self.rest, "packed", data)

    async def add(self, name: str, **own: Any) -> dict[str, Any]:
        """One more, with a listener, a pool and a member. It is served afterwards."""
        member = {
            "address": self.member,
            "protocol_port": 80,
            "subnet_id": await self.hosts.subnet(PRIVATE),
        }
        pool = {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
        listener = {
            "name": name,
            "protocol": "HTTP",
            "protocol_port": 80,
            "default_pool": {**pool, "members": [member]},
        }
        tree = {
            "name": name,
            "vip_subnet_id": await self.hosts.subnet(PUBLIC),
            "flavor_id": self.flavor,
            "listeners": [listener],
            **own,
        }
        made: dict[str, Any] = await self.rest.post("lbaas/loadbalancers", {"loadbalancer": tree})
        self.roots.append(made)
        await self.settled(made)
        return made

    async def settled(self, *roots: dict[str, Any], status: str = "ACTIVE") -> None:
        for root in roots or self.roots:
            place = f"lbaas/loadbalancers/{root['id']}"

            async def has_it(place: str = place) -> bool:
                found: Any = await self.rest.get(place)
                return bool(found["loadbalancer"]["provisioning_status"] == status)

            await until(has_it, within_s=SETTLE_S_MAX, what=f"{root['name']} to be {status}")

    async def delete(self, root: dict[str, Any]) -> None:
        place = f"lbaas/loadbalancers/{root['id']}"
        await self.rest.delete(f"{place}?cascade=true")
        self.roots.remove(root)

        async def gone() -> bool:
            with contextlib.suppress(NotFound):
                await self.rest.get(place)
                return False
            return True

        await until(gone, within_s=SETTLE_S_MAX, what="the load balancer to be gone")

    async def spare(self, count: int = 1) -> None:
        """Wait for so many that are ready."""

        async def ready() -> bool:
            found: Any = await self.rest.get("octavia/amphorae?status=READY")
            return sum(one["loadbalancer_id"] is None for one in found["amphorae"]) >= count

        await until(ready, within_s=SETTLE_S_MAX, what="a spare")

    async def seats(self, root: dict[str, Any]) -> list[dict[str, Any]]:
        return await allocated(self.rest, root["id"])

    async def carriers(self) -> list[set[str]]:
        """On which amphorae each of them is."""
        return [{seat["compute_id"] for seat in await self.seats(root)} for root in self.roots]

    async def active(self) -> str:
        """An amphora that holds a VIP."""

        async def held() -> str:
            seats = [seat for root in self.roots for seat in await self.seats(root)]
            holding = (s["compute_id"] for s in seats if s["role"] in ("MASTER", "STANDALONE"))
            return next(holding, "")

        return str(await until(held, within_s=SETTLE_S_MAX, what="somebody to hold a VIP"))

    async def moved(self, old: set[str], each: int = 1, within_s: float = SETTLE_S_MAX) -> None:
        """Wait until all are served elsewhere, by so many."""

        async def elsewhere() -> bool:
            now = await self.carriers()
            return all(len(one) == each and not one & old for one in now)

        await until(elsewhere, within_s=within_s, what="others to serve")
        await self.settled()

    @contextlib.asynccontextmanager
    async def visited(
        self, roots: Sequence[dict[str, Any]], rate: float = 50.0
    ) -> AsyncIterator[list[Visits]]:
        """Clients of all of these; each was answered before the body begins, and after it."""
        enter = self.hosts.enter(CLIENT)
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    Visits(
                        enter, f"http://{root['vip_address']}/", rate=rate, within_s=ANSWER_S_MAX
                    )
                )
                for root in roots
            ]
            await asyncio.gather(*(one.first_ok(since=0.0) for one in clients))
            yield clients
            now = max((visit.ended for one in clients for visit in one.all), default=0.0)
            await asyncio.gather(*(one.first_ok(since=now) for one in clients))
