# SPDX-License-Identifier: Apache-2.0
"""Flags that are none, requests held open, hosts, and ports of the machinery and of others."""

import asyncio
from typing import Any

import pytest

from colonnade.api.app import ROUTES
from colonnade.api.http.decoding import NO, YES
from colonnade.api.http.open_requests import OpenRequests
from colonnade.api.identity.hosts import Hosts
from colonnade.domain.errors import Forbidden, Invalid, Throttled
from colonnade.domain.ids import PortId, SubnetId, new_id
from colonnade.drivers.network.protocol import PortWish
from tests.contract.api_client import Api, api
from tests.contract.test_identity import as_caller
from tests.fakes.network import LB_SUBNET, PRIVATE_SUBNET

__all__ = ["api"]

NEITHER = ("None", "null", "foo", " false", "true ", "2", "-1", "yes!", "\u0130", "truefalse")
# Every flag of a query string, and a path that takes it.
FLAGS = {
    "cascade": ("DELETE", "loadbalancers/{root}"),
    "additive_only": ("PUT", "pools/{pool}/members"),
    "dry_run": ("POST", "loadbalancers"),
    "page_reverse": ("GET", "loadbalancers"),
    "admin_state_up": ("GET", "loadbalancers"),
    "deletion_protection": ("GET", "loadbalancers"),
    "compression": ("GET", "listeners"),
    "tls_enabled": ("GET", "pools"),
    "backup": ("GET", "pools/{pool}/members"),
    "enabled": ("GET", "flavors"),
}


@pytest.mark.parametrize("word", NEITHER)
async def test_a_word_that_is_neither_yes_nor_no_is_refused_and_deletes_nothing(
    api: Api, word: str
) -> None:
    root = await api.load_balancer()
    pool = await api.pool(root)
    for name, (method, path) in FLAGS.items():
        answer = await api.client.request(
            method,
            "/v2/lbaas/" + path.format(root=root["id"], pool=pool["id"]),
            params={name: word},
            json={"members": []} if "members" in path else {"loadbalancer": {}},
        )
        assert answer.status_code == 400, (name, answer.text)
        assert f"Invalid input for field/attribute {name}." in answer.text
    assert await api.get(f"pools/{pool['id']}")


@pytest.mark.parametrize("word", sorted(NO))
async def test_no_in_any_spelling_deletes_no_tree(api: Api, word: str) -> None:
    root = await api.load_balancer()
    await api.pool(root)
    for spelling in {word, word.upper(), word.title()}:
        await api.delete(f"loadbalancers/{root['id']}", 400, params={"cascade": spelling})


@pytest.mark.parametrize("word", sorted(YES))
async def test_yes_in_any_spelling_deletes_the_tree(api: Api, word: str) -> None:
    for spelling in {word, word.upper(), word.title()}:
        root = await api.load_balancer()
        await api.pool(root)
        await api.delete(f"loadbalancers/{root['id']}", params={"cascade": spelling})


def test_every_flag_of_the_table_of_routes_is_tried_here() -> None:
    known = {"wait", "fields", "since", "after", "limit", "kind", "project_id", "seconds"}
    said = {word for route in ROUTES for word in route.query}
    assert said - known - FLAGS.keys() <= {
        "marker", "sort", "sort_key", "sort_dir", "tags", "tags-any", "not-tags", "not-tags-any",
        "name", "description",
    }, "a word of a query that may be a flag"  # fmt: skip


def test_places_are_so_many_of_a_project_and_of_a_token_and_come_back() -> None:
    held = OpenRequests(of_project=3, of_token=2)
    back = [held.take("p", "a"), held.take("p", "a")]
    with pytest.raises(Throttled, match="this token"):
        held.take("p", "a")
    back.append(held.take("p", "b"))
    with pytest.raises(Throttled, match="this project") as caught:
        held.take("p", "c")
    assert caught.value.after_s > 0
    back.append(held.take("q", "z"))
    back[0]()
    back[0]()
    with held.place("p", "a"), pytest.raises(Throttled):
        held.take("p", "d")
    for give_back in back:
        give_back()
    for _ in range(10):
        with held.place("p", ""):
            pass
    assert held._open.total() == 0


async def test_streams_of_one_project_leave_the_others_served(api: Api) -> None:
    site: Any = api.client._transport.app._site  # type: ignore[attr-defined]
    most = 100
    streams = [site.open_requests.take("mine", "") for _ in range(most)]
    root = await api.load_balancer(project_id="mine")
    asked = {"Accept": "text/event-stream"} | as_caller("member")
    answer = await api.client.get("/v2/lbaas/events", headers=asked)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert "at most 100" in answer.json()["faultstring"]
    place = f"/v2/lbaas/loadbalancers/{root['id']}"
    waits = await api.client.get(f"{place}?wait=1", headers=as_caller("member"))
    assert waits.status_code == 429
    assert (await api.client.get(place, headers=as_caller("member"))).status_code == 200
    theirs = as_caller("member", "theirs")
    assert (await api.client.get("/v2/lbaas/loadbalancers?wait=0", headers=theirs)).is_success
    for give_back in streams:
        give_back()
    async with asyncio.timeout(5):
        waits = await api.client.get(f"{place}?wait=0", headers=as_caller("member"))
    assert waits.status_code == 200


def test_a_configured_name_is_one_of_ours() -> None:
    hosts = Hosts(("lb.example.org",))
    for good in (b"lb.example.org", b"LB.Example.ORG.:443", b"localhost"):
        hosts.check([(b"host", good)])
    hosts.check([])
    for bad in (b"lb.example.org.evil", b"xlb.example.org", b"[::2]:1", b"[", b":80"):
        with pytest.raises(Forbidden, match=r"api\.allowed_hosts"):
            hosts.check([(b"host", bad)])
    with pytest.raises(Invalid):
        Hosts(None).check([(b"host", b"a"), (b"host", b"a")])
    Hosts(None).check([(b"host", b"anything")])


async def a_port(api: Api, owner: str, subnet: str = PRIVATE_SUBNET) -> str:
    wish = PortWish(id=PortId(new_id()), owner=owner, subnet_id=SubnetId(subnet))
    return str((await api.network.create_port(wish)).id)


async def test_no_port_of_the_machinery_can_be_a_vip(api: Api) -> None:
    control = next(p.id for p in api.network.held() if p.owner == "control")
    ports = [
        control,
        await a_port(api, "", LB_SUBNET),
        await a_port(api, "control"),
        await a_port(api, "host:web-1"),
        await a_port(api, f"amphora:{new_id()}"),
        await a_port(api, f"amphora:{new_id()}", LB_SUBNET),
        new_id(),
    ]
    for port in ports:
        body = {"loadbalancer": {"vip_port_id": port, "provider": "amphora"}}
        answer = await api.post("loadbalancers", body, 400)
        assert answer["faultstring"].endswith(f"Port {port} not found."), answer
        await api.ask("GET", f"/v2.0/ports/{port}", 404)
    for subnet in (LB_SUBNET, new_id()):
        body = {"loadbalancer": {"vip_subnet_id": subnet, "provider": "amphora"}}
        answer = await api.post("loadbalancers", body, 400)
        assert answer["faultstring"].endswith(f"Subnet {subnet} not found."), answer
    root = await api.load_balancer("amphora")
    pool = await api.pool(root)
    await api.member(pool, 400, subnet_id=LB_SUBNET)


async def test_a_port_is_the_vip_of_one_load_balancer(api: Api) -> None:
    port = await a_port(api, "")
    body = {"loadbalancer": {"vip_port_id": port, "provider": "amphora"}}
    root = (await api.post("loadbalancers", body))["loadbalancer"]
    assert root["vip_port_id"] == port
    answer = await api.post("loadbalancers", body, 400)
    assert "already in use" in answer["faultstring"]
    await asyncio.gather(*(api.post("loadbalancers", body, 400) for _ in range(3)))


async def test_a_project_sees_its_own_ports_and_those_of_nobody(api: Api) -> None:
    mine = await api.load_balancer("amphora", project_id="mine")
    theirs = await api.load_balancer("amphora", project_id="theirs")
    free = await a_port(api, "")
    await a_port(api, "", LB_SUBNET)

    async def seen(headers: dict[str, str]) -> dict[str, str]:
        answer = await api.ask("GET", "/v2.0/ports", headers=headers)
        return {port["id"]: port["project_id"] for port in answer["ports"]}

    brought = await a_port(api, "")
    body = {"vip_port_id": brought, "provider": "amphora", "project_id": "theirs"}
    await api.post("loadbalancers", {"loadbalancer": body})
    own, other = mine["vip_port_id"], theirs["vip_port_id"]
    assert await seen(as_caller("reader")) == {own: "mine", free: "default"}
    everything = {own: "mine", other: "theirs", brought: "theirs", free: "default"}
    assert await seen(as_caller("admin")) == everything
    await api.ask("GET", f"/v2.0/ports/{brought}", 404, headers=as_caller("member"))
    await api.ask("GET", f"/v2.0/ports/{other}", 404, headers=as_caller("member"))
    assert "theirs" not in str(await seen(as_caller("member")))
