# SPDX-License-Identifier: Apache-2.0
"""What needs an address that is not there is refused before anything changes."""

from typing import Any

import pytest

from colonnade.domain.errors import OutOfCapacity
from colonnade.domain.ids import PortId, SubnetId, new_id
from colonnade.drivers.network.protocol import PortWish
from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET, PUBLIC_SUBNET, PUBLIC_SUBNET_V6

__all__ = ["api"]  # the fixture

SHORT = "subnet {} has no free address"


async def fill(api: Api, subnet: SubnetId, *, but: int = 0) -> None:
    made = []
    with pytest.raises(OutOfCapacity):
        while True:
            wanted = PortWish(id=PortId(new_id()), owner="host:x", subnet_id=subnet)
            made.append(await api.network.create_port(wanted))
    for port in made[:but]:
        await api.network.delete_port(port.id)


async def all_there_is(api: Api) -> tuple[Any, ...]:
    nouns = ("loadbalancers", "listeners", "pools")
    return (*[await api.get(noun) for noun in nouns], api.network.held())


def wish(subnet: str = PRIVATE_SUBNET, **more: Any) -> dict[str, Any]:
    return {"loadbalancer": {"vip_subnet_id": subnet, **more}}


def listener(*members: dict[str, Any]) -> dict[str, Any]:
    pool = {"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": members}
    return {"protocol": "HTTP", "protocol_port": 80, "default_pool": pool}


async def refused(api: Api, body: Any, cidr: str) -> None:
    before = await all_there_is(api)
    answer = await api.post("loadbalancers", body, 503)
    assert answer["faultstring"] == SHORT.format(cidr)
    assert await all_there_is(api) == before


async def test_a_vip_is_refused_on_a_full_subnet(api: Api) -> None:
    await fill(api, PRIVATE_SUBNET)
    await refused(api, wish(), "10.0.0.0/24")


async def test_a_second_vip_takes_the_first_back_with_it(api: Api) -> None:
    await fill(api, PUBLIC_SUBNET)
    second = [{"subnet_id": PUBLIC_SUBNET}]
    await refused(api, wish(PUBLIC_SUBNET_V6, additional_vips=second), "203.0.113.0/24")


async def test_a_tree_is_refused_when_members_need_an_address_that_is_not_there(api: Api) -> None:
    await fill(api, PRIVATE_SUBNET)
    member = {"address": "10.0.0.11", "protocol_port": 80, "subnet_id": PRIVATE_SUBNET}
    whole = wish(PUBLIC_SUBNET, listeners=[listener(member)])
    await refused(api, whole, "10.0.0.0/24")


async def test_a_member_is_refused_when_the_load_balancer_would_need_an_address(api: Api) -> None:
    root = await api.load_balancer("amphora", vip_subnet_id=PUBLIC_SUBNET)
    pool = await api.pool(root)
    await fill(api, PRIVATE_SUBNET)
    before = await api.get(f"pools/{pool['id']}"), api.network.held()
    member: dict[str, Any] = {
        "address": "10.0.0.11", "protocol_port": 80, "subnet_id": PRIVATE_SUBNET
    }  # fmt: skip
    for method, path, body in (
        ("POST", f"pools/{pool['id']}/members", {"member": member}),
        ("PUT", f"pools/{pool['id']}/members", {"members": [member]}),
        ("POST", "pools", {"pool": {"loadbalancer_id": root["id"], "protocol": "HTTP",
                                    "lb_algorithm": "ROUND_ROBIN", "members": [member]}}),
    ):  # fmt: skip
        answer = await api.ask(method, f"/v2/lbaas/{path}", 503, json=body)
        assert answer["faultstring"] == SHORT.format("10.0.0.0/24")
    assert (await api.get(f"pools/{pool['id']}"), api.network.held()) == before
    del member["subnet_id"]  # reached through the router, it needs no address there
    await api.member(pool, **member)


async def test_where_the_load_balancer_has_an_address_already_a_member_needs_none(api: Api) -> None:
    await fill(api, PRIVATE_SUBNET, but=1)
    pool = await api.pool(await api.load_balancer("amphora"))
    assert await api.network.free_addresses(SubnetId(PRIVATE_SUBNET)) == 0
    await api.member(pool, subnet_id=PRIVATE_SUBNET)


async def test_one_load_balancer_cannot_use_two_subnets_of_one_range(api: Api) -> None:
    one, two = (api.network.add(n, "172.16.0.0/24", is_routed=False) for n in ("one", "two"))
    pool = await api.pool(await api.load_balancer("amphora", vip_subnet_id=PUBLIC_SUBNET))
    await api.member(pool, address="172.16.0.5", subnet_id=one)
    answer = await api.member(pool, 400, address="172.16.0.6", subnet_id=two)
    assert "could not tell their members apart" in answer["faultstring"]
    both = [
        {"address": f"172.16.0.{number}", "protocol_port": 80, "subnet_id": subnet}
        for number, subnet in enumerate((one, two), 5)
    ]
    before = await all_there_is(api)
    whole = wish(PUBLIC_SUBNET, provider="amphora", listeners=[listener(*both)])
    await api.post("loadbalancers", whole, 400)
    assert await all_there_is(api) == before
    other = await api.pool(await api.load_balancer("amphora", vip_subnet_id=PUBLIC_SUBNET))
    await api.member(other, address="172.16.0.5", subnet_id=two)
