# SPDX-License-Identifier: Apache-2.0
"""The promises of compute and network drivers that need amphorae, asked of the drivers for Nova and
Neutron beside real ones; and what their servers, ports and groups look like there."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from colonnade.domain.errors import OutOfCapacity
from colonnade.domain.ids import AmphoraId, PortId, new_id
from colonnade.drivers.compute.nova.amphorae import NovaCompute
from colonnade.drivers.compute.protocol import ComputeDriver
from colonnade.drivers.network.namespaces.address_book import PRIVATE, PUBLIC
from colonnade.drivers.network.neutron.driver import NeutronNetworks, neutron_networks
from colonnade.drivers.network.protocol import Door, NetworkDriver, PortWish, vip_owner
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.config import Nova
from tests.contract.test_compute_driver import (  # noqa: F401 - asked of this driver too
    World,
    test_a_created_amphora_runs_and_is_listed,
    test_a_dead_amphora_can_be_created_again,
    test_a_dead_amphora_is_stopped_until_destroyed,
    test_an_amphora_needs_its_port,
    test_creating_again_and_at_once_makes_one,
    test_destroying_what_never_was_is_nothing,
    test_nothing_is_left_of_a_destroyed_amphora,
    wished,
)
from tests.contract.test_network_driver import (  # noqa: F401 - asked of this driver too
    boot,
    subnet_of,
    test_a_destroyed_amphora_has_no_port_plugged,
    test_a_plugged_port_can_be_deleted,
    test_only_an_amphora_that_exists_can_be_plugged_into,
    wish,
)
from tests.openstack.keystone import SERVICE_PASSWORD, Cloud
from tests.openstack.nova import HOSTS, Urls
from tests.openstack.operator import Computing, Networks

FLAVOR = "m1.amphora"
UP_S_MAX = 120.0


@pytest.fixture
async def computing(session: Session, compute: Urls) -> Computing:
    made = Computing(session, compute.compute, compute.image)
    await made.flavor(FLAVOR)
    await made.image("amphora")
    deadline = time.monotonic() + UP_S_MAX
    while len((await made.get("os-hypervisors"))["hypervisors"]) < len(HOSTS):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)
    return made


@pytest.fixture
async def networks(session: Session, neutron: Networks) -> NeutronNetworks:
    _, (lb,) = await neutron.network("lb-mgmt", "198.18.0.0/24")
    await neutron.network(PUBLIC.name, *PUBLIC.cidrs, shared=True)
    await neutron.network(PRIVATE.name, *PRIVATE.cidrs)
    return neutron_networks(session, lb)


@pytest.fixture
async def drivers(
    session: Session, networks: NeutronNetworks, computing: Computing
) -> AsyncIterator[tuple[NetworkDriver, ComputeDriver]]:
    made = _driver(session, networks)
    yield networks, made
    for instance in await made.instances():
        await made.destroy(instance.amphora_id)


@pytest.fixture
def world(
    cloud: Cloud, drivers: tuple[NetworkDriver, ComputeDriver], computing: Computing
) -> World:
    who = cloud.credentials("lbaas", SERVICE_PASSWORD, "service").wish()
    return World(*drivers, lambda amphora_id: _stop(cloud, who, computing.url, amphora_id))


def _stop(cloud: Cloud, who: object, nova: str, amphora_id: AmphoraId) -> None:
    """Its server, as if somebody had cut its power. Returns when it is so."""
    login = httpx.post(f"{cloud.url}/auth/tokens", json=who)
    headers = {"X-Auth-Token": login.headers["X-Subject-Token"]}
    with httpx.Client(headers=headers, timeout=60) as client:
        named = client.get(f"{nova}/servers", params={"name": str(amphora_id)}).json()
        (server,) = named["servers"]
        url = f"{nova}/servers/{server['id']}"
        assert client.post(f"{url}/action", json={"os-stop": None}).status_code == 202
        deadline = time.monotonic() + UP_S_MAX
        while client.get(url).json()["server"]["status"] != "SHUTOFF":
            assert time.monotonic() < deadline


def _driver(session: Session, networks: NeutronNetworks, **said: object) -> NovaCompute:
    settings = msgspec.convert({"flavor": FLAVOR, **said}, Nova)
    return NovaCompute(session, networks, settings)


async def test_strict_amphorae_are_on_different_hosts_and_the_third_is_out_of_capacity(
    session: Session, networks: NeutronNetworks, world: World, computing: Computing
) -> None:
    driver = _driver(session, networks, anti_affinity="strict")
    boots = [await wished(world) for _ in range(3)]
    for one in boots[:2]:
        await driver.create(one)
    assert {found.host for found in await driver.instances()} == set(HOSTS)
    with pytest.raises(OutOfCapacity, match="No valid host"):
        await driver.create(boots[2])
    assert len(await computing.servers()) == 2


async def test_a_quota_that_is_met_is_out_of_capacity(
    session: Session, world: World, computing: Computing
) -> None:
    url = f"{computing.url}/os-quota-sets/{await session.project()}"
    for instances in (0, 10):
        body = {"quota_set": {"instances": instances}}
        assert (await session.ask("PUT", url, body=body)).status == 200
        asked = await wished(world)
        if instances == 0:
            with pytest.raises(OutOfCapacity, match="uota exceeded"):
                await world.compute.create(asked)
    await world.compute.create(asked)


async def test_two_controllers_at_once_make_one_that_lives(
    session: Session, networks: NeutronNetworks, world: World, computing: Computing
) -> None:
    asked = await wished(world)
    several = [_driver(session, networks) for _ in range(3)]
    await asyncio.gather(*(one.create(asked) for one in several), return_exceptions=True)
    await world.compute.create(asked)
    (alive,) = [one for one in await computing.servers() if one["status"] == "ACTIVE"]
    assert alive["name"] == f"amphora-{asked.amphora_id}"
    await world.compute.destroy(asked.amphora_id)
    assert await computing.servers() == []


async def test_a_vip_is_carried_by_one_amphora_at_most_and_its_port_stays_octavias(
    drivers: tuple[NetworkDriver, ComputeDriver], networks: NeutronNetworks, neutron: Networks
) -> None:
    first, second = await boot(drivers), await boot(drivers)
    balancer, subnet = new_id(), await subnet_of(networks, "public")
    asked = PortWish(id=PortId(new_id()), owner=vip_owner(balancer), subnet_id=subnet.id)
    port = await networks.create_port(asked)
    for amphora_id in (first, first, second):
        prepared = await networks.cloud.prepared(port.id, amphora_id)
        plugged = await networks.plug(asked.id, amphora_id)
        assert plugged == prepared == await networks.port(port.id)
        assert plugged.plugged_into == amphora_id
        assert plugged in await networks.ports()
        (carrier,) = await _carriers(neutron)
        assert carrier["mac_address"] == plugged.mac != port.mac
        pairs = [pair["ip_address"] for pair in carrier["allowed_address_pairs"]]
        assert pairs == [port.address]
        assert carrier["device_owner"].startswith("compute:")
    shown = (await neutron.get(f"ports/{port.id}"))["port"]
    assert (shown["device_owner"], shown["device_id"]) == ("Octavia", f"lb-{balancer}")
    for _ in range(2):
        await networks.unplug(port.id)
        assert (await networks.port(port.id)).plugged_into is None
    assert await _carriers(neutron) == []


async def test_what_a_half_lets_in_and_may_have_is_as_it_was_said_last(
    drivers: tuple[NetworkDriver, ComputeDriver], networks: NeutronNetworks, neutron: Networks
) -> None:
    amphora_id, subnet = await boot(drivers), await subnet_of(networks, "public")
    own = PortWish(id=PortId(new_id()), owner=f"amphora:{amphora_id}", subnet_id=subnet.id)
    await networks.create_port(own)
    plugged = await networks.plug(own.id, amphora_id)
    assert plugged.plugged_into == amphora_id
    doors = [
        Door(protocol="tcp", port=443, sources=("192.0.2.0/24", "2001:db8::/32")),
        Door(protocol="udp", port=53),
        Door(protocol="vrrp", sources=("203.0.113.9/32",)),
    ]
    for open_ in (doors, doors[:1], doors):
        for _ in range(2):
            await networks.cloud.let_through(amphora_id, open_, {own.id: ["203.0.113.50"]})
    shown = (await neutron.get(f"ports/{plugged.id}"))["port"]
    pairs = [pair["ip_address"] for pair in shown["allowed_address_pairs"]]
    assert pairs == ["203.0.113.50"]
    (group_id,) = shown["security_groups"]
    group = (await neutron.get(f"security-groups/{group_id}"))["security_group"]
    rules = {
        (r["ethertype"], r["protocol"], r["port_range_min"], r["remote_ip_prefix"])
        for r in group["security_group_rules"]
        if r["direction"] == "ingress"
    }
    assert rules == {
        ("IPv4", "tcp", 443, "192.0.2.0/24"),
        ("IPv6", "tcp", 443, "2001:db8::/32"),
        ("IPv4", "udp", 53, None),
        ("IPv6", "udp", 53, None),
        ("IPv4", "112", None, "203.0.113.9/32"),
    }


async def test_the_last_port_of_an_amphora_takes_all_that_it_had_along(
    drivers: tuple[NetworkDriver, ComputeDriver], networks: NeutronNetworks, neutron: Networks
) -> None:
    _, compute = drivers
    amphora_id, subnet = await boot(drivers), await subnet_of(networks, "public")
    vip = await networks.create_port(wish(subnet.id))
    await networks.plug(vip.id, amphora_id)
    lb = await networks.lb_subnet()
    (own,) = [port for port in await networks.ports() if port.subnet_id == lb.id]
    await compute.destroy(amphora_id)
    await networks.delete_port(own.id)
    assert [port.id for port in await networks.ports()] == [vip.id]
    groups = (await neutron.get("security-groups"))["security_groups"]
    assert not [one for one in groups if amphora_id in one["name"]]


async def _carriers(neutron: Networks) -> list[dict[str, Any]]:
    found = (await neutron.get("ports"))["ports"]
    return [port for port in found if port["name"].startswith("octavia-lb-vrrp-")]
