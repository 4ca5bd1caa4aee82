# SPDX-License-Identifier: Apache-2.0
"""VIPs that have an address of the machine: several load balancers share it, and no two a port."""

from typing import Any

import pytest

from colonnade.domain.errors import Conflict
from colonnade.domain.ids import PortId, SubnetId
from colonnade.drivers.network.protocol import Forward, PortWish
from tests.contract.api_client import Api, api

__all__ = ["api"]  # the fixture

OWN = "192.0.2.5"


@pytest.fixture
def subnet(api: Api) -> SubnetId:
    made = api.network.add_own("web", OWN)
    api.network.machine.listens[OWN] = [Forward("tcp", 22)]
    return made


async def balancer(api: Api, subnet: SubnetId, *ports: int, status: int = 201) -> Any:
    listeners = [{"protocol": "TCP", "protocol_port": port} for port in ports]
    wish = {"vip_subnet_id": subnet, "listeners": listeners}
    return await api.post("loadbalancers", {"loadbalancer": wish}, status)


async def forwards(api: Api, made: Any, *ports: int) -> None:
    """As a controller does, once the amphora is told."""
    port_id = PortId(made["loadbalancer"]["vip_port_id"])
    await api.network.set_forwards(port_id, [Forward("tcp", port) for port in ports])


async def test_load_balancers_share_an_address_but_no_port_of_it(
    api: Api, subnet: SubnetId
) -> None:
    first = await balancer(api, subnet, 80)
    await forwards(api, first, 80)
    second = await balancer(api, subnet, 8080)
    await forwards(api, second, 8080)
    assert [one["loadbalancer"]["vip_address"] for one in (first, second)] == [OWN, OWN]
    assert [(led.forward.port, led.to) for led in api.network.machine.led] == [
        (80, "198.19.0.2"),
        (8080, "198.19.0.3"),
    ]
    answer = await api.listener(second["loadbalancer"], 409, protocol="TCP", protocol_port=80)
    assert f"{OWN}:80 leads to another load balancer" in answer["faultstring"]
    with pytest.raises(Conflict, match="leads to another"):
        await forwards(api, second, 80)
    await api.delete(f"loadbalancers/{first['loadbalancer']['id']}?cascade=true")
    await api.network.delete_port(PortId(first["loadbalancer"]["vip_port_id"]))
    await api.listener(second["loadbalancer"], protocol="TCP", protocol_port=80)


async def test_a_port_of_a_program_of_the_machine_is_refused_before_anything_is_kept(
    api: Api, subnet: SubnetId
) -> None:
    before = api.network.held()
    answer = await balancer(api, subnet, 22, status=409)
    assert f"listens on tcp {OWN}:22 itself" in answer["faultstring"]
    assert api.network.held() == before
    made = await balancer(api, subnet, 80)
    refused = await api.listener(made["loadbalancer"], 409, protocol="TCP", protocol_port=22)
    assert "listens on tcp" in refused["faultstring"]
    # One that begins to listen afterwards takes nothing away.
    await forwards(api, made, 80)
    api.network.machine.listens[OWN] = [Forward("tcp", 80)]
    await forwards(api, made, 80, 81)
    assert [led.forward.port for led in api.network.machine.led] == [80, 81]


async def test_no_member_is_beside_an_address_of_the_machine(api: Api, subnet: SubnetId) -> None:
    made = await api.load_balancer(provider="amphora")
    pool = await api.pool(made)
    wish = {"address": "192.0.2.60", "protocol_port": 80, "subnet_id": subnet}
    answer = await api.member(pool, 400, **wish)
    assert "leave subnet_id out" in answer["faultstring"]


async def test_a_port_on_a_wire_has_no_forwards(api: Api) -> None:
    (wire,) = [s for s in await api.network.subnets() if s.name == "private-subnet"]
    port = await api.network.create_port(PortWish(id=PortId("x"), owner="", subnet_id=wire.id))
    with pytest.raises(Exception, match="all ports of"):
        await api.network.set_forwards(port.id, [Forward("tcp", 80)])
