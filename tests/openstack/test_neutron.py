# SPDX-License-Identifier: Apache-2.0
"""The promises of a network driver that need no amphora, asked of a real Neutron; what its ports
look like to clients of Octavia; and what a user may see."""

import asyncio

import pytest

from colonnade.domain.errors import Conflict, NotFound, OutOfCapacity
from colonnade.domain.ids import PortId, SubnetId, new_id
from colonnade.drivers.network.namespaces.address_book import PRIVATE, PUBLIC
from colonnade.drivers.network.neutron.driver import NeutronNetworks, neutron_networks
from colonnade.drivers.network.protocol import PortWish, vip_owner
from colonnade.drivers.openstack.session import Session
from tests.contract.test_network_driver import (  # noqa: F401 - asked of this driver too
    subnet_of,
    test_a_chosen_address_is_free_and_may_be_used,
    test_a_deleted_port_gives_its_address_back,
    test_a_network_alone_gives_an_ipv4_address,
    test_a_wished_address_is_given_once,
    test_an_address_chooses_its_subnet_of_the_network,
    test_an_address_that_cannot_be_is_invalid,
    test_no_two_ports_share_an_address_or_a_mac,
    test_the_same_id_is_the_same_port,
    test_users_see_public_and_private_and_not_the_lb_network,
    test_what_is_not_there_is_not_found,
)
from tests.openstack.keystone import Administrator, Cloud, log_in, unique
from tests.openstack.operator import Networks

PASSWORD = "sentinel-tenant-9f3b"


@pytest.fixture
async def driver(session: Session, neutron: Networks) -> NeutronNetworks:
    _, (lb,) = await neutron.network("lb-mgmt", "198.18.0.0/24")
    await neutron.network(PUBLIC.name, *PUBLIC.cidrs, shared=True)
    await neutron.network(PRIVATE.name, *PRIVATE.cidrs)
    return neutron_networks(session, lb)


async def test_the_port_of_a_vip_is_what_clients_of_octavia_look_for(
    driver: NeutronNetworks, neutron: Networks, administrator: Administrator
) -> None:
    project, balancer = await administrator.project(unique("shop")), new_id()
    subnet = await subnet_of(driver, "public")
    wish = PortWish(
        id=PortId(new_id()), owner=vip_owner(balancer), subnet_id=subnet.id, project_id=project
    )
    port = await driver.create_port(wish)
    shown = (await neutron.get(f"ports/{port.id}"))["port"]
    assert shown["name"] == f"octavia-lb-{balancer}"
    assert (shown["device_owner"], shown["device_id"]) == ("Octavia", f"lb-{balancer}")
    assert (shown["project_id"], shown["admin_state_up"]) == (project, False)
    assert shown["fixed_ips"] == [{"subnet_id": subnet.id, "ip_address": port.address}]
    # Found by the id that it was wished with, too: answers get lost.
    assert await driver.port(wish.id) == port
    assert port.owner == wish.owner
    await driver.delete_port(wish.id)
    with pytest.raises(NotFound):
        await driver.port(port.id)


async def test_a_port_that_is_wished_twice_at_once_is_one(
    driver: NeutronNetworks, neutron: Networks
) -> None:
    subnet = await subnet_of(driver, "public")
    wish = PortWish(id=PortId(new_id()), owner=vip_owner(new_id()), subnet_id=subnet.id)
    made = await asyncio.gather(*(driver.create_port(wish) for _ in range(4)))
    kept = await driver.port(wish.id)
    found = (await neutron.get(f"ports?description=colonnade+{wish.id}"))["ports"]
    assert [one["id"] for one in found] == [kept.id]
    assert made[-1].owner == wish.owner


async def test_a_full_subnet_is_out_of_capacity_until_a_port_goes(
    driver: NeutronNetworks, neutron: Networks
) -> None:
    _, (small,) = await neutron.network("small", "10.77.0.0/29")
    room = await driver.free_addresses(SubnetId(small))
    assert room == 5
    wishes = [
        PortWish(id=PortId(new_id()), owner="lb:1", subnet_id=SubnetId(small)) for _ in range(room)
    ]
    ports = [await driver.create_port(wish) for wish in wishes]
    assert await driver.free_addresses(SubnetId(small)) == 0
    with pytest.raises(OutOfCapacity):
        await driver.create_port(
            PortWish(id=PortId(new_id()), owner="lb:1", subnet_id=SubnetId(small))
        )
    await driver.delete_port(ports[2].id)
    assert await driver.free_addresses(SubnetId(small)) == 1
    assert (await driver.create_port(wishes[2])).address == ports[2].address
    with pytest.raises(NotFound):
        await driver.free_addresses(SubnetId(new_id()))


async def test_a_network_whose_first_subnet_is_full_gives_an_address_of_the_next(
    driver: NeutronNetworks, neutron: Networks
) -> None:
    network, (first, second) = await neutron.network("two", "10.78.0.0/30", "10.79.0.0/29")
    made = [
        await driver.create_port(
            PortWish(id=PortId(new_id()), owner="lb:1", network_id=network)  # type: ignore[arg-type]
        )
        for _ in range(1 + 5)  # the addresses of both: Neutron says which is the first
    ]
    assert {port.subnet_id for port in made} == {first, second}


async def test_a_user_sees_own_and_shared_networks_and_ports_and_no_others(
    driver: NeutronNetworks, neutron: Networks, administrator: Administrator, cloud: Cloud
) -> None:
    name, project = unique("tenant"), unique("tenants")
    user, project_id = (
        await administrator.user(name, PASSWORD),
        await administrator.project(project),
    )
    await administrator.grant(user, project_id, "member")
    await neutron.network("theirs", "10.80.0.0/24", project_id=project_id)
    lent, _ = await neutron.network("lent", "10.81.0.0/24")
    await neutron.lend(lent, project_id)
    token = await log_in(cloud, cloud.credentials(name, PASSWORD, project).wish())
    eyes = driver.cloud.seen_by(token)
    assert {one.name for one in await eyes.networks()} == {"public", "theirs", "lent"}
    public, private = await subnet_of(driver, "public"), await subnet_of(driver, "private")
    seen = {one.id for one in await eyes.subnets()}
    assert public.id in seen
    assert private.id not in seen
    foreign = await driver.create_port(
        PortWish(id=PortId(new_id()), owner="lb:1", subnet_id=private.id)
    )
    with pytest.raises(NotFound):
        await eyes.port(foreign.id)
    with pytest.raises(NotFound):
        await eyes.create_port(PortWish(id=PortId(new_id()), owner="lb:1", subnet_id=private.id))


async def test_a_quota_that_is_met_is_said(
    driver: NeutronNetworks, neutron: Networks, session: Session, administrator: Administrator,
    neutron_url: str,
) -> None:  # fmt: skip
    project = await administrator.project(unique("poor"))
    answer = await session.ask(
        "PUT", f"{neutron_url}/v2.0/quotas/{project}", body={"quota": {"port": 0}}
    )
    assert answer.status == 200
    subnet = await subnet_of(driver, "public")
    with pytest.raises(OutOfCapacity, match="uota"):
        await driver.create_port(
            PortWish(id=PortId(new_id()), owner="lb:1", subnet_id=subnet.id, project_id=project)
        )


async def test_an_address_that_somebody_else_has_is_taken(
    driver: NeutronNetworks, neutron: Networks
) -> None:
    subnet = await subnet_of(driver, "public")
    await neutron.post(
        "port", network_id=subnet.network_id, fixed_ips=[{"ip_address": "203.0.113.66"}]
    )
    with pytest.raises(Conflict):
        await driver.create_port(
            PortWish(id=PortId(new_id()), owner="lb:1", subnet_id=subnet.id, address="203.0.113.66")
        )
