# SPDX-License-Identifier: Apache-2.0
"""How the data plane grows: the time of a change with the members, memory with the listeners.

The time is what a user waits: from before the request to the moment that the object is shown as
ACTIVE, so that haproxy has it. Memory is PSS, of the agent and of the one haproxy worker that is
there when the old ones have gone.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.results import Figures
from colonnade.agent.haproxy import memory
from colonnade.cli.local import leftovers
from colonnade.cli.waiting import until
from colonnade.domain.errors import NotFound
from tests.hitless import Site

SIZES, ROUNDS, RELOAD_ROUNDS = (1, 10, 100, 1000), 15, 5
LISTENERS = (1, 10, 100)
FIRST_PORT = 10_000
PAUSE_S = 0.003
APPLIED_S_MAX = 30.0
# Longer than two reloads are apart, so that none waits for its turn.
RELOADS_APART_S = 1.2


async def latencies(site: Site) -> Figures:
    """Milliseconds of each kind of change, by the number of members in the pool."""
    figures: Figures = {}
    for size in SIZES:
        found = await _latencies_at(site, size)
        figures |= {f"change.{size}_members.{name}": value for name, value in found.items()}
    return figures


async def _latencies_at(site: Site, size: int) -> Figures:
    members = f"lbaas/pools/{site.tree.pools[0].id}/members"
    listener = f"lbaas/listeners/{site.tree.listeners[80]}"
    await site.rest.put(members, {"members": [_member(site, n) for n in range(size)]})
    await site.settled()
    first = (await site.rest.get(f"{members}?limit=1"))["members"][0]["id"]

    async def weigh(number: int) -> None:
        await site.rest.put(f"{members}/{first}", {"member": {"weight": 2 + number}})

    async def exchange(number: int) -> None:
        """The last member leaves as another comes, so that the size stays."""
        wanted = [*range(size - 1), 2000 + number]
        await site.rest.put(members, {"members": [_member(site, n) for n in wanted]})

    async def reload(number: int) -> None:
        await site.rest.put(listener, {"listener": {"timeout_client_data": 60_000 + number}})

    before = await site.reloads()
    figures: Figures = {
        "weight_ms": await _median_ms(site, ROUNDS, weigh),
        "exchange_ms": await _median_ms(site, ROUNDS, exchange),
        "reloads_by_those": await site.reloads() - before,
    }
    figures["reload_ms"] = await _median_ms(site, RELOAD_ROUNDS, reload, apart_s=RELOADS_APART_S)
    return figures


async def _median_ms(
    site: Site, rounds: int, change: Callable[[int], Awaitable[Any]], *, apart_s: float = 0.0
) -> float:
    place = f"lbaas/loadbalancers/{site.tree.root['id']}?fields=provisioning_status"

    async def applied() -> bool:
        root = (await site.rest.get(place))["loadbalancer"]
        return bool(root["provisioning_status"] == "ACTIVE")

    took = []
    for number in range(rounds):
        await asyncio.sleep(apart_s)
        began = time.perf_counter()
        await change(number)
        await until(applied, within_s=APPLIED_S_MAX, what="a change", pause_s=PAUSE_S)
        took.append((time.perf_counter() - began) * 1000)
    return round(median(took), 1)


def _member(site: Site, number: int) -> dict[str, Any]:
    """One of many on few hosts: nothing listens there, and nobody asks."""
    return {
        "address": site.material.hosts[number % len(site.material.hosts)],
        "protocol_port": FIRST_PORT + number,
        "subnet_id": site.material.member_subnet,
    }


async def memories(site: Site) -> Figures:
    """Megabytes of agent and haproxy, by the number of HTTP listeners with a pool."""
    figures: Figures = {}
    pool = site.tree.pools[0].id
    for port in (443, 7000):
        await site.rest.delete(f"lbaas/listeners/{site.tree.listeners[port]}")
    there = 1
    for count in LISTENERS:
        for number in range(there, count):
            body = {
                "loadbalancer_id": site.tree.root["id"],
                "protocol": "HTTP",
                "protocol_port": FIRST_PORT + number,
                "default_pool_id": pool,
            }
            await site.rest.post("lbaas/listeners", {"listener": body})
        there = count
        await site.settled()
        await until(lambda: _is_alone(site), within_s=APPLIED_S_MAX, what="the old workers to end")
        agent, workers = _processes(site)
        name = f"memory.{count}_listeners"
        figures[f"{name}.agent_mb"] = round(memory.held_bytes(agent) / 1e6, 1)
        figures[f"{name}.haproxy_mb"] = round(sum(map(memory.held_bytes, workers)) / 1e6, 1)
    return figures


async def _is_alone(site: Site) -> bool:
    return len(await site.processes()) == 2


def _processes(site: Site) -> tuple[int, Sequence[int]]:
    """The agent of the amphora that runs haproxy, and haproxy's own processes."""
    amphora = (Path(site.folder()).parents[2] / "ns" / "mnt").readlink()
    agent, workers = 0, []
    for pid in leftovers.family(site.system.mark):
        place = Path(f"/proc/{pid}")
        with contextlib.suppress(OSError):  # it ended meanwhile
            if (place / "ns" / "mnt").readlink() != amphora:
                continue
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "colonnade.agent" in words and "python" in words[0]:
                agent = pid
            elif Path(words[0]).name == "haproxy":
                workers.append(pid)
    if not agent or not workers:
        raise NotFound("the processes of the amphora are not found")
    return agent, workers
