# SPDX-License-Identifier: Apache-2.0
"""A POST with an Idempotency-Key makes one object, however often and however badly it is sent."""

import asyncio
import contextlib
from typing import Any

import pytest

from colonnade.store.postgres.database import Database
from colonnade.store.requests import idempotency
from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

ROOT = {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET, "provider": "noop", "name": "web"}}


def key(text: str) -> dict[str, Any]:
    return {"headers": {"Idempotency-Key": text}}


async def test_the_same_request_answers_the_same_object_for_every_noun(api: Api) -> None:
    root = (await api.post("loadbalancers", ROOT, **key("root")))["loadbalancer"]
    again = (await api.post("loadbalancers", ROOT, **key("root")))["loadbalancer"]
    assert (again["id"], again["vip_address"]) == (root["id"], root["vip_address"])
    listener = {"listener": {"loadbalancer_id": root["id"], "protocol": "HTTP"}}
    listener["listener"]["protocol_port"] = 80
    pool = {"pool": {"loadbalancer_id": root["id"], "protocol": "HTTP"}}
    pool["pool"] |= {"lb_algorithm": "ROUND_ROBIN", "name": "one"}
    made = {}
    for path, body in (("listeners", listener), ("pools", pool)):
        first = await api.post(path, body, **key(path))
        again = await api.post(path, body, **key(path))
        (wrapper,) = body
        assert first[wrapper]["id"] == again[wrapper]["id"]
        made[wrapper] = first[wrapper]["id"]
    more = {
        f"pools/{made['pool']}/members": {"member": {"address": "10.0.0.9", "protocol_port": 80}},
        "healthmonitors": {
            "healthmonitor": {"pool_id": made["pool"], "type": "TCP", "delay": 5, "timeout": 3}
            | {"max_retries": 3}
        },
        "l7policies": {"l7policy": {"listener_id": made["listener"], "action": "REJECT"}},
    }
    for path, body in more.items():
        first = await api.post(path, body, **key(path))
        again = await api.post(path, body, **key(path))
        (wrapper,) = body
        assert first[wrapper]["id"] == again[wrapper]["id"]
        made[wrapper] = first[wrapper]["id"]
    rules = f"l7policies/{made['l7policy']}/rules"
    rule = {"rule": {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/a"}}
    first = await api.post(rules, rule, **key("rule"))
    again = await api.post(rules, rule, **key("rule"))
    assert again["rule"]["id"] == first["rule"]["id"]
    assert len((await api.get(rules))["rules"]) == 1
    lists = {p: await api.get(p) for p in ("listeners", "pools", "healthmonitors", "l7policies")}
    assert [len(found[path]) for path, found in lists.items()] == [1, 1, 1, 1]


async def test_a_key_belongs_to_one_request(api: Api) -> None:
    root = (await api.post("loadbalancers", ROOT, **key("k")))["loadbalancer"]
    other = {"loadbalancer": ROOT["loadbalancer"] | {"name": "other"}}
    refused = await api.post("loadbalancers", other, 422, **key("k"))
    assert "Idempotency-Key was used for another request" in refused["faultstring"]
    await api.post("pools", ROOT, 422, **key("k"))
    for bad in ("", "x" * 256):
        await api.post("loadbalancers", ROOT, 400, **key(bad))
    # What was refused has used up nothing.
    wrong = {"loadbalancer": ROOT["loadbalancer"] | {"provider": "nobody"}}
    await api.post("loadbalancers", wrong, 400, **key("new"))
    await api.post("loadbalancers", ROOT, **key("new"))
    await api.put(f"quotas/{root['project_id']}", {"quota": {"pool": 0}}, 202)
    pool = {"loadbalancer_id": root["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    await api.post("pools", {"pool": pool}, 403, **key("pool"))  # after it was written
    await api.put(f"quotas/{root['project_id']}", {"quota": {"pool": 1}}, 202)
    await api.post("pools", {"pool": pool}, **key("pool"))
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    gone = await api.post("loadbalancers", ROOT, 409, **key("k"))
    assert "is gone" in gone["faultstring"]


async def test_of_many_at_once_one_makes_the_object(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.post("loadbalancers", ROOT, **key("burst")) for _ in range(10))
    )
    assert len({answer["loadbalancer"]["id"] for answer in answers}) == 1
    assert len((await api.get("loadbalancers"))["loadbalancers"]) == 1


async def test_keys_are_forgotten_after_a_day(api: Api, database: Database) -> None:
    await api.post("loadbalancers", ROOT, **key("old"))
    await api.post("loadbalancers", ROOT, **key("young"))
    async with database.read() as connection:
        await connection.execute(
            "UPDATE idempotency_keys SET at = now() - interval '25 hours' WHERE key = 'old'"
        )
        await idempotency.forget_old(connection)
    await api.post("loadbalancers", ROOT, **key("old"))
    await api.post("loadbalancers", ROOT, **key("young"))
    assert len((await api.get("loadbalancers"))["loadbalancers"]) == 3


@pytest.mark.parametrize("path", ["flavorprofiles"])
async def test_other_objects_are_made_once_too(api: Api, path: str) -> None:
    body = {"flavorprofile": {"name": "f", "provider_name": "noop", "flavor_data": "{}"}}
    first = await api.post(path, body, **key("p"))
    assert await api.post(path, body, **key("p")) == first
    assert len((await api.get(path))["flavorprofiles"]) == 1


async def test_wherever_a_request_is_cut_off_a_second_one_makes_nothing_twice(api: Api) -> None:
    """A client that gives up at any moment, and asks again at once, has one object."""
    for number in range(20):
        body = {"loadbalancer": ROOT["loadbalancer"] | {"name": f"cut {number}"}}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(number / 1000):
                await api.post("loadbalancers", body, **key(f"cut {number}"))
        await api.post("loadbalancers", body, **key(f"cut {number}"))
    found = (await api.get("loadbalancers"))["loadbalancers"]
    assert sorted(one["name"] for one in found) == sorted(f"cut {n}" for n in range(20))
