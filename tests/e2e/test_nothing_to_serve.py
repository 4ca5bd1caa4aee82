# SPDX-License-Identifier: Apache-2.0
"""A load balancer with nothing to listen on keeps its amphora: it is lent, and watched as such."""

import asyncio
from typing import Any

from colonnade.cli.demo.scenario import PUBLIC
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from tests.untouched import bystander, settled, untouched

WATCHED_S = 12.0  # three times the silence after which one that serves is failed


async def listener(rest: Rest, root: str) -> str:
    made: Any = await rest.post(
        "lbaas/listeners",
        {"listener": {"loadbalancer_id": root, "protocol": "HTTP", "protocol_port": 80}},
    )
    await settled(rest, root)
    return f"lbaas/listeners/{made['id']}"


async def test_no_amphora_is_replaced_because_there_is_nothing_to_listen_on() -> None:
    async with running("--spares", "5") as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            subnet = await hosts.subnet(PUBLIC)
            names = ("empty", "listener-off", "itself-off", "listener-gone", "pool-only")
            roots = {name: await bystander(rest, subnet, name) for name in names}
            await rest.put(
                await listener(rest, roots["listener-off"]),
                {"listener": {"admin_state_up": False}},
            )
            await listener(rest, roots["itself-off"])
            await rest.put(
                f"lbaas/loadbalancers/{roots['itself-off']}",
                {"loadbalancer": {"admin_state_up": False}},
            )
            await rest.delete(await listener(rest, roots["listener-gone"]))
            pool = {
                "loadbalancer_id": roots["pool-only"],
                "protocol": "HTTP",
                "lb_algorithm": "ROUND_ROBIN",
            }
            await rest.post("lbaas/pools", {"pool": pool})
            async with untouched(rest, *roots.values()):
                await asyncio.sleep(WATCHED_S)
    assert system.left == []
