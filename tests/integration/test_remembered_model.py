# SPDX-License-Identifier: Apache-2.0
"""Whatever several processes do to one tree, and in whichever order, none remembers another tree
than what is stored under the same generation.

Three applications over three `Database`s share nothing but the rows. One of them keeps so little
that it forgets all the while.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colonnade.domain.ids import ClusterId
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres.database import Database
from colonnade.store.rows.difference import places
from colonnade.store.rows.tables import own_fields
from colonnade.store.trees import wishes
from colonnade.store.trees.remembered import VERSION, remembered_by
from tests.contract.api_client import Api
from tests.contract.processes import process
from tests.database import Databases

PROCESSES = 3
EXPECTED = {200, 201, 202, 204, 400, 404, 409}


Request: TypeAlias = tuple[str, str, Any]


class Step(msgspec.Struct, frozen=True):
    """What one process does, to which of the objects there are. Steps of a group are at once."""

    process: int
    what: str
    pick: int
    value: int


WHATS = ("member", "batch", "weight", "gone", "pool", "listener", "policy", "rule", "monitor")
MORE = ("drop", "tree", "rollback", "name", "again")
STEP = st.builds(
    Step,
    st.integers(0, PROCESSES - 1),
    st.sampled_from([*WHATS, *MORE]),
    st.integers(0, 5),
    st.integers(0, 4),
)
GROUPS = st.lists(st.lists(STEP, min_size=1, max_size=4), min_size=4, max_size=14)


async def take(api: Api, root: str, step: Step) -> None:
    tree = (await api.get(f"loadbalancers/{root}/tree"))["loadbalancer"]
    request = asked(tree, root, step)
    if request is None:
        return
    method, path, body = request
    answer = await api.client.request(method, f"/v2/lbaas/{path}", json=body)
    assert answer.status_code in EXPECTED, (method, path, answer.status_code, answer.text)


def asked(tree: dict[str, Any], root: str, step: Step) -> Request | None:
    if step.what in ("policy", "rule"):
        return _of_listener(tree, step)
    if step.what in ("pool", "listener", "tree", "rollback", "name"):
        return _of_root(root, step)
    pools = tree["pools"]
    return _of_pool(pools[step.pick % len(pools)], step) if pools else None


def _of_root(root: str, step: Step) -> Request:
    one, pool = f"loadbalancers/{root}", {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    whole = {"name": "n", "pools": [{**pool, "name": "t", "members": _batch(step.value)}]}
    place = {"loadbalancer_id": root}
    front = {"protocol": "HTTP", "protocol_port": 80 + step.value}
    asked: dict[str, Request] = {
        "pool": ("POST", "pools", {"pool": pool | place}),
        "listener": ("POST", "listeners", {"listener": front | place}),
        "tree": ("PUT", f"{one}/tree", {"loadbalancer": whole}),
        "rollback": ("POST", f"{one}/rollback", {"generation": step.value + 1}),
        "name": ("PUT", one, {"loadbalancer": {"name": f"n{step.value}"}}),
    }
    return asked[step.what]


def _of_pool(pool: dict[str, Any], step: Step) -> Request | None:
    members, value = f"pools/{pool['id']}/members", step.value
    member = {"address": f"10.0.0.{value + 1}", "protocol_port": 80}
    monitor = {"type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2}
    there = [{n: m[n] for n in ("address", "protocol_port")} for m in pool["members"]]
    asked: dict[str, Request] = {
        "member": ("POST", members, {"member": member}),
        "batch": ("PUT", members, {"members": _batch(value)}),
        "again": ("PUT", members, {"members": there}),
        "drop": ("DELETE", f"pools/{pool['id']}", None),
        "monitor": ("POST", "healthmonitors", {"healthmonitor": monitor | {"pool_id": pool["id"]}}),
    }
    if step.what in asked:
        return asked[step.what]
    if not pool["members"]:
        return None
    path = f"{members}/{pool['members'][value % len(pool['members'])]['id']}"
    if step.what == "gone":
        return "DELETE", path, None
    return "PUT", path, {"member": {"weight": value}}


def _batch(count: int) -> list[dict[str, Any]]:
    return [{"address": f"10.0.1.{n + 1}", "protocol_port": 80} for n in range(count)]


def _of_listener(tree: dict[str, Any], step: Step) -> Request | None:
    if not tree["listeners"]:
        return None
    listener = tree["listeners"][step.pick % len(tree["listeners"])]
    policies = listener["l7policies"]
    if step.what == "policy" or not policies:
        policy = {"listener_id": listener["id"], "action": "REJECT", "position": step.value + 1}
        return "POST", "l7policies", {"l7policy": policy}
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": f"/{step.value}"}
    return "POST", f"l7policies/{policies[0]['id']}/rules", {"rule": rule}


def plain(tree: LoadBalancer) -> Any:
    """All that is in it, whatever the order of what was made at once."""
    below = {key: (p.parent_id, own_fields(p.own)) for key, p in places(tree).items()}
    return own_fields(tree), below


async def compare(databases: list[Database], root: str) -> int:
    """How many of them know the tree as it is; what they know is what is stored."""
    async with databases[0].read() as connection:
        cursor = await connection.execute(
            f"SELECT lb.cluster_id, c.generation, {VERSION} FROM load_balancers lb"
            " JOIN clusters c ON c.id = lb.cluster_id WHERE lb.id = %s",
            [root],
        )
        ((cluster, generation, version),) = await cursor.fetchall()
        cluster_id = ClusterId(cluster)
        wanted = await wishes.wanted(connection, cluster_id)
    assert wanted is not None
    (stored,) = wanted.load_balancers
    known = 0
    for database in databases:
        found = remembered_by(database).find(root)
        if found is not None and (found.generation, found.version) == (generation, version):
            assert plain(found.tree) == plain(stored)
            known += 1
    return known


async def play(url: str, groups: list[list[Step]]) -> None:
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(process(url)) for _ in range(PROCESSES)]
        databases = [side.database for side in sides]
        remembered_by(databases[-1], objects_max=3)
        root = (await sides[0].load_balancer(name="n"))["id"]
        assert await compare(databases, root) == 1
        for group in groups:
            await asyncio.gather(*(take(sides[step.process], root, step) for step in group))
            await compare(databases, root)


@given(GROUPS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_remembered_is_what_is_stored(
    databases: Databases, groups: list[list[Step]]
) -> None:
    with databases.fresh() as url:
        asyncio.run(play(url, groups))
