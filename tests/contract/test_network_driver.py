# SPDX-License-Identifier: Apache-2.0
"""The promises of `NetworkDriver` and `Router`, asked of the fake and of the daemon in a lab."""

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address, ip_network
from typing import Any, TypeAlias

import pytest
from msgspec.structs import replace

from colonnade.domain.errors import Conflict, Invalid, NotFound, OutOfCapacity
from colonnade.domain.ids import AmphoraId, NetworkId, PortId, SubnetId, new_id
from colonnade.drivers.compute.protocol import Boot, ComputeDriver
from colonnade.drivers.network.namespaces import route_book
from colonnade.drivers.network.namespaces.address_book import (
    PRIVATE,
    PUBLIC,
    AddressBook,
    network_id,
    subnet_id,
)
from colonnade.drivers.network.namespaces.client import RouterClient
from colonnade.drivers.network.protocol import (
    Network,
    NetworkDriver,
    NextHop,
    Port,
    PortWish,
    Route,
    Router,
    Subnet,
)
from colonnade.protocol import birth
from tests.fakes.compute import FakeCompute
from tests.fakes.network import FakeNetwork
from tests.lab_site import Site, site, why_impossible

VIP, VIP_6 = "192.0.2.10/32", "2001:db8:9::10/128"
PUBLIC_NETWORK = network_id(PUBLIC.name)
PUBLIC_4, PUBLIC_6 = (subnet_id(PUBLIC.name, cidr) for cidr in PUBLIC.cidrs)
PRIVATE_4 = subnet_id(PRIVATE.name, PRIVATE.cidrs[0])
RouterAndNetwork: TypeAlias = tuple[Router, NetworkDriver]


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
async def routing(
    lab: Site | None, drivers: tuple[NetworkDriver, ComputeDriver]
) -> AsyncIterator[RouterAndNetwork]:
    network, _ = drivers
    if lab is None:
        assert isinstance(network, FakeNetwork)
        yield network, network
        return
    router = RouterClient(*lab.credentials("controller"))
    yield router, network
    for route in await router.routes():
        await router.delete_route(route.destination)
    await router.close()


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
    await compute.create(
        Boot(amphora_id=amphora_id, lb_port_id=own.id, config_drive=dict.fromkeys(birth.NEEDED, ""))
    )
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


# The router.


async def ports(networks: NetworkDriver, count: int, subnet: SubnetId = PUBLIC_4) -> list[Port]:
    wishes = [PortWish(id=PortId(new_id()), owner="lb:1", subnet_id=subnet) for _ in range(count)]
    return [await networks.create_port(wish) for wish in wishes]


def to(*hops: Port, **other: Any) -> Route:
    said = {"destination": VIP, "network_id": PUBLIC_NETWORK, "owner": "lb:1"} | other
    return Route(next_hops=tuple(NextHop(port.address) for port in hops), **said)


async def test_a_route_is_set_changed_and_deleted_and_each_may_be_repeated(
    routing: RouterAndNetwork,
) -> None:
    router, networks = routing
    one, two = await ports(networks, 2)
    for wanted in (to(one), to(one, two), to(two), to(one, two)):
        for _ in range(2):
            assert await router.set_route(wanted) == wanted
            assert list(await router.routes()) == [wanted]
    for _ in range(2):
        await router.delete_route(VIP)
        assert list(await router.routes()) == []


async def test_both_ip_versions_have_routes_as_addresses_are_usually_written(
    routing: RouterAndNetwork,
) -> None:
    router, networks = routing
    (four,), (six,) = await ports(networks, 1), await ports(networks, 1, PUBLIC_6)
    await router.set_route(to(four, destination="192.0.2.10"))
    long = "2001:0db8:0009:0:0:0:0:10"
    said = replace(to(six), destination=long, next_hops=(NextHop(six.address.upper(), 3),))
    assert await router.set_route(said) == replace(
        said, destination=VIP_6, next_hops=(NextHop(six.address, 3),)
    )
    assert {route.destination for route in await router.routes()} == {VIP, VIP_6}
    for destination in ("192.0.2.10", long):
        await router.delete_route(destination)
    assert list(await router.routes()) == []


@pytest.mark.parametrize(
    ("destination", "why"),
    [
        ("203.0.113.77", "203.0.113.0/24, which has clients, who would not ask the router"),
        ("10.0.0.200/32", "10.0.0.0/24, which has clients"),
        ("2001:db8:1::/65", "2001:db8:1::/64, which has clients"),
        ("203.0.0.0/16", "203.0.113.0/24, which has clients"),
        ("198.18.7.7", "198.18.0.0/16, which is kept for the machinery"),
    ],
)
async def test_no_destination_is_where_clients_look_beside_themselves(
    routing: RouterAndNetwork, destination: str, why: str
) -> None:
    router, networks = routing
    subnet = PUBLIC_6 if ":" in destination else PUBLIC_4
    (hop,) = await ports(networks, 1, subnet)
    with pytest.raises(Conflict, match=why):
        await router.set_route(to(hop, destination=destination))
    assert list(await router.routes()) == []


@pytest.mark.parametrize(
    "destination", ["x", "192.0.2.10/24", "0.0.0.0/0", "127.0.0.9", "224.0.0.5", "fe80::1", "::"]
)
async def test_a_destination_that_cannot_be_is_invalid(
    routing: RouterAndNetwork, destination: str
) -> None:
    router, networks = routing
    (hop,) = await ports(networks, 1)
    with pytest.raises(Invalid):
        await router.set_route(to(hop, destination=destination))


async def test_next_hops_are_addresses_of_ports_on_that_network(routing: RouterAndNetwork) -> None:
    router, networks = routing
    (one,), (elsewhere,) = await ports(networks, 1), await ports(networks, 1, PRIVATE_4)
    (six,) = await ports(networks, 1, PUBLIC_6)
    many = tuple(NextHop(one.address) for _ in range(route_book.NEXT_HOPS_MAX + 1))
    for wrong in (
        to(elsewhere),
        to(six),
        to(one, one),
        to(),
        *(replace(to(), next_hops=(NextHop(text),)) for text in ("203.0.113.1", "x", "")),
        *(replace(to(), next_hops=(NextHop(one.address, weight),)) for weight in (0, -1, 101)),
        replace(to(), next_hops=many),
        replace(to(one), network_id=(await networks.lb_subnet()).network_id),
    ):
        with pytest.raises(Invalid):
            await router.set_route(wrong)
    with pytest.raises(NotFound):
        await router.set_route(to(one, network_id=NetworkId(new_id())))
    assert list(await router.routes()) == []


async def test_nobody_is_routed_what_another_has(routing: RouterAndNetwork) -> None:
    router, networks = routing
    one, two = await ports(networks, 2)
    first = await router.set_route(to(one))
    for destination in (VIP, "192.0.2.0/28"):
        with pytest.raises(Conflict, match="somebody else"):
            await router.set_route(to(two, destination=destination, owner="lb:2"))
    assert list(await router.routes()) == [first]
    await router.set_route(to(two, destination="192.0.2.0/28"))
    assert len(await router.routes()) == 2


async def test_a_deleted_port_is_led_to_no_more(routing: RouterAndNetwork) -> None:
    router, networks = routing
    one, two = await ports(networks, 2)
    await router.set_route(to(one, two))
    await router.set_route(to(two, destination="192.0.2.11/32"))
    await networks.delete_port(two.id)
    assert list(await router.routes()) == [to(one)]
    (again,) = await ports(networks, 1)
    assert again.address == two.address
    assert list(await router.routes()) == [to(one)]


def test_a_router_has_room_for_so_many() -> None:
    book = AddressBook()
    network = book.add_network(PUBLIC)
    (subnet, _) = network.subnet_ids
    hop = book.create_port(PortWish(id=PortId(new_id()), owner="x", subnet_id=subnet))
    routes = route_book.RouteBook(book)
    routes.load(
        [
            route_book.RouteRecord(
                number=number + 1,
                route=to(hop, destination=f"100.64.{number // 256}.{number % 256}/32"),
            )
            for number in range(route_book.ROUTES_MAX)
        ]
    )
    with pytest.raises(OutOfCapacity, match="4096 routes"):
        routes.put(to(hop))
    routes.drop("100.64.0.7/32")
    assert routes.put(to(hop)).number == 8
