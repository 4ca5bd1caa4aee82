# SPDX-License-Identifier: Apache-2.0
"""Lists: filters, order, pages, tags and fields, as clients of the wire contract use them."""

from typing import Any

import pytest_asyncio

from colonnade.domain.status import Applied, provisioning
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, api

__all__ = ["api"]

LISTENERS: tuple[tuple[str, int, list[str]], ...] = (
    ("b", 80, ["red", "blue"]),
    ("a", 81, ["red"]),
    ("c", 82, []),
    ("a", 83, ["blue"]),
)


@pytest_asyncio.fixture
async def root(api: Api) -> Any:
    root = await api.load_balancer()
    for name, port, tags in LISTENERS:
        await api.listener(root, name=name, protocol_port=port, tags=tags)
    return root


async def _ports(api: Api, query: str) -> list[int]:
    return [x["protocol_port"] for x in (await api.get(f"listeners?{query}"))["listeners"]]


async def test_filters_are_exact_and_taken_together(api: Api, root: Any) -> None:
    for query, ports in (
        ("name=a", [81, 83]),
        ("name=a&protocol_port=83", [83]),
        ("name=a&name=c", [81, 82, 83]),
        ("protocol=HTTP&admin_state_up=True", [80, 81, 82, 83]),
        ("admin_state_up=false", []),
        (f"loadbalancer_id={root['id']}", [80, 81, 82, 83]),
        ("loadbalancer_id=nothing", []),
        ("default_pool_id=", [80, 81, 82, 83]),
        ("provisioning_status=ACTIVE", [80, 81, 82, 83]),
        ("provisioning_status=ERROR", []),
        ("operating_status=OFFLINE&project_id=default", [80, 81, 82, 83]),
        ("name=%27%3B--", []),
    ):
        assert await _ports(api, query) == ports, query
    found = (await api.get("loadbalancers?vip_address=" + root["vip_address"]))["loadbalancers"]
    assert [shown["id"] for shown in found] == [root["id"]]


async def test_tags_are_asked_for_in_four_ways(api: Api, root: Any) -> None:
    for query, ports in (
        ("tags=red,blue", [80]),
        ("tags=red&tags=blue", [80]),
        ("tags-any=red,blue", [80, 81, 83]),
        ("not-tags=red,blue", [81, 82, 83]),
        ("not-tags-any=red,blue", [82]),
    ):
        assert await _ports(api, query) == ports, query


async def test_lists_are_sorted_by_any_attribute(api: Api, root: Any) -> None:
    for query, ports in (
        ("", [80, 81, 82, 83]),
        ("sort=name,protocol_port:desc", [83, 81, 80, 82]),
        ("sort=name:desc", [82, 80, 81, 83]),
        ("sort_key=protocol_port&sort_dir=desc", [83, 82, 81, 80]),
        ("sort_key=name,protocol_port&sort_dir=asc,desc", [83, 81, 80, 82]),
    ):
        assert await _ports(api, query) == ports, query


async def test_pages_follow_their_links_in_any_order(api: Api, root: Any) -> None:
    for order in ("", "&sort=name", "&sort=name:desc", "&sort=name:desc,protocol_port"):
        whole = await _ports(api, f"limit=0{order}")
        seen: list[int] = []
        path = f"listeners?limit=3{order}"
        while path:
            page = await api.get(path)
            seen += [x["protocol_port"] for x in page["listeners"]]
            links = {link["rel"]: link["href"] for link in page["listeners_links"]}
            path = links.get("next", "").partition("/v2/lbaas/")[2]
        assert seen == whole, order
        ids = [x["id"] for x in (await api.get(f"listeners?limit=0{order}"))["listeners"]]
        back = f"limit=2&marker={ids[3]}&page_reverse=True{order}"
        assert await _ports(api, back) == whole[1:3], order


async def test_links_say_how_to_go_on_and_back(api: Api, root: Any) -> None:
    page = await api.get("listeners?limit=2&name=a&sort=name")
    last = page["listeners"][-1]["id"]
    assert page["listeners_links"] == [
        {
            "rel": "next",
            "href": f"http://api.test/v2/lbaas/listeners?limit=2&sort=name&marker={last}",
        }
    ]
    first = page["listeners"][0]["id"]
    page = await api.get(f"listeners?limit=2&name=a&marker={first}")
    assert [link["rel"] for link in page["listeners_links"]] == ["previous"]


async def test_fields_trim_lists_and_single_objects(api: Api, root: Any) -> None:
    for found in (await api.get("listeners?fields=id&fields=name"))["listeners"]:
        assert set(found) == {"id", "name"}
    shown = await api.get(f"loadbalancers/{root['id']}?fields=vip_address")
    assert shown == {"loadbalancer": {"vip_address": root["vip_address"]}}


async def test_the_filter_by_status_follows_the_rule_that_is_shown(
    api: Api, database: Database
) -> None:
    """Every case of the facts, through the list's SQL and the domain's function."""
    root = await api.load_balancer("amphora")
    for lowest in (0, 1, 2):
        for settled in (0, 1, 2):
            for failed in (None, 1, 2):
                for changed, deleted in ((1, False), (2, False), (2, True)):
                    async with database.transaction() as connection:
                        await connection.execute(
                            "UPDATE clusters SET applied_lowest = %s, highest_settled = %s,"
                            " failed_at = %s",
                            [lowest, settled, failed],
                        )
                        await connection.execute(
                            "UPDATE load_balancers SET created = 1, changed = %s, deleted = %s",
                            [changed, deleted],
                        )
                    status = provisioning(
                        created=1,
                        changed=changed,
                        deleted=deleted,
                        applied=Applied(lowest=lowest, highest_settled=settled, failed_at=failed),
                    )
                    found = await api.get(f"loadbalancers?provisioning_status={status.value}")
                    assert [x["id"] for x in found["loadbalancers"]] == [root["id"]], status
