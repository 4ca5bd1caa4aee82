# SPDX-License-Identifier: Apache-2.0
"""What `colonnade doctor` says of the way between this machine and amphorae on a cloud's LB
network: real addresses, routes and connections of loopback, and a Neutron in memory."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from colonnade.cli.local.lb_reach import Check, reach
from colonnade.domain.ids import NetworkId, PortId, SubnetId, new_id
from colonnade.drivers.network.neutron.driver import neutron_client
from colonnade.drivers.network.neutron.security_groups import (
    CONTROL_PLANE,
    SecurityGroups,
    doors_of_amphorae,
    doors_of_control_plane,
)
from colonnade.drivers.network.protocol import Port, Subnet
from colonnade.drivers.openstack.client import Client
from colonnade.protocol.messages import PORT_AGENT
from tests.cloud_site import CloudSite, cloud_site

CIDR, ADDRESS = "127.0.0.0/8", "127.0.0.1"
SUBNET = Subnet(
    id=SubnetId("lb-subnet"), name="lb", network_id=NetworkId("lb"), cidr=CIDR, gateway_ip=None
)


@pytest.fixture
async def site() -> AsyncIterator[CloudSite]:
    async with cloud_site() as made:
        yield made


@pytest.fixture
def neutron(site: CloudSite) -> Client:
    return neutron_client(site.session)


def _port(address: str) -> Port:
    return Port(
        id=PortId(new_id()), network_id=SUBNET.network_id, subnet_id=SUBNET.id, address=address,
        mac="", owner=f"amphora:{new_id()}",
    )  # fmt: skip


async def _found(
    neutron: Client, *ports: Port, address: str = ADDRESS, subnet: Subnet = SUBNET
) -> dict[str, Check]:
    return {one.what: one async for one in reach(neutron, subnet, address, ports)}


async def _own_port(site: CloudSite, groups: Sequence[str]) -> None:
    """This machine's, which setup makes."""
    site.nova.neutron.ports["own"] = {
        "id": "own", "network_id": SUBNET.network_id, "device_id": "", "security_groups": groups,
        "fixed_ips": [{"subnet_id": SUBNET.id, "ip_address": ADDRESS}],
    }  # fmt: skip


@contextlib.asynccontextmanager
async def _agent() -> AsyncIterator[str]:
    """The address where one answers, nobody else's on this machine."""
    address = f"127.{random.randint(64, 127)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    server = await asyncio.start_server(lambda _, writer: writer.close(), address, PORT_AGENT)
    async with server:
        yield address


async def test_both_ways_are_told(site: CloudSite, neutron: Client) -> None:
    await _own_port(site, [await SecurityGroups(neutron).of_control_plane(CIDR)])
    async with _agent() as address:
        found = await _found(neutron, _port(address))
        assert [one.cure for one in found.values()] == [""] * 3
        assert found["LB network, from here"].found == f"{CIDR} by lo, as {ADDRESS}"
        assert found["amphorae's agents"].found == f"1 of 1 answer on TCP {PORT_AGENT}"
    (silent, *_) = [one for one in (await _found(neutron, _port(address))).values() if one.cure]
    assert f"0 of 1 answer on TCP {PORT_AGENT}; {address} not" in silent.found
    assert list(await _found(neutron)) == ["LB network, from here", "LB network, to here"]


async def test_a_machine_that_is_not_there_is_told_and_asks_nobody(
    site: CloudSite, neutron: Client
) -> None:
    async with _agent() as address:
        found = await _found(neutron, _port(address), address="127.0.0.53")
    assert "does not have the address 127.0.0.53" in found["LB network, from here"].found
    assert "no port of Neutron's has 127.0.0.53" in found["LB network, to here"].found
    assert all("setup" in one.cure for one in found.values())
    assert len(found) == 2


async def test_a_machine_beyond_the_network_needs_a_gateway_there(neutron: Client) -> None:
    beyond = Subnet(
        id=SUBNET.id, name="lb", network_id=SUBNET.network_id, cidr="198.51.100.0/24",
        gateway_ip=None,
    )  # fmt: skip
    found = await _found(neutron, subnet=beyond)
    assert "know no way out of 198.51.100.0/24" in found["LB network, to here"].found
    # The way there is whatever this machine has for everywhere; as loopback it cannot be.
    assert found["LB network, from here"].cure


async def test_what_keeps_heartbeats_out_is_told(site: CloudSite, neutron: Client) -> None:
    groups = SecurityGroups(neutron)
    assert await groups.is_so(CONTROL_PLANE, doors_of_control_plane(CIDR)) is None
    of_amphorae = await groups.of_lb_network(CIDR)
    await _own_port(site, [of_amphorae])
    found = await _found(neutron)
    assert f"let no heartbeats of {CIDR} in" in found["LB network, to here"].found
    assert CONTROL_PLANE in found["LB network, to here"].cure
    # Of a narrower network is not enough, and of a wider one is.
    for cidr, let_in in (("127.1.0.0/16", False), ("126.0.0.0/7", True), (CIDR, True)):
        await _own_port(site, [await groups.of_control_plane(cidr)])
        assert (not (await _found(neutron))["LB network, to here"].cure) is let_in
    assert await groups.is_so(CONTROL_PLANE, doors_of_control_plane(CIDR))
    assert not await groups.is_so(CONTROL_PLANE, doors_of_amphorae(CIDR))
