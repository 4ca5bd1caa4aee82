# SPDX-License-Identifier: Apache-2.0
"""The promises of `NetworkDriver`, asked of the fake and of the daemon in a lab of its own."""

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address, ip_network

import pytest

from colonnade.domain.errors import Conflict, Invalid, NotFound, OutOfCapacity
from colonnade.domain.ids import AmphoraId, NetworkId, PortId, SubnetId, new_id
from colonnade.drivers.compute.protocol import Boot, ComputeDriver
from colonnade.drivers.network.protocol import Network, NetworkDriver, PortWish, Subnet
from tests.fakes.compute import FakeCompute
from tests.fakes.network import FakeNetwork
from tests.lab_site import Site, site, why_impossible


@pytest.fixture(scope="module")
def real() -> Iterator[Site]:
    if reason := why_impossible():
        pytest.skip(reason)
    with site() as made:
        yield made


@pytest.fixture(params=["fake", "namespaces"])
def kind(request: pytest.FixtureRequest) -> str:
    """Of the driver. Each is made below, with what its world needs."""
    found: str = request.param
    return found


@pytest.fixture
def lab(request: pytest.FixtureRequest, kind: str) -> Site | None:
    return request.getfixturevalue("real") if kind == "namespaces" else None


@pytest.fixture
async def drivers(
    kind: str, lab: Site | None
) -> AsyncIterator[tuple[NetworkDriver, ComputeDriver]]:
    if kind == "fake":
        network = FakeNetwork()
        yield network, FakeCompute(network)
        return
    assert lab is not None
    networks, compute = lab.networks(), lab.compute()
    yield networks, compute
    for instance in await compute.instances():
        await compute.destroy(instance.amphora_id)
    for port in await networks.ports():
        if port.owner.startswith(("lb:", "amphora:")):
            await networks.delete_port(port.id)
    await networks.close()
    await compute.close()


@pytest.fixture
def driver(drivers: tuple[NetworkDriver, ComputeDriver]) -> NetworkDriver:
    return drivers[0]


async def named(driver: NetworkDriver, name: str) -> Network:
    return next(n for n in await driver.networks() if n.name == name)


async def subnet_of(driver: NetworkDriver, name: str, version: int = 4) -> Subnet:
    network = await named(driver, name)
    subnets = {s.id: s for s in await driver.subnets()}
    return next(subnets[i] for i in network.subnet_ids if subnets[i].ip_version == version)


def wish(
    subnet: SubnetId | None = None,
    network: NetworkId | None = None,
    address: str | None = None,
) -> PortWish:
    return PortWish(
        id=PortId(new_id()),
        owner=f"lb:{new_id()}",
        subnet_id=subnet,
        network_id=network,
        address=address,
    )


async def boot(drivers: tuple[NetworkDriver, ComputeDriver]) -> AmphoraId:
    network, compute = drivers
    amphora_id = AmphoraId(new_id())
    own = PortWish(
        id=PortId(new_id()),
        owner=f"amphora:{amphora_id}",
        subnet_id=(await network.lb_subnet()).id,
    )
    await network.create_port(own)
    await compute.create(Boot(amphora_id=amphora_id, lb_port_id=own.id, config_drive={}))
    return amphora_id


async def test_users_see_public_and_private_and_not_the_lb_network(driver: NetworkDriver) -> None:
    names = {network.name for network in await driver.networks()}
    lb = await driver.lb_subnet()
    assert {"public", "private"} <= names
    assert lb.id not in {subnet.id for subnet in await driver.subnets()}
    assert lb.network_id not in {network.id for network in await driver.networks()}


async def test_a_chosen_address_is_free_and_may_be_used(driver: NetworkDriver) -> None:
    for version in (4, 6):
        subnet = await subnet_of(driver, "public", version)
        port = await driver.create_port(wish(subnet.id))
        net = ip_network(subnet.cidr)
        assert ip_address(port.address) in net
        assert port.address not in (subnet.gateway_ip, str(net[0]), str(net[-1]))
        assert await driver.port(port.id) == port
        assert port in await driver.ports()


async def test_no_two_ports_share_an_address_or_a_mac(driver: NetworkDriver) -> None:
    subnet = await subnet_of(driver, "private")
    ports = [await driver.create_port(wish(subnet.id)) for _ in range(20)]
    assert len({p.address for p in ports}) == len({p.mac for p in ports}) == 20
    # locally administered, and not multicast: IEEE 802, second and first bit of the first byte
    assert all(int(p.mac[:2], 16) & 3 == 2 for p in ports)


async def test_the_same_id_is_the_same_port(driver: NetworkDriver) -> None:
    asked = wish((await subnet_of(driver, "public")).id)
    first = await driver.create_port(asked)
    assert await driver.create_port(asked) == first


async def test_a_wished_address_is_given_once(driver: NetworkDriver) -> None:
    subnet = await subnet_of(driver, "public")
    port = await driver.create_port(wish(subnet.id, address="203.0.113.77"))
    assert port.address == "203.0.113.77"
    with pytest.raises(Conflict):
        await driver.create_port(wish(subnet.id, address="203.0.113.77"))


@pytest.mark.parametrize(
    "address", ["198.51.100.7", "2001:db8:1::7", "203.0.113.0", "203.0.113.1", "203.0.113.255", "x"]
)
async def test_an_address_that_cannot_be_is_invalid(driver: NetworkDriver, address: str) -> None:
    subnet = await subnet_of(driver, "public")
    with pytest.raises(Invalid):
        await driver.create_port(wish(subnet.id, address=address))


async def test_a_network_alone_gives_an_ipv4_address(driver: NetworkDriver) -> None:
    network = await named(driver, "public")
    port = await driver.create_port(wish(network=network.id))
    assert ip_address(port.address).version == 4
    assert port.subnet_id == (await subnet_of(driver, "public")).id


async def test_an_address_chooses_its_subnet_of_the_network(driver: NetworkDriver) -> None:
    network = await named(driver, "public")
    port = await driver.create_port(wish(network=network.id, address="2001:db8:1::77"))
    assert port.subnet_id == (await subnet_of(driver, "public", 6)).id
    with pytest.raises(Invalid):
        await driver.create_port(wish(network=network.id, address="10.0.0.77"))


async def test_what_is_not_there_is_not_found(driver: NetworkDriver) -> None:
    nobody = PortId(new_id())
    with pytest.raises(NotFound):
        await driver.create_port(wish(SubnetId(new_id())))
    with pytest.raises(NotFound):
        await driver.create_port(wish(network=NetworkId(new_id())))
    with pytest.raises(NotFound):
        await driver.port(nobody)
    with pytest.raises(NotFound):
        await driver.plug(nobody, AmphoraId(new_id()))
    await driver.unplug(nobody)
    await driver.delete_port(nobody)


async def test_a_deleted_port_gives_its_address_back(driver: NetworkDriver) -> None:
    subnet = await subnet_of(driver, "public")
    port = await driver.create_port(wish(subnet.id))
    await driver.delete_port(port.id)
    await driver.delete_port(port.id)
    with pytest.raises(NotFound):
        await driver.port(port.id)
    again = await driver.create_port(wish(subnet.id, address=port.address))
    assert again.address == port.address


async def test_a_full_subnet_is_out_of_capacity_until_a_port_goes(driver: NetworkDriver) -> None:
    subnet = await subnet_of(driver, "private")
    made = []
    with pytest.raises(OutOfCapacity):
        for _ in range(260):
            made.append(await driver.create_port(wish(subnet.id)))
    assert len(made) > 200
    assert await driver.free_addresses(subnet.id) == 0
    await driver.delete_port(made[7].id)
    assert await driver.free_addresses(subnet.id) == 1
    with pytest.raises(NotFound):
        await driver.free_addresses(SubnetId(new_id()))
    assert (await driver.create_port(wish(subnet.id))).address == made[7].address


async def test_a_port_is_plugged_into_one_amphora_at_most(
    drivers: tuple[NetworkDriver, ComputeDriver],
) -> None:
    network, _ = drivers
    first, second = await boot(drivers), await boot(drivers)
    port = await network.create_port(wish((await subnet_of(network, "public")).id))
    assert port.plugged_into is None
    for amphora_id in (first, first, second):
        plugged = await network.plug(port.id, amphora_id)
        assert plugged.plugged_into == amphora_id
        assert await network.port(port.id) == plugged
        assert plugged.mac == port.mac
    for _ in range(2):
        await network.unplug(port.id)
        assert (await network.port(port.id)).plugged_into is None


async def test_only_an_amphora_that_exists_can_be_plugged_into(
    drivers: tuple[NetworkDriver, ComputeDriver],
) -> None:
    network, _ = drivers
    port = await network.create_port(wish((await subnet_of(network, "public")).id))
    with pytest.raises(NotFound):
        await network.plug(port.id, AmphoraId(new_id()))
    assert (await network.port(port.id)).plugged_into is None


async def test_a_plugged_port_can_be_deleted(
    drivers: tuple[NetworkDriver, ComputeDriver],
) -> None:
    network, _ = drivers
    amphora_id = await boot(drivers)
    port = await network.create_port(wish((await subnet_of(network, "public")).id))
    await network.plug(port.id, amphora_id)
    await network.delete_port(port.id)
    with pytest.raises(NotFound):
        await network.port(port.id)


async def test_a_destroyed_amphora_has_no_port_plugged(
    drivers: tuple[NetworkDriver, ComputeDriver],
) -> None:
    network, compute = drivers
    amphora_id = await boot(drivers)
    port = await network.create_port(wish((await subnet_of(network, "public")).id))
    await network.plug(port.id, amphora_id)
    await compute.destroy(amphora_id)
    assert (await network.port(port.id)).plugged_into is None
