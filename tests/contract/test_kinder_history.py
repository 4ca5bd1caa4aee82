# SPDX-License-Identifier: Apache-2.0
"""Each generation is remembered, with who and what, and can be had again with the same ids."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colonnade.domain.ids import ClusterId
from colonnade.store.fleet import clusters
from colonnade.store.postgres.database import Database
from colonnade.store.rows import history
from tests.contract.api_client import Api, api
from tests.contract.test_kinder_tree import listener, made, pool, put

__all__ = ["api"]


async def generations(api: Api, root: Any) -> list[Any]:
    found: list[Any] = (await api.get(f"loadbalancers/{root['id']}/history"))["history"]
    return found


async def back(api: Api, root: Any, generation: int, status: int = 200) -> Any:
    path = f"loadbalancers/{root['id']}/rollback"
    answer = await api.post(path, {"generation": generation}, status)
    return answer["loadbalancer"] if status == 200 else answer


async def document(api: Api, root: Any) -> Any:
    """The tree as it is wished, whatever the order of what is in it."""
    found = (await api.get(f"loadbalancers/{root['id']}/tree"))["loadbalancer"]
    for one in found["pools"]:
        one["members"].sort(key=lambda member: member["id"])
    for one in found["listeners"]:
        for policy in one["l7policies"]:
            policy["rules"].sort(key=lambda rule: rule["id"])
    for many in (found["pools"], found["listeners"]):
        many.sort(key=lambda one: one["id"])
    return found


async def test_each_generation_says_who_when_and_what(api: Api) -> None:
    root = await made(api, name="web")
    (blue,) = (one for one in root["pools"] if one["name"] == "blue")
    member = blue["members"][0]
    called = f"{member['address']}:{member['protocol_port']}"
    path = f"pools/{blue['id']}/members/{member['id']}"
    caller: dict[str, Any] = {"headers": {"X-Project-Id": root["project_id"]}}
    await api.put(path, {"member": {"weight": 5}}, **caller)
    await api.put(path, {"member": {"weight": 5}})  # no change, no generation
    await api.delete(path)
    removed, altered, created = await generations(api, root)
    assert [one["generation"] for one in (created, altered, removed)] == [1, 2, 3]
    assert altered["by"] == altered["project_id"] == root["project_id"]
    assert altered["what"] == f"updated: weight of member {called} 1 -> 5 in pool blue"
    assert removed["what"] == f"updated: member {called} removed from pool blue"
    assert created["what"].startswith("created load balancer web: added 1 listener, added ")
    assert altered["changes"] == [
        {
            "type": "member",
            "id": member["id"],
            "name": called,
            "action": "altered",
            "parent_id": blue["id"],
            "parent_name": "blue",
            "before": {"weight": 1},
            "after": {"weight": 5},
        }
    ]
    (gone,) = removed["changes"]
    assert (gone["action"], gone["before"]["weight"], gone["after"]) == ("removed", 5, None)
    assert {one["type"] for one in created["changes"]} >= {"loadbalancer", "pool", "l7rule"}
    assert "cluster" not in str(created)
    first = await api.get(f"loadbalancers/{root['id']}/history?limit=2")
    assert [one["generation"] for one in first["history"]] == [3, 2]
    (link,) = first["history_links"]
    second = await api.ask("GET", link["href"].removeprefix("http://api.test"))
    assert [one["generation"] for one in second["history"]] == [1]
    await api.get(f"loadbalancers/{root['id']}/history?limit=x", 400)
    other: dict[str, Any] = {"headers": {"X-Project-Id": "stranger", "X-Roles": "member"}}
    await api.get(f"loadbalancers/{root['id']}/history", 403, **other)


async def test_what_is_deleted_and_not_yet_purged_comes_back(api: Api, database: Database) -> None:
    root = await made(api, provider="amphora")
    before = await document(api, root)
    await put(api, root, {"name": "empty"})
    await back(api, root, 1)
    assert await document(api, root) == before
    async with database.read() as connection:
        cursor = await connection.execute("SELECT id, generation FROM clusters")
        (found,) = await cursor.fetchall()
    async with database.transaction() as connection:
        await clusters.settle(connection, ClusterId(found[0]), found[1])
    assert await document(api, root) == before, "nothing that is wished is purged"


async def test_a_generation_that_is_not_kept_cannot_be_had(api: Api, database: Database) -> None:
    root = await made(api)
    for number in range(5):
        await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"name": f"n{number}"}})
    for generation in (0, 7, 99):
        await back(api, root, generation, 404)
    for bad in ({"generation": "x"}, {}, {"generation": 1, "more": 2}):
        await api.post(f"loadbalancers/{root['id']}/rollback", bad, 400)
    async with database.read() as connection:
        await connection.execute(
            "UPDATE generations SET at = now() - interval '31 days' WHERE generation < 3"
        )
        await history.forget_old(connection)
    assert [one["generation"] for one in await generations(api, root)] == [6, 5, 4, 3]
    await back(api, root, 2, 404)
    assert (await back(api, root, 3))["name"] == "n1"
    assert [one["generation"] for one in await generations(api, root)] == [7, 6, 5, 4, 3]


async def test_where_it_is_and_what_serves_it_is_not_rolled_back(api: Api) -> None:
    root = await made(api)
    qos = "00000000-0000-4000-8000-000000000009"
    body = {"vip_qos_policy_id": qos, "deletion_protection": True}
    await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": body})
    again = await back(api, root, 1)
    same = ("vip_address", "vip_port_id", "vip_subnet_id", "provider", "project_id")
    assert [again[name] for name in same] == [root[name] for name in same]
    assert (again["vip_qos_policy_id"], again["deletion_protection"]) == (None, False)


names = st.sampled_from(["", "blue", "green", "red"])
addresses = st.lists(st.integers(1, 4).map(lambda n: f"10.0.0.{n}"), unique=True, max_size=3)
some_pools = st.lists(
    st.builds(
        lambda name, where, delay: (
            pool(name, *where)
            | (
                {"healthmonitor": {"type": "TCP", "delay": delay, "timeout": 1, "max_retries": 1}}
                if delay
                else {}
            )
        ),
        names.filter(bool),
        addresses,
        st.integers(0, 2),
    ),
    max_size=3,
    unique_by=lambda one: one["name"],
)
some_trees = st.builds(
    lambda pools, ports, name: {
        "name": name,
        "pools": pools,
        "listeners": [
            listener(
                "",
                port,
                **({"default_pool": {"name": pools[0]["name"]}} if pools else {}),
                l7policies=[
                    {
                        "action": "REJECT",
                        "rules": [
                            {"type": "PATH", "compare_type": "EQUAL_TO", "value": f"/{n}"}
                            for n in range(port % 3)
                        ],
                    }
                ],
            )
            for port in ports
        ],
    },
    some_pools,
    st.lists(st.integers(80, 84), unique=True, max_size=3),
    names,
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    trees=st.lists(some_trees, min_size=1, max_size=4),
    provider=st.sampled_from(["noop", "amphora"]),
)
async def test_any_generation_can_be_had_again_and_a_tree_put_back_is_no_change(
    api: Api, trees: list[Any], provider: str
) -> None:
    root = await made(api, provider=provider)
    remembered = {1: await document(api, root)}
    for tree in trees:
        await put(api, root, tree)
        newest = (await generations(api, root))[0]["generation"]
        remembered[newest] = await document(api, root)
        await put(api, root, remembered[newest])
        assert (await generations(api, root))[0]["generation"] == newest
    for generation, tree in remembered.items():
        await back(api, root, generation)
        assert await document(api, root) == tree
