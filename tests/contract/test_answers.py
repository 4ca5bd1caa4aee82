# SPDX-License-Identifier: Apache-2.0
"""Each answer is of the type that the OpenAPI document says, to the last key."""

import re
from typing import Any

import msgspec
import pytest

from colonnade.api.app import ROUTES
from colonnade.api.http.call import Route
from tests.contract.api_client import Api, api

__all__ = ["api"]

PLACE = re.compile(r"\{(\w+):str\}")
READ = [route for route in ROUTES if route.method == "GET" and "json" in route.media_type]


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_each_route_says_what_it_takes_and_answers(route: Route) -> None:
    assert route.summary
    empty = route.method == "DELETE" or (route.success == 202 and route.takes is None)
    if not empty and route.media_type == "application/json" and route.success != 202:
        assert route.answers is not None
    if route.takes is not None:
        body = msgspec.json.encode(route.example)
        assert msgspec.json.decode(body, type=route.takes) is not None


async def _world(api: Api) -> dict[str, str]:
    """One of each object, by the name that paths have for its id."""
    root = await api.load_balancer(name="web", tags=["a"])
    pool = await api.pool(root, session_persistence={"type": "SOURCE_IP"})
    listener = await api.listener(
        root, default_pool_id=pool["id"], allowed_cidrs=["198.51.100.0/24"],
        insert_headers={"X-Real-IP": "true"},
    )  # fmt: skip
    member, monitor = await api.member(pool), await api.monitor(pool)
    wish: dict[str, Any] = {"listener_id": listener["id"], "action": "REJECT"}
    policy = (await api.post("l7policies", {"l7policy": wish}))["l7policy"]
    wish = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/x"}
    rule = (await api.post(f"l7policies/{policy['id']}/rules", {"rule": wish}))["rule"]
    wish = {"name": "fp", "provider_name": "noop", "flavor_data": "{}"}
    profile = (await api.post("flavorprofiles", {"flavorprofile": wish}))["flavorprofile"]
    wish = {"name": "f", "flavor_profile_id": profile["id"]}
    await api.post("flavors", {"flavor": wish})
    await api.put("quotas/p1", {"quota": {"listener": 4}}, 202)
    return {
        "load_balancer_id": root["id"], "listener_id": listener["id"], "pool_id": pool["id"],
        "member_id": member["id"], "health_monitor_id": monitor["id"],
        "l7policy_id": policy["id"], "l7rule_id": rule["id"], "project_id": "p1",
        "provider": "noop",
    }  # fmt: skip


async def test_what_is_read_is_of_the_type_that_is_told(api: Api) -> None:
    places = await _world(api)
    seen = set()
    for route in READ:
        names = PLACE.findall(route.path)
        if route.answers is None or not all(place in places for place in names):
            continue
        path = PLACE.sub(lambda match: places[match.group(1)], route.path)
        answer = await api.client.get(path)
        if answer.status_code == 501:
            continue  # noop has no such list
        assert answer.status_code == 200, (path, answer.text)
        msgspec.json.decode(answer.content, type=route.answers)
        seen.add(route.path)
    assert len(seen) > 40, sorted(seen)
