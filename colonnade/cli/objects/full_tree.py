# SPDX-License-Identifier: Apache-2.0
"""A load balancer with all that is under it, read from lists that any endpoint has.

The shape is that of the answer to a fully populated create: listeners with their policies and
those with their rules, pools with their members and health monitor.
"""

import asyncio
from typing import Any

from colonnade.cli.objects.session import Session
from colonnade.domain.errors import NotFound

AT_ONCE_MAX = 8  # requests on their way at the same time

Shown = dict[str, Any]


async def read_whole(session: Session, root_id: str) -> Shown:
    root = (await session.rest.get(f"lbaas/loadbalancers/{root_id}"))["loadbalancer"]
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def every(word: str, parent: str = "", **query: str) -> list[Shown]:
        async with gate:
            return await session.names.every(session.names.noun(word), parent, query)

    listeners, pools = await asyncio.gather(
        every("listener", loadbalancer_id=root_id), every("pool", loadbalancer_id=root_id)
    )

    async def fill_pool(pool: Shown) -> None:
        pool["members"] = await every("member", pool["id"])
        pool["healthmonitor"] = None
        if pool.get("healthmonitor_id"):
            async with gate:
                path = f"lbaas/healthmonitors/{pool['healthmonitor_id']}"
                pool["healthmonitor"] = (await session.rest.get(path))["healthmonitor"]

    async def fill_listener(listener: Shown) -> None:
        if listener.get("l7policies"):
            listener["l7policies"] = await policies(listener["id"])

    async def policies(listener_id: str) -> list[Shown]:
        try:
            found = await every("policy", listener_id=listener_id)
        except NotFound:  # an endpoint without layer 7
            return []
        for policy in sorted(found, key=_position):
            policy["rules"] = await every("rule", policy["id"])
        return sorted(found, key=_position)

    await asyncio.gather(*map(fill_pool, pools), *map(fill_listener, listeners))
    root["listeners"], root["pools"] = listeners, pools
    return dict(root)


def _position(policy: Shown) -> int:
    return int(policy.get("position") or 0)
