# SPDX-License-Identifier: Apache-2.0
"""Affinity groups: made, named by load balancers of their project, kept while in use."""

from typing import Any

from tests.contract.api_client import Api, api

__all__ = ["api"]

PATH = "affinitygroups"
NOBODY = "00000000-0000-4000-8000-000000000001"


async def test_a_group_is_used_by_its_own_project_and_kept_while_in_use(api: Api) -> None:
    body = {"name": "apart", "policy": "soft-apolocation", "project_id": "p"}
    group = (await api.post(PATH, {"affinitygroup": body}))["affinitygroup"]
    assert group["policy"] == "soft-apolocation"
    root = await api.load_balancer("noop", project_id="p", affinity_group_id=group["id"])
    assert root["affinity_group_id"] == group["id"]
    shown = (await api.get(f"{PATH}/{group['id']}"))["affinitygroup"]
    assert shown["loadbalancers"] == [{"id": root["id"]}]
    assert [one["id"] for one in (await api.get(f"{PATH}?name=apart"))[PATH]] == [group["id"]]
    await api.delete(f"{PATH}/{group['id']}", 409)
    for project, named in (("other", group["id"]), ("p", NOBODY)):
        wanted = {"vip_subnet_id": NOBODY, "provider": "noop", "project_id": project}
        wanted["affinity_group_id"] = named
        refused = await api.post("loadbalancers", {"loadbalancer": wanted}, 400)
        assert "affinity group was not found" in refused["faultstring"]
    renamed = await api.put(f"{PATH}/{group['id']}", {"affinitygroup": {"name": "b"}})
    assert renamed["affinitygroup"]["name"] == "b"
    await api.delete(f"loadbalancers/{root['id']}")
    await api.delete(f"{PATH}/{group['id']}")
    await api.get(f"{PATH}/{group['id']}", 404)


async def test_a_group_that_makes_no_sense_is_refused(api: Api) -> None:
    bad: list[dict[str, Any]] = [{}, {"policy": "near"}, {"policy": "colocation", "color": 1}]
    for body in bad:
        await api.post(PATH, {"affinitygroup": body}, 400)
    made = await api.post(PATH, {"affinitygroup": {"policy": "colocation", "project_id": "p"}})
    group_id = made["affinitygroup"]["id"]
    await api.put(f"{PATH}/{group_id}", {"affinitygroup": {"policy": "apolocation"}}, 400)
    stranger: dict[str, Any] = {"headers": {"X-Project-Id": "stranger", "X-Roles": "member"}}
    await api.get(f"{PATH}/{group_id}", 403, **stranger)
    await api.delete(f"{PATH}/{group_id}", 403, **stranger)
    await api.get(f"{PATH}/nothing", 404)
    assert (await api.get(PATH, **stranger))[PATH] == []


async def test_a_load_balancer_comes_into_a_group_and_leaves_it_by_a_put(api: Api) -> None:
    root = await api.load_balancer("noop", project_id="p")
    groups = [
        (await api.post(PATH, {"affinitygroup": {"policy": "apolocation", "project_id": project}}))[
            "affinitygroup"
        ]
        for project in ("p", "p", "other")
    ]
    place = f"loadbalancers/{root['id']}"
    for wished in (groups[0]["id"], groups[1]["id"], None):
        await api.put(place, {"loadbalancer": {"affinity_group_id": wished}})
        shown = (await api.get(place))["loadbalancer"]
        assert shown["affinity_group_id"] == wished
        members = [(await api.get(f"{PATH}/{g['id']}"))["affinitygroup"] for g in groups]
        assert [g["loadbalancers"] != [] for g in members] == [g["id"] == wished for g in groups]
    body = {"loadbalancer": {"affinity_group_id": groups[2]["id"]}}
    refused = await api.put(place, body, 400)
    assert "affinity group was not found" in refused["faultstring"]


async def test_a_protected_load_balancer_is_not_deleted(api: Api) -> None:
    root = await api.load_balancer("noop", deletion_protection=True)
    pool = await api.pool(root)
    for query in ("", "?cascade=true"):
        await api.delete(f"loadbalancers/{root['id']}{query}", 409)
    await api.delete(f"pools/{pool['id']}")
    await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"deletion_protection": False}})
    await api.delete(f"loadbalancers/{root['id']}")
