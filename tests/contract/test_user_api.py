# SPDX-License-Identifier: Apache-2.0
"""The user API keeps the wire contract: a tree is made, shown, changed and deleted."""

from tests.contract.api_client import Api, api

__all__ = ["api"]


async def test_a_tree_is_made_shown_and_deleted(api: Api) -> None:
    root = await api.load_balancer(name="web")
    listener = await api.listener(root)
    pool = await api.pool(root, listener_id=listener["id"])
    member = await api.member(pool)
    monitor = await api.monitor(pool)
    shown = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert shown["provisioning_status"] == "ACTIVE"
    assert shown["listeners"] == [{"id": listener["id"]}]
    assert shown["pools"] == [{"id": pool["id"]}]
    shown = (await api.get(f"pools/{pool['id']}"))["pool"]
    assert shown["members"] == [{"id": member["id"]}]
    assert shown["healthmonitor_id"] == monitor["id"]
    assert shown["listeners"] == [{"id": listener["id"]}]
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    await api.get(f"loadbalancers/{root['id']}", 404)
    await api.get(f"listeners/{listener['id']}", 404)
