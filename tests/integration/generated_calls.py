# SPDX-License-Identifier: Apache-2.0
"""Use a client that was generated from the OpenAPI document: create, list, show and put a tree.

Run by the Python of the generator's environment, beside the generated package `client`: ENDPOINT
is its argument. A result that is not as expected ends it with a traceback.
"""

import importlib
import sys
import uuid
from typing import Any


def call(place: str, endpoint: Any, *places: str, **words: Any) -> Any:
    """What the generated function answers, decoded into the generated models."""
    answer = importlib.import_module(f"client.api.{place}").sync_detailed(
        *places, client=endpoint, **words
    )
    assert answer.status_code in (200, 201), (place, answer.status_code, answer.content)
    assert answer.parsed is not None, (place, "has no model of its answer")
    return answer.parsed


def body(name: str, value: dict[str, Any]) -> Any:
    return getattr(importlib.import_module("client.models"), name).from_dict(value)


def main(endpoint: str) -> None:
    client = importlib.import_module("client").Client(base_url=endpoint)
    member = {"address": "10.0.0.11", "protocol_port": 80}
    pool = {
        "name": "p",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [member],
        "healthmonitor": {"type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2},
    }
    policy = {
        "action": "REDIRECT_TO_POOL",
        "redirect_pool": {"name": "p"},
        "rules": [{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}],
    }
    listener = {"protocol": "HTTP", "protocol_port": 80, "l7policies": [policy]}
    tree = {"name": "web", "listeners": [listener], "pools": [pool]}

    wish = {"loadbalancer": tree | {"vip_subnet_id": str(uuid.uuid4())}}
    create = body("CreateLoadBalancerLoadbalancersBody", wish)
    made = call("loadbalancers.create_load_balancer_loadbalancers", client, body=create)
    root = made.loadbalancer
    assert root.listeners[0].l7policies[0].rules[0].value == "/", root
    assert root.pools[0].members[0].address == member["address"], root

    found = call("loadbalancers.list_load_balancers_loadbalancers", client)
    assert [one.id for one in found.loadbalancers] == [root.id], found
    listeners = call("listeners.list_listeners_listeners", client).listeners
    assert [one.l7policies[0].id for one in listeners] == [root.listeners[0].l7policies[0].id]
    pools = call("pools.list_pools_pools", client).pools
    assert [one.members[0].id for one in pools] == [root.pools[0].members[0].id]
    shown = call("pools.show_pool_pool_id", client, pools[0].id)
    assert shown.pool.healthmonitor_id == root.pools[0].healthmonitor.id

    listener["protocol_port"], pool["members"] = 81, [member, member | {"protocol_port": 81}]
    put = body("PutTreeTreeBody", {"loadbalancer": tree})
    after = call("loadbalancers.put_tree_tree", client, root.id, body=put).loadbalancer
    assert after.listeners[0].protocol_port == 81, after
    assert len(after.pools[0].members) == 2, after


if __name__ == "__main__":
    main(sys.argv[1])
