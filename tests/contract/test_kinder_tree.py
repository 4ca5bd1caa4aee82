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
        "vip_address": "198.51.100.99",
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
