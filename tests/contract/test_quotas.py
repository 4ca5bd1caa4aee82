# SPDX-License-Identifier: Apache-2.0
"""Quotas, row by row as the wire contract has them, and that no way of creating goes past one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from colonnade.api.user.quotas import QuotaObject
from colonnade.runtime.config import Quotas
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, api, serving
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

KEYS = set(QuotaObject.__struct_fields__)
DEFAULTS = Quotas(loadbalancer=2, member=7)


@pytest_asyncio.fixture
async def limited(database: Database) -> AsyncIterator[Api]:
    """An API whose configuration says what projects may have."""
    async with serving(database, default="noop", quotas=DEFAULTS) as api:
        yield api


async def allow(api: Api, project: str = "default", **limits: Any) -> Any:
    return (await api.put(f"quotas/{project}", {"quota": limits}, 202))["quota"]


async def test_a_quota_is_shown_changed_and_reset(api: Api) -> None:
    for path in ("quotas/p", "quotas/defaults", "quotas/p/default"):
        shown = (await api.get(path))["quota"]
        assert set(shown) == KEYS
        assert shown.pop("project_id") == shown.pop("tenant_id") == path.split("/")[1]
        assert set(shown.values()) == {-1}
    assert await api.get("quotas") == {"quotas": [], "quotas_links": []}
    unlimited = (await api.get("quotas/p"))["quota"]
    for body, changes in (
        ({"pool": 3, "l7rule": 0}, {"pool": 3, "l7rule": 0}),
        ({"load_balancer": 4}, {"loadbalancer": 4, "load_balancer": 4}),  # and the others stay
        ({"loadbalancer": 5}, {"loadbalancer": 5, "load_balancer": 5}),
        ({"loadbalancer": 6, "load_balancer": 7}, {"loadbalancer": 6, "load_balancer": 6}),
        ({"health_monitor": 1}, {"healthmonitor": 1, "health_monitor": 1}),
        (
            {"healthmonitor": 2_000_000_000},
            dict.fromkeys(("healthmonitor", "health_monitor"), 2000000000),
        ),
        ({"l7policy": 9, "listener": 8, "member": 2}, {"l7policy": 9, "listener": 8, "member": 2}),
        ({"pool": None, "member": -1}, {"pool": -1, "member": -1}),
        ({}, {}),
    ):
        unlimited |= changes
        assert await allow(api, "p", **body) == unlimited, body
        assert (await api.get("quotas/p"))["quota"] == unlimited
    assert (await api.get("quotas?fields=project_id"))["quotas"] == [{"project_id": "p"}]
    await api.delete("quotas/p", 202)
    assert set((await api.get("quotas/p"))["quota"].values()) == {-1, "p"}
    said = (await api.delete("quotas/p", 404))["faultstring"]
    assert said == "Quota p not found."


async def test_what_is_no_quota_is_refused(api: Api) -> None:
    for body, said in (
        ({"pool": -2}, "Invalid input for field/attribute pool. Value: '-2'."),
        ({"pool": 2_000_000_001}, "Invalid input for field/attribute pool."),
        ({"pool": "many"}, "Invalid input for field/attribute pool. Value: 'many'."),
        ({"pools": 1}, "Unknown attribute for argument quota: pools"),
        ({"project_id": "q"}, "Unknown attribute for argument quota: project_id"),
    ):
        assert said in (await api.put("quotas/p", {"quota": body}, 400))["faultstring"]
    await api.get("quotas/" + "p" * 37, 404)
    assert (await api.get("quotas"))["quotas"] == []


async def test_a_project_sees_its_own_quota_alone(api: Api) -> None:
    await allow(api, "p", pool=1)
    await allow(api, "q", pool=2)
    user = {"X-Project-Id": "p"}
    (shown,) = (await api.get("quotas", headers=user))["quotas"]
    assert (shown["project_id"], shown["pool"]) == ("p", 1)
    assert (await api.get("quotas/p", headers=user))["quota"]["pool"] == 1
    assert (await api.get("quotas/p/default", headers=user))["quota"]["pool"] == -1
    for path in ("quotas/q", "quotas/q/default", "quotas/defaults", "quotas?project_id=q"):
        said = (await api.get(path, 403, headers=user))["faultstring"]
        assert said == "Policy does not allow this request to be performed."


async def test_quotas_are_listed_as_anything_else(api: Api) -> None:
    for number, project in enumerate(("b", "a", "c")):
        await allow(api, project, pool=number % 2)
    for query, projects in (
        ("", "bac"),
        ("sort=project_id:desc", "cba"),
        ("pool=0", "bc"),
        ("project_id=a", "a"),
        ("loadbalancer=-1&load_balancer=-1", "bac"),
        ("sort=pool,project_id&limit=2", "bc"),
        ("sort=pool,project_id&limit=2&marker=c", "a"),
    ):
        found = (await api.get(f"quotas?{query}"))["quotas"]
        assert "".join(x["project_id"] for x in found) == projects, query
    links = (await api.get("quotas?limit=2&sort=project_id"))["quotas_links"]
    href = "http://api.test/v2/lbaas/quotas?limit=2&sort=project_id&marker=b"
    assert links == [{"rel": "next", "href": href}]
    for bad in ("nonsense=1", "sort=nonsense", "marker=nobody", "limit=x"):
        await api.get(f"quotas?{bad}", 400)


async def test_the_configuration_says_what_holds_for_the_others(limited: Api) -> None:
    shown = (await limited.get("quotas/p/default"))["quota"]
    assert (shown["loadbalancer"], shown["load_balancer"], shown["member"]) == (2, 2, 7)
    assert (await limited.get("quotas/p"))["quota"] == shown
    await limited.load_balancer()
    root = await limited.load_balancer()
    body = {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET}}
    said = (await limited.post("loadbalancers", body, 403))["faultstring"]
    assert said == "Quota has been met for resources: Load Balancer"
    pool = await limited.pool(root)
    members = [{"address": f"10.0.0.{n}", "protocol_port": 80} for n in range(1, 9)]
    await limited.put(f"pools/{pool['id']}/members", {"members": members}, 403)
    await allow(limited, loadbalancer=3)
    await limited.put(f"pools/{pool['id']}/members", {"members": members[:7]}, 202)
    assert (await limited.get("quotas?loadbalancer=3&member=7"))["quotas"] != []
    await limited.load_balancer()
    await allow(limited, loadbalancer=None)
    await limited.post("loadbalancers", body, 403)
    user = {"X-Project-Id": "p"}  # has nothing yet
    await limited.post("loadbalancers", body, headers=user)


async def test_no_way_of_creating_goes_past_a_quota(api: Api) -> None:
    root = await api.load_balancer()
    pool = await api.pool(root)
    listener = await api.listener(root)
    policies = {"listener_id": listener["id"], "action": "REJECT"}
    policy = (await api.post("l7policies", {"l7policy": policies}))["l7policy"]
    rules = f"l7policies/{policy['id']}/rules"
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}
    member = {"address": "10.0.0.1", "protocol_port": 80}
    monitor = {"type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2}
    child = {"loadbalancer_id": root["id"], "protocol": "HTTP"}
    fresh = child | {"lb_algorithm": "ROUND_ROBIN"}
    nested = {"name": "n", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    whole = {"vip_subnet_id": PRIVATE_SUBNET, "provider": "noop"}
    ways: tuple[tuple[str, str, str, str, Any], ...] = (
        # what is met, method, path, wrapper, body
        ("Load Balancer", "POST", "loadbalancers", "loadbalancer", whole),
        ("Load Balancer", "POST", "loadbalancers", "loadbalancer", whole | {"pools": [nested]}),
        ("Listener", "POST", "listeners", "listener", child | {"protocol_port": 81}),
        (
            "Listener",
            "POST",
            "loadbalancers",
            "loadbalancer",
            whole | {"listeners": [{"protocol": "HTTP", "protocol_port": 80}]},
        ),
        ("Pool", "POST", "pools", "pool", fresh),
        ("Pool", "POST", "loadbalancers", "loadbalancer", whole | {"pools": [nested]}),
        (
            "Pool",
            "POST",
            "listeners",
            "listener",
            child | {"protocol_port": 82, "default_pool": nested},
        ),
        ("Member", "POST", f"pools/{pool['id']}/members", "member", member),
        ("Member", "PUT", f"pools/{pool['id']}/members", "members", [member]),
        ("Member", "POST", "pools", "pool", fresh | {"members": [member]}),
        (
            "Member",
            "POST",
            "loadbalancers",
            "loadbalancer",
            whole | {"pools": [nested | {"members": [member]}]},
        ),
        (
            "Health Monitor",
            "POST",
            "healthmonitors",
            "healthmonitor",
            monitor | {"pool_id": pool["id"]},
        ),
        ("Health Monitor", "POST", "pools", "pool", fresh | {"healthmonitor": monitor}),
        (
            "Health Monitor",
            "POST",
            "loadbalancers",
            "loadbalancer",
            whole | {"pools": [nested | {"healthmonitor": monitor}]},
        ),
        ("L7 Policy", "POST", "l7policies", "l7policy", policies),
        ("L7 Rule", "POST", rules, "rule", rule),
        ("L7 Rule", "POST", "l7policies", "l7policy", policies | {"rules": [rule]}),
    )
    keys = {
        "Load Balancer": "loadbalancer",
        "Listener": "listener",
        "Pool": "pool",
        "Member": "member",
        "Health Monitor": "healthmonitor",
        "L7 Policy": "l7policy",
        "L7 Rule": "l7rule",
    }
    has = {"loadbalancer": 1, "listener": 1, "pool": 1, "l7policy": 1}
    before = await _everything(api)
    for noun, method, path, wrapper, body in ways:
        full: dict[str, Any] = dict.fromkeys(keys.values(), -1)
        await allow(api, **full | {keys[noun]: has.get(keys[noun], 0)})
        answer = await api.ask(method, f"/v2/lbaas/{path}", 403, json={wrapper: body})
        assert answer["faultstring"] == f"Quota has been met for resources: {noun}", (path, body)
    assert await _everything(api) == before
    # With room for exactly one more, each goes.
    for noun, method, path, wrapper, body in ways:
        room: dict[str, Any] = dict.fromkeys(keys.values(), -1)
        await allow(api, **room | {keys[noun]: await _count(api, noun) + 1})
        answer = await api.client.request(method, f"/v2/lbaas/{path}", json={wrapper: body})
        assert answer.status_code in (201, 202), (path, body, answer.text)
        for word in ("loadbalancers", "pools", "listeners", "l7policies", "healthmonitors"):
            for one in (await api.get(word))[word]:
                if word == "healthmonitors" or one["id"] not in before:
                    await api.client.delete(f"/v2/lbaas/{word}/{one['id']}?cascade=true")
        await api.put(f"pools/{pool['id']}/members", {"members": []}, 202)
        for one in (await api.get(rules))["rules"]:
            await api.delete(f"{rules}/{one['id']}")


async def test_a_whole_tree_counts_no_l7_and_a_batch_counts_what_it_adds(api: Api) -> None:
    await allow(api, l7policy=0, l7rule=0, member=2)
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}
    policy = {"action": "REJECT", "rules": [rule]}
    listener = {"protocol": "HTTP", "protocol_port": 80, "l7policies": [policy]}
    root = await api.load_balancer(listeners=[listener])
    assert len((await api.get("l7policies"))["l7policies"]) == 1
    pool = await api.pool(root)
    path = f"pools/{pool['id']}/members"
    for numbers, status in (((1, 2), 202), ((3, 4), 202), ((3, 5), 202), ((1, 2, 3), 403)):
        members = [{"address": f"10.0.0.{n}", "protocol_port": 80} for n in numbers]
        await api.put(path, {"members": members}, status)
    await allow(api, member=0)  # what is there stays, and may be changed and shrink
    (first, second) = (await api.get(path))["members"]
    await api.put(f"{path}/{first['id']}", {"member": {"weight": 3}})
    await api.delete(f"{path}/{second['id']}")
    await api.member(pool, 403, address="10.0.0.9")


async def test_two_that_race_share_what_is_left(api: Api) -> None:
    await allow(api, loadbalancer=3, member=3)
    body = {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET, "provider": "noop"}}
    asked = [api.client.post("/v2/lbaas/loadbalancers", json=body) for _ in range(8)]
    codes = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert codes == [201] * 3 + [403] * 5
    pools = [await api.pool(root) for root in (await api.get("loadbalancers"))["loadbalancers"]]
    asked = []
    for number in range(8):
        path = f"/v2/lbaas/pools/{pools[number % 3]['id']}/members"
        member = {"address": f"10.0.0.{number + 1}", "protocol_port": 80}
        asked.append(api.client.post(path, json={"member": member}))
    codes = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert codes == [201] * 3 + [403] * 5


async def _everything(api: Api) -> set[str]:
    found = set()
    for word in ("loadbalancers", "listeners", "pools", "healthmonitors", "l7policies"):
        found |= {one["id"] for one in (await api.get(word))[word]}
    return found


async def _count(api: Api, noun: str) -> int:
    words = {
        "Load Balancer": "loadbalancers",
        "Listener": "listeners",
        "Pool": "pools",
        "L7 Policy": "l7policies",
    }
    word = words.get(noun)
    return len((await api.get(word))[word]) if word else 0
