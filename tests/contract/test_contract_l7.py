# SPDX-License-Identifier: Apache-2.0
"""L7 policies and rules keep the wire contract: order, actions that follow from attributes, what
comes along with a whole tree, and what is refused."""

from typing import Any

from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

NOBODY = "00000000-0000-0000-0000-0000000000ff"
URL = "https://example.org/"


async def _policy(api: Api, listener: Any, status: int = 201, **more: Any) -> Any:
    wish = {"listener_id": listener["id"], "action": "REJECT"} | more
    answer = await api.post("l7policies", {"l7policy": wish}, status)
    return answer["l7policy"] if status == 201 else answer["faultstring"]


async def _rule(api: Api, policy: Any, status: int = 201, **more: Any) -> Any:
    wish = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/a"} | more
    answer = await api.post(f"l7policies/{policy['id']}/rules", {"rule": wish}, status)
    return answer["rule"] if status == 201 else answer["faultstring"]


async def _change(api: Api, policy: Any, status: int = 200, **wish: Any) -> Any:
    answer = await api.put(f"l7policies/{policy['id']}", {"l7policy": wish}, status)
    return answer["l7policy"] if status == 200 else answer["faultstring"]


async def _names(api: Api, listener: Any) -> list[tuple[str, int]]:
    shown = (await api.get(f"listeners/{listener['id']}"))["listener"]
    found = []
    for one in shown["l7policies"]:
        policy = (await api.get(f"l7policies/{one['id']}"))["l7policy"]
        found.append((policy["name"], policy["position"]))
    return found


async def test_positions_are_packed_and_make_room(api: Api) -> None:
    listener = await api.listener(await api.load_balancer())
    for name in ("a", "b", "c"):
        last = await _policy(api, listener, name=name)
    assert await _names(api, listener) == [("a", 1), ("b", 2), ("c", 3)]
    first = await _policy(api, listener, name="d", position=1)
    assert (first["position"], last["position"]) == (1, 3)
    assert await _names(api, listener) == [("d", 1), ("a", 2), ("b", 3), ("c", 4)]
    far = await _policy(api, listener, name="e", position=2147483647)
    assert far["position"] == 5
    assert (await _change(api, far, position=2))["position"] == 2
    assert await _names(api, listener) == [("d", 1), ("e", 2), ("a", 3), ("b", 4), ("c", 5)]
    assert (await _change(api, first, position=None))["position"] == 5
    await api.delete(f"l7policies/{far['id']}")
    assert await _names(api, listener) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert (await _change(api, first, name="D"))["position"] == 4  # a new name moves nothing


async def test_an_attribute_says_which_action_it_is(api: Api) -> None:
    root = await api.load_balancer()
    listener, pool = await api.listener(root), await api.pool(root)
    policy = await _policy(api, listener)
    found = await _change(api, policy, redirect_pool_id=pool["id"])
    assert (found["action"], found["redirect_pool_id"]) == ("REDIRECT_TO_POOL", pool["id"])
    assert found["redirect_http_code"] is None
    found = await _change(api, policy, redirect_url=URL)
    assert (found["action"], found["redirect_url"]) == ("REDIRECT_TO_URL", URL)
    assert (found["redirect_pool_id"], found["redirect_http_code"]) == (None, 302)
    found = await _change(api, policy, redirect_http_code=308)
    assert (found["action"], found["redirect_http_code"]) == ("REDIRECT_TO_URL", 308)
    found = await _change(api, policy, action="REDIRECT_PREFIX", redirect_prefix=URL)
    assert (found["redirect_prefix"], found["redirect_url"]) == (URL, None)
    assert found["redirect_http_code"] == 302
    found = await _change(api, policy, action="REJECT")
    assert (found["redirect_prefix"], found["redirect_http_code"]) == (None, None)
    assert "redirect_url" in await _change(api, policy, 400, action="REDIRECT_TO_URL")
    shown = (await api.get(f"pools/{pool['id']}"))["pool"]
    assert shown["listeners"] == []


async def test_ours_share_requests_limit_rewrite_and_answer(api: Api) -> None:
    root = await api.load_balancer()
    listener = await api.listener(root)
    pools = [await api.pool(root) for _ in range(2)]
    group = [{"pool_id": pools[0]["id"], "weight": 95}, {"pool_id": pools[1]["id"], "weight": 5}]
    wishes: list[tuple[str, str, Any]] = [
        ("REDIRECT_TO_POOL", "redirect_pools", group),
        ("RATE_LIMIT", "rate_limit", {"requests": 10, "seconds": 1, "header": None}),
        ("FIXED_RESPONSE", "fixed_response",
         {"status_code": 418, "content_type": "text/plain", "body": "tea"}),
        ("REWRITE", "rewrite",
         {"set_request_headers": {"X-A": "1"}, "remove_request_headers": ["X-B"],
          "set_response_headers": {}, "remove_response_headers": [],
          "path_prefix": "/a", "path_replacement": "/b"}),
    ]  # fmt: skip
    for action, name, value in wishes:
        policy = await _policy(api, listener, action=action, **{name: value})
        assert policy[name] == value
        assert name in await _policy(api, listener, 400, action=action)
    for pool in pools:
        shown = (await api.get(f"pools/{pool['id']}"))["pool"]
        assert shown["listeners"] == [{"id": listener["id"]}]
        await api.delete(f"pools/{pool['id']}", 409)
    wrong = [
        ("redirect_pools", [{"pool_id": NOBODY}], 404, "Pool"),
        ("redirect_pools", [{"pool_id": pools[0]["id"], "weight": 0}], 400, "above 0"),
        ("rate_limit", {"requests": 0}, 400, "requests"),
        ("fixed_response", {"status_code": 99}, 400, "status_code"),
        ("fixed_response", {"body": "x" * 5000}, 400, "4096"),
        ("rewrite", {"set_request_headers": {"a b": "c"}}, 400, "no name of a header"),
        ("rewrite", {"set_request_headers": {"a": "b\r\nc"}}, 400, "printable"),
        ("rewrite", {"path_prefix": "/a"}, 400, "path_replacement"),
    ]
    actions = {name: action for action, name, _ in wishes}
    for name, value, status, text in wrong:
        said = await _policy(api, listener, status, action=actions[name], **{name: value})
        assert text in said, (name, value)


async def test_rules_are_made_shown_changed_and_counted(api: Api) -> None:
    listener = await api.listener(await api.load_balancer())
    policy = await _policy(api, listener)
    rule = await _rule(api, policy, type="HEADER", key="X-A", value="1", invert=True)
    place = f"l7policies/{policy['id']}/rules"
    shown = (await api.get(f"{place}/{rule['id']}"))["rule"]
    assert shown == rule | {"updated_at": rule["created_at"]}
    assert "name" not in rule
    changed = (await api.put(f"{place}/{rule['id']}", {"rule": {"invert": None}}))["rule"]
    assert changed["invert"] is False
    assert (await api.get(f"l7policies/{policy['id']}"))["l7policy"]["rules"] == [
        {"id": rule["id"]}
    ]
    for number in range(49):
        await _rule(api, policy, value=f"/{number}")
    said = await _rule(api, policy, 409)
    assert said == f"Too many rules on L7 policy {policy['id']}"
    found = (await api.get(f"{place}?type=HEADER"))["rules"]
    assert [one["id"] for one in found] == [rule["id"]]
    other = await _policy(api, listener)
    await api.get(f"l7policies/{other['id']}/rules/{rule['id']}", 404)
    await api.delete(f"{place}/{rule['id']}")
    await api.get(f"{place}/{rule['id']}", 404)
    await api.get(f"l7policies/{NOBODY}/rules", 404)
    await api.delete(f"l7policies/{policy['id']}")
    await api.get(place, 404)


async def test_a_policy_must_fit_its_listener_and_pool(api: Api) -> None:
    root, other = await api.load_balancer(), await api.load_balancer()
    listener = await api.listener(root)
    tcp, foreign = await api.pool(root, protocol="TCP"), await api.pool(other)
    to_pool = {"action": "REDIRECT_TO_POOL"}
    for wish, status, text in (
        ({"redirect_pool_id": tcp["id"]} | to_pool, 400, "names a TCP pool"),
        ({"redirect_pool_id": foreign["id"]} | to_pool, 404, f"Pool {foreign['id']} not found."),
        ({"redirect_pool_id": NOBODY} | to_pool, 404, f"Pool {NOBODY} not found."),
        ({"redirect_url": URL, "redirect_pool_id": tcp["id"]} | to_pool, 400, "TCP pool"),
        ({"listener_id": NOBODY}, 404, f"Listener {NOBODY} not found."),
    ):
        assert text in await _policy(api, listener, status, **wish), wish
    metrics = await api.listener(root, protocol="PROMETHEUS", protocol_port=9090)
    text = "Protocol PROMETHEUS listeners can not have child objects."
    assert text in await _policy(api, metrics, 400)
    pool = await api.pool(root)
    policy = await _policy(api, listener, redirect_pool_id=pool["id"], action="REDIRECT_TO_POOL")
    answer = await api.delete(f"pools/{pool['id']}", 409)
    assert answer["faultstring"] == f"Pool {pool['id']} is in use by L7 policy {policy['id']}"
    await api.delete(f"listeners/{listener['id']}")
    await api.get(f"l7policies/{policy['id']}", 404)
    await api.delete(f"pools/{pool['id']}")


async def test_policies_come_with_a_whole_tree(api: Api) -> None:
    rule = {"type": "HOST_NAME", "compare_type": "EQUAL_TO", "value": "a.example.org"}
    pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    member = {"address": "10.0.0.7", "protocol_port": 1}
    wish: dict[str, Any] = {
        "vip_subnet_id": PRIVATE_SUBNET,
        "provider": "noop",
        "pools": [pool | {"name": "blue", "members": [member]}],
        "listeners": [
            {
                "protocol": "HTTP",
                "protocol_port": 80,
                "default_pool": {"name": "green"},
                "l7policies": [
                    {"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "blue"},
                     "rules": [rule, rule | {"value": "b", "invert": True}]},
                    {"action": "REDIRECT_TO_POOL", "redirect_pool": pool | {"name": "green"}},
                    {"action": "REJECT", "position": 1, "name": "first"},
                ],
            }
        ],
    }  # fmt: skip
    root = (await api.post("loadbalancers", {"loadbalancer": wish}))["loadbalancer"]
    (listener,) = root["listeners"]
    first, blue, green = listener["l7policies"]
    assert (first["name"], blue["redirect_pool"]["name"]) == ("first", "blue")
    assert [rule["value"] for rule in sorted(blue["rules"], key=lambda rule: rule["invert"])] == [
        "a.example.org",
        "b",
    ]
    assert green["redirect_pool"]["id"] == listener["default_pool"]["id"]
    assert blue["redirect_pool"]["members"][0]["address"] == "10.0.0.7"
    statuses = (await api.get(f"loadbalancers/{root['id']}/status"))["statuses"]["loadbalancer"]
    assert {pool["name"] for pool in statuses["listeners"][0]["pools"]} == {"green", "blue"}
    assert len(statuses) == 5
    for wrong, text in (
        ({"redirect_pool": {"name": "red"}}, "Pool name 'red' is not defined"),
        ({"redirect_pool": pool | {"name": "blue"}}, "Pool name 'blue' must be unique"),
        ({"redirect_pool": pool}, "Pools must be named"),
        ({"rules": [rule | {"type": "SIZE"}]}, "field/attribute type"),
    ):
        policy = {"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "blue"}} | wrong
        whole = wish | {"listeners": [wish["listeners"][0] | {"l7policies": [policy]}]}
        whole["listeners"][0]["default_pool"] = {"name": "blue"}
        answer = await api.post("loadbalancers", {"loadbalancer": whole}, 400)
        assert text in answer["faultstring"], wrong
    assert len((await api.get("loadbalancers"))["loadbalancers"]) == 1
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    assert (await api.get("l7policies"))["l7policies"] == []


async def test_lists_of_policies_are_filtered_and_sorted(api: Api) -> None:
    root = await api.load_balancer()
    one, two = await api.listener(root), await api.listener(root, protocol_port=81)
    for listener in (one, two):
        await _policy(api, listener, name="x", action="REDIRECT_TO_URL", redirect_url=URL)
        await _policy(api, listener, name="y")
    for query, count in (
        ("", 4),
        (f"?listener_id={one['id']}", 2),
        (f"?loadbalancer_id={root['id']}&name=x", 2),
        ("?action=REJECT", 2),
        ("?position=1", 2),
        ("?redirect_http_code=302", 2),
        (f"?listener_id={NOBODY}", 0),
    ):
        assert len((await api.get(f"l7policies{query}"))["l7policies"]) == count, query
    found = await api.get("l7policies?sort=position:desc,name&limit=3")
    assert [p["position"] for p in found["l7policies"]] == [2, 2, 1]
    assert found["l7policies_links"][0]["rel"] == "next"
    await api.get("l7policies?nonsense=1", 400)
