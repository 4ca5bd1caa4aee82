# SPDX-License-Identifier: Apache-2.0
"""The invariant of every run that breaks things: nobody's amphora is replaced but those that died.

Load balancers that nobody touches stand beside the ones that a test hurts. At the end each is
served by the amphora that served it at the beginning, and no failover was recorded for it.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until

SETTLE_S_MAX = 45.0  # without a spare an amphora is born for it


async def bystander(rest: Rest, subnet: str, name: str = "bystander") -> str:
    """A load balancer with nothing to listen on, the least that there is; its id."""
    vip = {"name": name, "vip_subnet_id": subnet}
    made = await rest.post("lbaas/loadbalancers", {"loadbalancer": vip})
    return str(made["id"])


async def settled(rest: Rest, *load_balancers: str, within_s: float = SETTLE_S_MAX) -> None:
    for one in load_balancers:

        async def is_active(one: str = one) -> bool:
            answer = await rest.get(f"lbaas/loadbalancers/{one}")
            return bool(answer["loadbalancer"]["provisioning_status"] == "ACTIVE")

        await until(is_active, within_s=within_s, what=f"load balancer {one} to be ACTIVE")


@contextlib.asynccontextmanager
async def untouched(rest: Rest, *load_balancers: str) -> AsyncIterator[None]:
    """Wait until they are served, then hold that no amphora of theirs is replaced meanwhile."""
    await settled(rest, *load_balancers)
    before = {one: await serving(rest, one) for one in load_balancers}
    assert all(before.values()), before
    yield
    await settled(rest, *load_balancers)
    assert {one: await serving(rest, one) for one in load_balancers} == before
    for one in load_balancers:
        assert await failures(rest, one) == []


async def serving(rest: Rest, load_balancer: str) -> Mapping[str, str]:
    """Ids and states of all amphorae that the load balancer has or had and that are there."""
    answer: Any = await rest.get(f"octavia/amphorae?loadbalancer_id={load_balancer}")
    return {one["id"]: one["status"] for one in answer["amphorae"]}


def replaced(before: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]) -> int:
    """How many amphorae are gone, of those that served these load balancers before."""
    return sum(len(was.keys() - are.keys()) for was, are in zip(before, now, strict=True))


async def failures(rest: Rest, load_balancer: str) -> list[str]:
    answer: Any = await rest.get(f"lbaas/loadbalancers/{load_balancer}/events?limit=1000")
    return [one["message"] for one in answer["events"] if one["kind"] == "failed"]
