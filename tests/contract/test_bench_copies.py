# SPDX-License-Identifier: Apache-2.0
"""Load balancers that a benchmark copies in SQL are to users what the first one is."""

from typing import Any

import psycopg

from bench.copies import UUID, copy
from bench.scale import NAME, TREE
from tests.contract.processes import Process, process

FROM_THE_CLOCK = ("created_at", "updated_at", "operating_since")


async def seen(api: Process, root: dict[str, Any]) -> list[Any]:
    """All that is told of a load balancer, but for ids, the time and its name."""
    (pool,) = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]["pools"]
    answers = [
        await api.get(f"loadbalancers/{root['id']}/status"),
        await api.get(f"loadbalancers/{root['id']}/history"),
        await api.get(f"pools/{pool['id']}/members"),
        await api.get(f"pools/{pool['id']}"),
    ]
    return [plain(answer, root["name"]) for answer in answers]


def plain(value: Any, name: str) -> Any:
    match value:
        case dict():
            return {
                key: plain(one, name) for key, one in value.items() if key not in FROM_THE_CLOCK
            }
        case list():
            return [plain(one, name) for one in value]
        case str():
            return UUID.sub("ID", value).replace(name, "NAME")
    return value


async def test_a_copy_is_like_the_first_one_and_can_be_changed(database_url: str) -> None:
    async with process(database_url) as api:
        first = await api.load_balancer(**TREE)
        with psycopg.connect(database_url, autocommit=True) as database:
            copy(database, first["id"], 3, NAME)
        roots = (await api.get("loadbalancers"))["loadbalancers"]
        assert [one["name"] for one in roots] == [f"{NAME}-3", f"{NAME}-2", f"{NAME}-1", NAME]
        assert len({one["id"] for one in roots}) == 4
        expected = await seen(api, first)
        for one in roots:
            assert await seen(api, one) == expected
        pool = await api.pool(roots[0])
        await api.member(pool)
        after = (await api.get(f"loadbalancers/{roots[0]['id']}"))["loadbalancer"]
        assert after["provisioning_status"] == "ACTIVE"
        assert await seen(api, roots[1]) == expected
