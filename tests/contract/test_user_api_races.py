# SPDX-License-Identifier: Apache-2.0
"""Writers of every kind at one load balancer at once: each is answered, and the past has no gap."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

from tests.contract.api_client import Api, api

__all__ = ["api"]

WRITERS = 12
WRITES = 5
# A client may be too late; nothing else may happen to it.
EXPECTED = {200, 201, 202, 204, 404, 409}
POOL = {"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
TREE: dict[str, Any] = {
    "pools": [{**POOL, "members": [{"address": "10.4.0.1", "protocol_port": 80}]}],
    "listeners": [
        {
            "name": "l",
            "protocol": "HTTP",
            "protocol_port": 80,
            "default_pool": {"name": "p"},
            "l7policies": [{"name": "z", "action": "REJECT"}],
        }
    ],
}


def in_order(found: Any) -> Any:
    """What comes back is made anew, all at once, so lists by age have another order."""
    if isinstance(found, dict):
        return {name: in_order(value) for name, value in found.items()}
    return sorted(map(in_order, found), key=repr) if isinstance(found, list) else found


async def write(api: Api, root: Any, random: Random, writer: int) -> int:
    one = f"/v2/lbaas/loadbalancers/{root['id']}"
    pool, listener = root["pools"][0]["id"], root["listeners"][0]["id"]
    members = f"/v2/lbaas/pools/{pool}/members"
    batch = [
        {"address": f"10.2.{writer}.{n}", "protocol_port": 80}
        for n in range(1, random.randint(2, 9))
    ]
    member = {"address": f"10.3.0.{random.randint(1, 4)}", "protocol_port": 80}
    policy = {"listener_id": listener, "action": "REDIRECT_TO_POOL", "redirect_pool_id": pool}
    asked: list[tuple[str, str, Any]] = [
        ("PUT", members, {"members": batch}),
        ("POST", f"{members}?wait=1", {"member": member}),
        ("PUT", f"{one}/tree", {"loadbalancer": {**TREE, "name": f"by {writer}"}}),
        ("POST", f"{one}/rollback", {"generation": random.randint(1, 20)}),
        ("PUT", f"/v2/lbaas/listeners/{listener}", {"listener": {"connection_limit": writer}}),
        ("POST", "/v2/lbaas/l7policies", {"l7policy": policy}),
    ]
    method, path, body = random.choice(asked)
    answer = await api.client.request(method, path, json=body)
    assert answer.status_code in EXPECTED, (method, path, answer.status_code, answer.text)
    return answer.status_code


async def test_writers_of_every_kind_leave_a_past_without_gaps(api: Api) -> None:
    root = await api.load_balancer(**TREE)

    async def writer(number: int) -> list[int]:
        random = Random(number)
        return [await write(api, root, random, number) for _ in range(WRITES)]

    answers = await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    counted = Counter(status for some in answers for status in some)
    assert sum(counted[status] for status in (200, 201, 202)) > WRITERS
    one = f"loadbalancers/{root['id']}"
    past = (await api.get(f"{one}/history"))["history"]
    newest = past[0]["generation"]
    assert [entry["generation"] for entry in past] == list(range(newest, 0, -1))
    # The way back through all of it, and again to where it was.
    tree = await api.get(f"{one}/tree")
    await api.post(f"{one}/rollback", {"generation": 1}, 200)
    back = await api.get(f"{one}/tree")
    assert [pool["name"] for pool in back["loadbalancer"]["pools"]] == ["p"]
    await api.post(f"{one}/rollback", {"generation": newest}, 200)
    assert in_order(await api.get(f"{one}/tree")) == in_order(tree)


async def test_what_is_deleted_while_others_write_is_gone(api: Api) -> None:
    root = await api.load_balancer(**TREE)
    pool = root["pools"][0]["id"]

    async def writer(number: int) -> list[int]:
        path, found = f"/v2/lbaas/pools/{pool}/members", []
        for n in range(1, 9):
            member = {"member": {"address": f"10.7.{number}.{n}", "protocol_port": 80}}
            found.append((await api.client.post(path, json=member)).status_code)
        return found

    async def deleter() -> list[int]:
        deadline = asyncio.get_running_loop().time() + 10
        while len((await api.get(f"pools/{pool}"))["pool"]["members"]) < 6:
            assert asyncio.get_running_loop().time() < deadline
        await api.delete(f"loadbalancers/{root['id']}?cascade=true")
        return []

    answers = await asyncio.gather(*(writer(number) for number in range(6)), deleter())
    for some in answers:
        # Once it is gone, it does not come back.
        assert 201 not in some[some.count(201) :]
        assert set(some) <= {201, 404, 409}
    assert any(404 in some for some in answers)
    await api.get(f"pools/{pool}", 404)
    await api.get(f"loadbalancers/{root['id']}", 404)
