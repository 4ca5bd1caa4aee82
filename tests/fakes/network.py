# SPDX-License-Identifier: Apache-2.0
"""A network in memory, for tests of what stands above it.

It keeps the promises of `NetworkDriver` (tests/contract proves it) with the networks of the
lab: `public`, `private` and the LB network. `before` is called with the name of each call and
may raise, which is how a test fails any call it likes.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_interface
from typing import Final

from colonnade.domain.errors import NotFound, Unavailable
from colonnade.domain.ids import AmphoraId, NetworkId, PortId, SubnetId, new_id
from colonnade.drivers.network.namespaces.address_book import (
    FIRST_NETWORKS,
    LB_NETWORK,
    PRIVATE,
    PUBLIC,
    TRANSIT,
    AddressBook,
    NetworkRecord,
    NoShelf,
    network_id,
    subnet_id,
)
from colonnade.drivers.network.namespaces.host_table import Contents, Led
from colonnade.drivers.network.namespaces.port_forwards import PortForwards
from colonnade.drivers.network.namespaces.route_book import RouteBook, read_destination
from colonnade.drivers.network.protocol import (
    Announced,
    CloudNetwork,
    Forward,
    Forwarder,
    Network,
    Port,
    PortWish,
    Reach,
    Route,
    Router,
    Subnet,
    Taken,
)

PUBLIC_NETWORK: Final[NetworkId] = network_id(PUBLIC.name)
PUBLIC_SUBNET: Final[SubnetId] = subnet_id(PUBLIC.name, PUBLIC.cidrs[0])
PUBLIC_SUBNET_V6: Final[SubnetId] = subnet_id(PUBLIC.name, PUBLIC.cidrs[1])
PRIVATE_NETWORK: Final[NetworkId] = network_id(PRIVATE.name)
PRIVATE_SUBNET: Final[SubnetId] = subnet_id(PRIVATE.name, PRIVATE.cidrs[0])
LB_SUBNET: Final[SubnetId] = subnet_id(LB_NETWORK.name, LB_NETWORK.cidrs[0])


def _nothing(call: str) -> None:
    """The default of `before`."""


class FakeMachine:
    """The machine that has addresses of its own: `listens` are ports of its programs, `led` where
    those of VIPs lead."""

    def __init__(self) -> None:
        self.listens: dict[str, list[Forward]] = {}
        self.led: Sequence[Led] = ()

    async def listening(self, address: str) -> Sequence[Forward]:
        return self.listens.get(address, [])

    async def set_table(self, contents: Contents) -> None:
        self.led = contents.led


class FakeNetwork:
    """`amphorae` are those that exist: a `FakeCompute` given this network keeps the set."""

    name = "fake"
    cloud: CloudNetwork | None = None

    def __init__(self, before: Callable[[str], None] = _nothing) -> None:
        self.before = before
        self.amphorae: set[AmphoraId] = set()  # those that run
        self.stopped: set[AmphoraId] = set()
        self._book = AddressBook()
        self._routes = RouteBook(self._book)
        self.machine = FakeMachine()
        self._forwards = PortForwards(self._book, NoShelf(), self.machine)
        self._book.load([TRANSIT], [])
        for record in FIRST_NETWORKS:
            self._book.add_network(record)
        controllers = PortWish(
            id=PortId(new_id()), owner="control", subnet_id=LB_SUBNET, address="198.18.0.1"
        )
        self._book.create_port(controllers)

    async def networks(self) -> Sequence[Network]:
        self.before("network.networks")
        return self._book.networks()

    async def subnets(self) -> Sequence[Subnet]:
        self.before("network.subnets")
        return self._book.subnets()

    async def lb_subnet(self) -> Subnet:
        self.before("network.lb_subnet")
        return self._book.subnet(LB_SUBNET)

    async def free_addresses(self, subnet_id: SubnetId) -> int:
        self.before("network.free_addresses")
        return self._book.usage()[self._book.subnet(subnet_id).id][1]

    async def ports(self) -> Sequence[Port]:
        self.before("network.ports")
        return list(self._book.ports.values())

    async def port(self, port_id: PortId) -> Port:
        self.before("network.port")
        return self._book.port(port_id)

    async def create_port(self, wish: PortWish) -> Port:
        self.before("network.create_port")
        return self._book.create_port(wish)

    async def delete_port(self, port_id: PortId) -> None:
        self.before("network.delete_port")
        if self.has_port(port_id):
            for record in self._routes.without(self._book.port(port_id)):
                self._routes.replace(record)
            await self._forwards.forget(port_id)
        self._book.delete_port(port_id)

    async def plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        self.before("network.plug")
        self._book.port(port_id)
        if amphora_id in self.stopped:
            raise Unavailable(f"amphora {amphora_id} is not running")
        if amphora_id not in self.amphorae:
            raise NotFound(f"there is no amphora {amphora_id}")
        return self._book.note_plug(port_id, amphora_id)

    async def unplug(self, port_id: PortId) -> None:
        self.before("network.unplug")
        if self.has_port(port_id):
            self._book.note_plug(port_id, None)

    @property
    def router(self) -> Router:
        return self

    @property
    def forwarder(self) -> Forwarder:
        return self

    async def taken(self, subnet_id: SubnetId, address: str) -> Sequence[Taken]:
        self.before("network.taken")
        return await self._forwards.taken(subnet_id, address)

    async def set_forwards(self, port_id: PortId, forwards: Sequence[Forward]) -> None:
        self.before("network.set_forwards")
        await self._forwards.set_forwards(port_id, forwards)

    async def routes(self) -> Sequence[Route]:
        self.before("network.routes")
        return [record.route for record in self._routes.records.values()]

    async def route(self, destination: str) -> Route:
        self.before("network.route")
        return self._routes.get(destination)

    async def set_route(self, route: Route) -> Route:
        self.before("network.set_route")
        return self._routes.put(route).route

    async def delete_route(self, destination: str) -> None:
        self.before("network.delete_route")
        self._routes.drop(str(read_destination(destination)))

    def add(
        self,
        name: str,
        *cidrs: str,
        is_routed: bool = True,
        via: str = "",
        announced: Announced | None = None,
    ) -> SubnetId:
        """A further network, for the test itself; the id of its first subnet."""
        routed = is_routed and not via
        self._book.add_network(
            NetworkRecord(name=name, cidrs=cidrs, routed=routed, via=via, announced=announced)
        )
        return subnet_id(name, cidrs[0])

    def add_own(self, name: str, *addresses: str) -> SubnetId:
        """A network of the machine's own addresses, for the test itself; the id of its subnet."""
        cidr = str(ip_interface(f"{addresses[0]}/24").network)
        ranges = tuple((one, one) for one in addresses)
        self._book.load(
            [
                NetworkRecord(
                    name=name, cidrs=(cidr,), routed=False, reach=Reach.PORTS, ranges=ranges
                )
            ],
            [],
        )
        return subnet_id(name, cidr)

    def held(self) -> list[Port]:
        """All ports, for the test itself: `before` is not told."""
        return list(self._book.ports.values())

    def led(self) -> list[Route]:
        """All routes, for the test itself."""
        return [record.route for record in self._routes.records.values()]

    def has_port(self, port_id: PortId) -> bool:
        return port_id in self._book.ports

    def lost(self, amphora_id: AmphoraId) -> None:
        """The amphora is gone, and every interface it had with it."""
        self.amphorae.discard(amphora_id)
        self.stopped.discard(amphora_id)
        for port in list(self._book.ports.values()):
            if port.plugged_into == amphora_id:
                self._book.note_plug(port.id, None)
