# SPDX-License-Identifier: Apache-2.0
"""Many writers at one load balancer, and what a write costs beside how much else.

`storm`: ten clients, thirty listeners with a pool each, 690 writes of members, L7 policies and
rules, as fast as they are answered. `beside`: one member after the other into a small pool, in
trees that have so many other members. Starts an API and a database of its own, as `bench.api`
does, with the provider that serves nothing. Run it with nothing else running:
`python -m bench.storm [WORKERS]`.
"""

import asyncio
import json
import os
import sys
from typing import Any

from bench.api import Bench, serving
from bench.client import Load, member
from bench.served import Figures

CLIENTS = 10
PLACES = 30  # listeners, each with its pool
WRITES = 690
ROUNDS = 3
BESIDE = (0, 100, 1000, 5000)
POOL_MAX = 500  # members of one of the other pools
PATHS = 100  # writes of one client at a time, beside others

GOALS = {
    "workers_1.storm.per_s": "> 200",
    "workers_1.storm.p99_ms": "< 100",
    "workers_1.growth": "about 1",
    "workers_2.storm.per_s": "> 200",
    "workers_2.storm.p99_ms": "< 100",
}


class Storm:
    """One load balancer under fire."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._listeners: list[str] = []
        self._pools: list[str] = []
        self._policies: list[str | None] = [None] * PLACES

    async def furnish(self) -> None:
        root = await self._load.root()
        for number in range(PLACES):
            listener = {"loadbalancer_id": root, "protocol": "HTTP", "protocol_port": 1000 + number}
            self._listeners.append(await self._load.made("listeners", {"listener": listener}))
            pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
            pool |= {"listener_id": self._listeners[-1]}
            self._pools.append(await self._load.made("pools", {"pool": pool}))

    async def write(self, number: int) -> None:
        """Of 23 writes at each place: thirteen members, and of policies and rules five each."""
        turn, place = divmod(number, PLACES)
        policy = self._policies[place]
        if turn % 3 == 0 or turn >= 15:
            await self._load.made(f"pools/{self._pools[place]}/members", {"member": member(number)})
        elif turn % 3 == 1 or policy is None:
            wish = {"listener_id": self._listeners[place], "action": "REDIRECT_TO_POOL"}
            wish |= {"redirect_pool_id": self._pools[place]}
            self._policies[place] = await self._load.made("l7policies", {"l7policy": wish})
        else:
            rule = {"type": "PATH", "compare_type": "STARTS_WITH", "value": f"/{number}"}
            await self._load.made(f"l7policies/{policy}/rules", {"rule": rule})


async def _storm(bench: Bench) -> Figures:
    """Of three storms, each at a load balancer of its own, the one in the middle."""
    found = []
    for _ in range(ROUNDS):
        storm = Storm(bench.load)
        await storm.furnish()
        found.append(await bench.round(WRITES, CLIENTS, storm.write, iter(range(WRITES))))
    return sorted(found, key=lambda figures: figures["p99_ms"])[ROUNDS // 2]


async def _beside(bench: Bench, others: int) -> Figures:
    root, load = await bench.load.root(), bench.load
    pool = {"loadbalancer_id": root, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    target = await load.made("pools", {"pool": pool})
    for begin in range(0, others, POOL_MAX):
        members = [member(number) for number in range(begin, min(others, begin + POOL_MAX))]
        await load.made("pools", {"pool": pool | {"members": members}})

    async def write(number: int) -> None:
        await load.made(f"pools/{target}/members", {"member": member(number)})

    numbers = iter(range((ROUNDS + 1) * PATHS))
    await bench.round(PATHS, 1, write, numbers)  # the first one reads the tree
    rounds = [await bench.round(PATHS, 1, write, numbers) for _ in range(ROUNDS)]
    return min(rounds, key=lambda figures: figures["api_cpu_us"] + figures["database_cpu_us"])


async def run(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = {"storm": await _storm(bench)}
    for others in BESIDE:
        found[f"beside_{others}"] = await _beside(bench, others)
    few, many = (found[f"beside_{others}"] for others in (BESIDE[0], BESIDE[-1]))
    spent = [one["api_cpu_us"] + one["database_cpu_us"] for one in (few, many)]
    return found | {"growth": round(spent[1] / spent[0], 2), "load_average": os.getloadavg()[0]}


async def main(workers: int) -> None:
    async with serving(workers) as bench:
        print(json.dumps(await run(bench)))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
