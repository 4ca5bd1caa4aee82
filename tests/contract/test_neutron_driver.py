# SPDX-License-Identifier: Apache-2.0
"""The promises of a network driver that need no amphora, asked of the driver for Neutron over its
wire; and what it does when Neutron fails. A real one is asked the same in `tests/openstack/`."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from colonnade.domain.errors import Broken, Conflict, Invalid, NotFound, Unavailable
from colonnade.domain.ids import PortId, new_id
from colonnade.drivers.network.neutron.driver import NeutronNetworks, neutron_networks
from colonnade.drivers.network.protocol import PortWish, vip_owner
from colonnade.drivers.openstack.credentials import Credentials
from colonnade.drivers.openstack.session import Session
from tests.contract.test_network_driver import (  # noqa: F401 - asked of this driver too
    named,
    subnet_of,
    test_a_chosen_address_is_free_and_may_be_used,
    test_a_deleted_port_gives_its_address_back,
    test_a_full_subnet_is_out_of_capacity_until_a_port_goes,
    test_a_network_alone_gives_an_ipv4_address,
    test_a_wished_address_is_given_once,
    test_an_address_chooses_its_subnet_of_the_network,
    test_an_address_that_cannot_be_is_invalid,
    test_no_two_ports_share_an_address_or_a_mac,
    test_the_same_id_is_the_same_port,
    test_users_see_public_and_private_and_not_the_lb_network,
    test_what_is_not_there_is_not_found,
    wish,
)
from tests.fakes.clock import Time
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone
from tests.fakes.neutron import FakeNeutron


@pytest.fixture
async def neutron() -> AsyncIterator[FakeNeutron]:
    async with FakeKeystone(Time(1_800_000_000.0)).serving() as keystone:
        async with FakeNeutron(keystone).serving() as made:
            yield made


@pytest.fixture
async def driver(neutron: FakeNeutron) -> AsyncIterator[NeutronNetworks]:
    who = Credentials(auth_url=f"{neutron.keystone.url}/v3", username=USER, secret=PASSWORD)
    session = Session(who, timeout_s=30.0, clock=neutron.keystone.clock)
    yield neutron_networks(session, neutron.lb_subnet(), clock=neutron.keystone.clock)
    await session.close()


async def test_a_port_whose_answer_was_lost_is_found_again(
    driver: NeutronNetworks, neutron: FakeNeutron
) -> None:
    asked = wish((await subnet_of(driver, "public")).id)
    neutron.lose = True
    with pytest.raises(Unavailable):
        await driver.create_port(asked)
    port = await driver.create_port(asked)
    assert list(neutron.ports) == [port.id]
    assert await driver.port(asked.id) == port


async def test_a_port_that_is_wished_twice_at_once_is_one(
    driver: NeutronNetworks, neutron: FakeNeutron
) -> None:
    asked = wish((await subnet_of(driver, "public")).id)
    await asyncio.gather(*(driver.create_port(asked) for _ in range(5)))
    kept = await driver.port(asked.id)
    assert list(neutron.ports) == [kept.id]


async def test_the_port_of_a_vip_is_what_clients_of_octavia_look_for(
    driver: NeutronNetworks, neutron: FakeNeutron
) -> None:
    balancer, subnet = new_id(), await subnet_of(driver, "public")
    asked = PortWish(
        id=PortId(new_id()), owner=vip_owner(balancer), subnet_id=subnet.id, project_id="shop"
    )
    port = await driver.create_port(asked)
    shown = neutron.ports[port.id]
    assert port.owner == asked.owner
    assert shown["name"] == f"octavia-lb-{balancer}"
    assert (shown["device_owner"], shown["device_id"]) == ("Octavia", f"lb-{balancer}")
    assert (shown["project_id"], shown["admin_state_up"]) == ("shop", False)
    shown["name"] = "mine"  # as its project may
    assert (await driver.port(port.id)).owner == asked.owner
    own = PortWish(id=PortId(new_id()), owner=f"amphora:{new_id()}", subnet_id=subnet.id)
    assert (await driver.create_port(own)).owner == own.owner


async def test_a_users_token_sees_what_the_user_may_see(
    driver: NeutronNetworks, neutron: FakeNeutron
) -> None:
    eyes = driver.cloud.seen_by(neutron.keystone.issue("member", project="shop").secret)
    assert {one.name for one in await eyes.networks()} == {"public"}
    private, lb = await subnet_of(driver, "private"), await driver.lb_subnet()
    seen = {one.id for one in await eyes.subnets()}
    assert seen.isdisjoint({private.id, lb.id})
    with pytest.raises(NotFound):
        await eyes.create_port(wish(private.id))
    with pytest.raises(NotFound):
        await eyes.create_port(wish(network=(await named(driver, "private")).id))
    port = await driver.create_port(wish(private.id))
    with pytest.raises(NotFound):
        await eyes.port(port.id)


async def test_lists_are_read_to_their_end_whatever_a_page_holds(
    driver: NeutronNetworks, neutron: FakeNeutron
) -> None:
    subnet = await subnet_of(driver, "public")
    made = {(await driver.create_port(wish(subnet.id))).id for _ in range(9)}
    before = await driver.free_addresses(subnet.id)
    for neutron.page_max in (1, 2, 3, 9, 10):
        assert {port.id for port in await driver.ports()} == made
        assert await driver.free_addresses(subnet.id) == before
    assert len(await driver.subnets()) == 3


async def test_a_subnet_of_another_network_is_refused(driver: NeutronNetworks) -> None:
    public, private = await subnet_of(driver, "public"), await named(driver, "private")
    with pytest.raises(Invalid):
        await driver.create_port(wish(public.id, private.id))


@pytest.mark.parametrize("fault", [500, 503, 429, 401, 301])
async def test_a_neutron_that_fails_is_unavailable_whatever_is_asked(
    driver: NeutronNetworks, neutron: FakeNeutron, fault: int
) -> None:
    subnet = await subnet_of(driver, "public")
    port = await driver.create_port(wish(subnet.id))
    neutron.fault = fault
    for call in (
        driver.networks, driver.subnets, driver.lb_subnet, driver.ports,
        lambda: driver.free_addresses(subnet.id), lambda: driver.port(port.id),
        lambda: driver.create_port(wish(subnet.id)), lambda: driver.delete_port(port.id),
    ):  # fmt: skip
        with pytest.raises(Unavailable):
            await call()
    neutron.fault = None
    assert await driver.port(port.id) == port


async def test_refusals_are_told_in_neutrons_words(
    driver: NeutronNetworks, neutron: FakeNeutron
) -> None:
    asked = wish((await subnet_of(driver, "public")).id, address="203.0.113.77")
    await driver.create_port(asked)
    with pytest.raises(Conflict, match=r"203\.0\.113\.77 is already in use"):
        await driver.create_port(wish(asked.subnet_id, address="203.0.113.77"))


async def test_a_cloud_without_neutron_says_so(
    driver: NeutronNetworks, neutron: FakeNeutron
) -> None:
    neutron.keystone.catalog = []
    with pytest.raises(Broken, match="no public endpoint of the type network"):
        await driver.networks()
