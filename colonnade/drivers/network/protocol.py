# SPDX-License-Identifier: Apache-2.0
"""What Colonnade asks of a network service, and nothing more.

Every call may be repeated, at once and after any failure, with the same result: ids are chosen
by the caller. A driver raises `Unavailable` when waiting may help (`OutOfCapacity` when a subnet
is full), `NotFound` for a network, subnet or port that is not there, `Conflict` for an address
that is taken, `Invalid` for an address outside its subnet. It has never heard of listeners.
`tests/contract/test_network_driver.py` is the other half of this file.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Protocol

import msgspec

from colonnade.domain.ids import AmphoraId, NetworkId, PortId, SubnetId


class Network(msgspec.Struct, frozen=True, kw_only=True):
    id: NetworkId
    name: str
    subnet_ids: tuple[SubnetId, ...]


class Reach(StrEnum):
    """How packets for an address of a subnet come to the amphora that has it."""

    LINK = "link"  # it is on the wire, and may have neighbours there
    ROUTED = "routed"  # its machine leads that one address to it; nobody is beside it
    PORTS = "ports"  # it is an address of its machine, which leads single ports of it


class Neighbour(msgspec.Struct, frozen=True):
    """A router that hears BGP, and the number of its autonomous system."""

    address: str
    asn: int


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """Who hears of VIPs by BGP from the amphorae themselves."""

    asn: int  # the amphorae's own
    routers: tuple[Neighbour, ...]  # on the subnet that VIPs are led to
    bfd_ms: int = 100  # between two packets of BFD, three of which may be missed; 0: none


class Subnet(msgspec.Struct, frozen=True, kw_only=True):
    id: SubnetId
    name: str
    network_id: NetworkId
    cidr: str
    gateway_ip: str | None
    via_subnet_id: SubnetId | None = None  # nobody is on it: a router leads it to ports of that one
    announced: Announced | None = None  # by what amphorae announce; None: `Router` is told
    reach: Reach = Reach.LINK

    @property
    def ip_version(self) -> int:
        return 6 if ":" in self.cidr else 4

    def on_link(self, address: str) -> str:
        """The address with the length of what is beside it, "203.0.113.7/24"."""
        if self.reach is Reach.LINK:
            return f"{address}/{self.cidr.partition('/')[2]}"
        return f"{address}/{128 if self.ip_version == 6 else 32}"


_VIP: Final = "lb:"


def vip_owner(load_balancer_id: str) -> str:
    """The owner of the ports of its VIPs."""
    return f"{_VIP}{load_balancer_id}"


def is_vip(owner: str) -> bool:
    """Whether a port of this owner is a VIP's."""
    return owner.startswith(_VIP)


def load_balancer_of(owner: str) -> str:
    """The id of the load balancer whose VIP a port is; "" for every other port."""
    return owner.removeprefix(_VIP) if is_vip(owner) else ""


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """An address on a subnet, with a MAC of its own. `owner` is whatever the maker wrote."""

    id: PortId
    network_id: NetworkId
    subnet_id: SubnetId
    address: str
    mac: str
    owner: str = ""  # `vip_owner` for a VIP, "amphora:<id>" for an amphora's own port
    wish_id: PortId | None = None  # the id that it was wished with, where that is not its own
    plugged_into: AmphoraId | None = None


class PortWish(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port to make. Name a subnet, or a network to have its first fitting subnet chosen
    (IPv4 preferred). No address: the driver chooses a free one. `project_id`: whose it is, where
    networks tell projects apart; "" for the service's own."""

    id: PortId
    owner: str
    network_id: NetworkId | None = None
    subnet_id: SubnetId | None = None
    address: str | None = None
    project_id: str = ""


class NextHop(msgspec.Struct, frozen=True):
    """An address that a port has, and its share of the flows."""

    address: str
    weight: int = 1


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What the router of a network sends to addresses on it. Several next hops share the flows; a
    flow keeps its own while that is there."""

    destination: str  # "192.0.2.10/32": a VIP, or a range of them
    network_id: NetworkId  # where the next hops are
    next_hops: tuple[NextHop, ...]
    owner: str  # whatever the maker wrote; `vip_owner` for a VIP


class Router(Protocol):
    """The routes that a network driver sets. A driver whose networks are routed by others has none
    of these calls, and serves no routed front end.

    A destination is never an address that a client of the network would look for beside itself: it
    would ask for it by ARP or NDP, and the router would not be asked."""

    async def routes(self) -> Sequence[Route]:
        """All that were set and not deleted."""

    async def route(self, destination: str) -> Route:
        """One of them. Raises NotFound."""

    async def set_route(self, route: Route) -> Route:
        """Set it, in the place of the one of that owner to that destination. The flows of next hops
        that stay go on. The answer is the route with its addresses as they are usually written.

        Raises Invalid for a destination or next hops that cannot be, Conflict for a destination
        that lies in a subnet with clients or overlaps a route of another owner, NotFound for a
        network that is not there, OutOfCapacity when the router has no room for another."""

    async def delete_route(self, destination: str) -> None:
        """Gone afterwards. No such route: nothing to do."""


class Forward(msgspec.Struct, frozen=True, order=True):
    """A port of the address of a VIP."""

    transport: Annotated[str, msgspec.Meta(pattern="^(tcp|udp|sctp)$")]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Taken(msgspec.Struct, frozen=True):
    """A port of an address that is in use. `owner`: whose VIP; "": the machine's own program."""

    forward: Forward
    owner: str = ""


class Forwarder(Protocol):
    """Of subnets with `Reach.PORTS`: which ports of an address lead to a VIP. Several VIPs may have
    one address there, and no two of them the same port of it."""

    async def taken(self, subnet_id: SubnetId, address: str) -> Sequence[Taken]:
        """All ports of that address that no further VIP can have. Raises NotFound."""

    async def set_forwards(self, port_id: PortId, forwards: Sequence[Forward]) -> None:
        """From now on these ports of its address, and no others, lead to that VIP. Open connections
        go on. Raises Conflict for one that is taken, NotFound, and Invalid for a port on a subnet
        of another reach."""


class Door(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What may come in: to a port of that protocol ("vrrp" has none), from those addresses."""

    protocol: str  # "tcp", "udp", "sctp", "vrrp"
    port: int = 0
    sources: tuple[str, ...] = ()  # CIDRs; none: from everywhere


class CloudNetwork(Protocol):
    """What is so in a cloud: not all may see all networks; an amphora has a VIP by a carrier, a
    port of its own beside the VIP's, and so takes a further address; and what a port may send and
    get the network must be told. A driver whose networks are otherwise has none of these calls."""

    def seen_by(self, token: str) -> "NetworkDriver":
        """The networks as whoever has this token may see them; "" for this service itself."""

    async def prepared(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        """The port as it will be when it is plugged there, with the MAC that it will have; nothing
        is moved yet. Raises NotFound."""

    async def let_through(
        self, amphora_id: AmphoraId, doors: Sequence[Door], floating: Mapping[PortId, Sequence[str]]
    ) -> None:
        """These doors of the amphora are open on the networks of its VIPs and members, and no
        others. `floating`: addresses that each of these ports of its own may have beside its own,
        and no others."""


class NetworkParts(Protocol):
    """What some network drivers can and others cannot."""

    @property
    def cloud(self) -> CloudNetwork | None:
        """None: all see all, VIPs' ports are plugged themselves, and nothing is filtered."""

    @property
    def router(self) -> Router | None:
        """None: its networks are routed by others, and no subnet of it is led anywhere."""

    @property
    def forwarder(self) -> Forwarder | None:
        """None: it has no subnet with `Reach.PORTS`."""


class NetworkDriver(NetworkParts, Protocol):
    name: str

    async def networks(self) -> Sequence[Network]:
        """All networks that users may see; the LB network is not among them."""

    async def subnets(self) -> Sequence[Subnet]:
        """All subnets of those networks."""

    async def lb_subnet(self) -> Subnet:
        """The subnet of the LB network, where amphorae and controllers meet."""

    async def free_addresses(self, subnet_id: SubnetId) -> int:
        """How many further ports the subnet has room for. Raises NotFound."""

    async def ports(self) -> Sequence[Port]:
        """All ports there are, for look-ups and for finding leaks."""

    async def port(self, port_id: PortId) -> Port:
        """One port. Raises NotFound."""

    async def create_port(self, wish: PortWish) -> Port:
        """The port as wished. If the id exists already, that port unchanged."""

    async def delete_port(self, port_id: PortId) -> None:
        """Gone afterwards, unplugged first. No such port: nothing to do.

        No route leads to its address any more: whoever gets it next gets no traffic of others."""

    async def plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        """Put an interface with the port's MAC, that of the answer, into the amphora's traffic
        namespace.

        If the port is plugged elsewhere it is moved: afterwards exactly one amphora has it.
        Addresses and routes on it are the agent's work. Raises NotFound when there is no
        such amphora, Unavailable when there is one that does not run."""

    async def unplug(self, port_id: PortId) -> None:
        """Take the interface away. Not plugged, or no such port: nothing to do."""
