# SPDX-License-Identifier: Apache-2.0
"""`PUT .../tree`: the whole tree as said, with as few changes as possible and ids that stay."""

from typing import Any

from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

MONITOR = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
RULE = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/api"}


def pool(name: str, *addresses: str, **more: Any) -> dict[str, Any]:
    members = [{"address": address, "protocol_port": 80} for address in addresses]
    return {"name": name, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": members} | (
        more
    )


def listener(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "protocol": "HTTP", "protocol_port": port} | more


TREE = {
    "name": "web",
    "listeners": [
        listener(
            "front",
            80,
            default_pool={"name": "blue"},
            l7policies=[
                {
                    "name": "api",
                    "action": "REDIRECT_TO_POOL",
                    "redirect_pool": {"name": "green"},
                    "rules": [RULE],
                }
            ],
        )
    ],
    "pools": [pool("blue", "10.0.0.1", "10.0.0.2", healthmonitor=MONITOR), pool("green")],
}


async def made(api: Api, **more: Any) -> Any:
    body = TREE | {"vip_subnet_id": PRIVATE_SUBNET, "provider": "noop"} | more
    return (await api.post("loadbalancers", {"loadbalancer": body}))["loadbalancer"]


async def put(api: Api, root: Any, body: Any, status: int = 200) -> Any:
    path = f"loadbalancers/{root['id']}/tree"
    answer = await api.put(path, {"loadbalancer": body}, status)
    return answer["loadbalancer"] if status == 200 else answer


async def generation(api: Api, root: Any) -> int:
    history = await api.get(f"loadbalancers/{root['id']}/history")
    return int(history["history"][0]["generation"])


def ids(shown: Any) -> dict[str, str]:
    """Each object's id by what a person would call it."""
    found = {}
    for one in shown["listeners"]:
        found[one["name"] or f"port {one['protocol_port']}"] = one["id"]
        for policy in one["l7policies"]:
            found[f"policy {policy['name']}"] = policy["id"]
            found |= {f"rule {rule['value']}": rule["id"] for rule in policy["rules"]}
    for one in shown["pools"]:
        found[one["name"]] = one["id"]
        found |= {f"{one['name']} {m['address']}": m["id"] for m in one["members"]}
        if one["healthmonitor"]:
            found[f"{one['name']} monitor"] = one["healthmonitor"]["id"]
    return found


async def test_the_tree_that_is_there_is_no_change(api: Api) -> None:
    root = await made(api)
    for body in (TREE, (await api.get(f"loadbalancers/{root['id']}/tree"))["loadbalancer"]):
        assert await put(api, root, body) == root


async def test_what_is_meant_keeps_its_id_and_the_rest_goes(api: Api) -> None:
    root = await made(api)
    before = ids(root)
    blue = pool("blue", "10.0.0.2", "10.0.0.3", healthmonitor=MONITOR | {"delay": 9})
    blue["members"][0]["weight"] = 7
    front = listener("front", 8080, default_pool={"name": "blue"}, timeout_client_data=1000)
    back = listener("back", 81)
    after = await put(
        api, root, {"name": "other", "listeners": [back, front], "pools": [blue, pool("red")]}
    )
    now = ids(after)
    kept = {"front", "blue", "blue 10.0.0.2", "blue monitor"}
    assert {name for name in before if now.get(name) == before[name]} == kept
    assert set(now) == kept | {"back", "blue 10.0.0.3", "red"}
    assert after["name"] == "other"
    by_name = {one["name"]: one for one in after["listeners"]}
    assert by_name["front"]["protocol_port"] == 8080
    assert by_name["front"]["default_pool_id"] == before["blue"]
    # Attributes left out go to their defaults, and come from them.
    again = await put(api, root, TREE)
    front = next(one for one in again["listeners"] if one["name"] == "front")
    assert front["timeout_client_data"] == 50000
    assert ids(again)["front"] == before["front"]
    assert (await put(api, root, {}))["listeners"] == []


async def test_an_id_says_which_is_meant_when_nothing_else_does(api: Api) -> None:
    root = await made(api)
    document = (await api.get(f"loadbalancers/{root['id']}/tree"))["loadbalancer"]
    for one in (*document["listeners"], *document["pools"]):
        one["name"] += " renamed"
    after = await put(api, root, document)
    assert {one["id"] for one in after["pools"]} == {one["id"] for one in root["pools"]}
    assert {one["name"] for one in after["pools"]} == {"blue renamed", "green renamed"}
    document["pools"][0]["id"] = root["id"]
    await put(api, root, document, 400)


async def test_where_the_load_balancer_is_cannot_be_changed(api: Api) -> None:
    root = await made(api)
    refused = {
        "vip_address": "203.0.113.99",  # the provider gives none of these
        "vip_subnet_id": "00000000-0000-4000-8000-000000000001",
        "provider": "amphora",
        "project_id": "another",
        "additional_vips": [{"subnet_id": PRIVATE_SUBNET}],
        "listeners": [listener("a", 80), listener("b", 80)],
        "pools": [pool("same"), pool("same")],
        "strange": 1,
    }
    for name, value in refused.items():
        status = 409 if name == "listeners" else 400
        await put(api, root, TREE | {name: value}, status)
        assert await put(api, root, TREE) == root
    told = {n: root[n] for n in ("vip_address", "vip_port_id", "vip_subnet_id", "provider")}
    assert await put(api, root, TREE | told) == root
    unsaid = dict.fromkeys((*told, "vip_network_id", "vip_qos_policy_id"))
    assert await put(api, root, TREE | unsaid) == root


async def test_whatever_can_be_made_can_be_put_back(api: Api) -> None:
    """Pools without names, shared pools, weights, and attributes of every kind."""
    root = await api.load_balancer("noop", tags=["a"], description="d", admin_state_up=False)
    persistence = {"type": "APP_COOKIE", "cookie_name": "c"}
    first = await api.pool(root, session_persistence=persistence, tls_enabled=True, slow_start=9)
    second = await api.pool(root, tls_versions=["TLSv1.3"], outlier_ejection={"errors": 3})
    await api.member(first, weight=0, backup=True, monitor_port=99, tags=["x"], name="m")
    await api.monitor(first, url_path="/up", expected_codes="200-204", http_version=1.1)
    await api.monitor(second, type="PING")
    front = await api.listener(
        root,
        default_pool_id=first["id"],
        insert_headers={"X-Forwarded-For": "true"},
        allowed_cidrs=["10.0.0.0/8"],
        timeout_client_data=0,
    )
    await api.listener(root, protocol_port=81, default_pool_id=first["id"], connection_limit=5)
    ids = [one["id"] for one in (first, second)]
    policies = [
        {"action": "REDIRECT_TO_POOL", "redirect_pool_id": ids[1]},
        {
            "action": "REDIRECT_TO_POOL",
            "redirect_pools": [{"pool_id": pool_id, "weight": 3} for pool_id in ids],
        },
        {"action": "REDIRECT_PREFIX", "redirect_prefix": "https://a.b", "redirect_http_code": 307},
        {"action": "RATE_LIMIT", "rate_limit": {"requests": 5, "seconds": 2}},
        {"action": "FIXED_RESPONSE", "fixed_response": {"status_code": 418, "body": "no"}},
        {"action": "REWRITE", "rewrite": {"set_request_headers": {"x-a": "b"}}},
        {"action": "REJECT", "position": 1, "name": "first", "tags": ["t"]},
    ]
    for policy in policies:
        body = {"l7policy": policy | {"listener_id": front["id"], "rules": [RULE]}}
        await api.post("l7policies", body)
    header = {"type": "HEADER", "compare_type": "EQUAL_TO", "key": "x", "value": "1"}
    shown = (await api.get("l7policies"))["l7policies"][0]
    await api.post(f"l7policies/{shown['id']}/rules", {"rule": header | {"invert": True}})
    before = await generation(api, root)
    document = (await api.get(f"loadbalancers/{root['id']}/tree"))["loadbalancer"]
    await put(api, root, document)
    assert await generation(api, root) == before
    # Without ids, what has no name is found by what is in it.
    for one in (*document["listeners"], *document["pools"]):
        for nested in (*one.get("members", ()), *one.get("l7policies", ())):
            for rule in nested.get("rules", ()):
                del rule["id"]
            del nested["id"]
        one.get("healthmonitor", {"id": ""}).pop("id")
    for one in document["listeners"]:
        del one["id"]
    await put(api, root, document)
    assert await generation(api, root) == before
