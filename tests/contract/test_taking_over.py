# SPDX-License-Identifier: Apache-2.0
"""`POST /v2/octavia/imports`: a whole load balancer with the ids that it has elsewhere."""

import asyncio
from typing import Any

from colonnade.domain.ids import new_id
from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

MONITOR = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
RULE = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/api"}


def tree(**more: Any) -> dict[str, Any]:
    """Each object with an id, and pools named by theirs alone."""
    blue, green = new_id(), new_id()
    policy = {
        "id": new_id(), "action": "REDIRECT_TO_POOL", "redirect_pool_id": green, "position": 1,
        "rules": [RULE | {"id": new_id()}],
    }  # fmt: skip
    listener = {
        "id": new_id(), "name": "front", "protocol": "HTTP", "protocol_port": 80,
        "default_pool_id": blue, "l7policies": [policy],
    }  # fmt: skip
    members = [{"id": new_id(), "address": "10.0.0.1", "protocol_port": 80}]
    pools: list[dict[str, Any]] = [
        {"id": one, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": found}
        for one, found in ((blue, members), (green, []))
    ]
    pools[0]["healthmonitor"] = MONITOR | {"id": new_id()}
    return {
        "id": new_id(), "name": "web", "project_id": "shop", "vip_subnet_id": PRIVATE_SUBNET,
        "vip_port_id": new_id(), "vip_address": "10.0.0.77", "provider": "noop",
        "listeners": [listener], "pools": pools,
    } | more  # fmt: skip


async def imported(api: Api, body: Any, status: int = 201, **query: str) -> Any:
    answer = await api.ask(
        "POST", "/v2/octavia/imports", status, json={"loadbalancer": body}, params=query
    )
    return answer["loadbalancer"] if status == 201 else answer


def ids(found: Any) -> set[str]:
    """Of the object and all below it."""
    below = ("listeners", "pools", "members", "l7policies", "rules")
    each = [one for word in below for one in found.get(word) or ()]
    each += [found["healthmonitor"]] if found.get("healthmonitor") else []
    return {found["id"]}.union(*map(ids, each))


async def test_each_object_has_the_id_that_is_given(api: Api) -> None:
    body = tree()
    shown = await imported(api, body)
    assert ids(shown) == ids(body)
    assert (shown["project_id"], shown["vip_port_id"]) == ("shop", body["vip_port_id"])
    assert shown["vip_address"] == "10.0.0.77"
    (listener,) = shown["listeners"]
    assert listener["default_pool_id"] == body["pools"][0]["id"]
    assert listener["l7policies"][0]["redirect_pool_id"] == body["pools"][1]["id"]
    assert (await api.get(f"pools/{body['pools'][0]['id']}"))["pool"]["members"]
    document = await api.get(f"loadbalancers/{body['id']}/tree")
    assert ids(document["loadbalancer"]) == ids(body)


async def test_an_id_that_is_in_use_is_refused_and_nothing_is_lost(api: Api) -> None:
    body = tree()
    await imported(api, body)
    await imported(api, body, 409)
    for other in (
        tree(listeners=body["listeners"], pools=body["pools"]),
        tree(pools=body["pools"], listeners=[]),
    ):
        refused = await imported(api, other, 409)
        assert "this id is in use here already" in refused["faultstring"]
        await api.get(f"loadbalancers/{other['id']}", 404)
    assert ids((await api.get(f"loadbalancers/{body['id']}/tree"))["loadbalancer"]) == ids(body)
    twice = tree()
    twice["pools"][1]["id"] = twice["pools"][0]["id"]
    assert "for 2 objects" in (await imported(api, twice, 400))["faultstring"]
    assert "id is missing" in (await imported(api, tree(id=None), 400))["faultstring"]


async def test_of_two_at_once_one_is_taken(api: Api) -> None:
    body = tree()
    others = [tree(pools=body["pools"], listeners=[]) for _ in range(4)]
    sent = [api.client.post("/v2/octavia/imports", json={"loadbalancer": one}) for one in others]
    found = sorted([one.status_code for one in await asyncio.gather(*sent)])
    assert found == [201, 409, 409, 409]


async def test_a_dry_run_keeps_nothing_and_what_was_deleted_may_come_again(api: Api) -> None:
    body = tree()
    tried = await imported(api, body, 200, dry_run="true")
    assert len(tried["dry_run"]["changes"]) == len(ids(body))
    await api.get(f"loadbalancers/{body['id']}", 404)
    for _ in range(2):
        await imported(api, body)
        await api.delete(f"loadbalancers/{body['id']}?cascade=true")
        await api.get(f"loadbalancers/{body['id']}", 404)
