# SPDX-License-Identifier: Apache-2.0
"""The address book: which networks, subnets and ports there are, and who has which address.

Invariant: no address of a subnet is held by two ports, and network, broadcast and gateway addresses
by none; no two ranges that the router joins overlap. Those that it does not join may, for nothing
leads from one to the other. A change costs the same however many ports there are. The book lives in
memory; the `AddressStorage` given to it keeps what must survive. It knows no link and no process.
"""

from collections.abc import Sequence
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Protocol

import msgspec

from colonnade.domain.errors import Broken, ColonnadeError, Conflict, Invalid, NotFound
from colonnade.domain.ids import AmphoraId, NetworkId, PortId, SubnetId, derived_id
from colonnade.drivers.network.namespaces.subnet_pool import SubnetPool, read_address
from colonnade.drivers.network.protocol import (
    Announced,
    Network,
    Port,
    PortWish,
    Reach,
    Subnet,
)

HOST = "host"  # addresses of the machine itself
BRIDGE = "bridge"  # a port of an existing bridge
MACVLAN = "macvlan"
ROUTED = "routed"  # the machine leads single addresses


class Uplink(msgspec.Struct, frozen=True, kw_only=True):
    """Where a network of the machine itself is, and how amphorae come to be on it."""

    mode: str  # of `runtime.config.PhysicalNetwork`
    link: str  # the name of its interface or bridge
    vlan: int = 0

    @property
    def wire(self) -> str:
        """The name of the interface on which its frames are."""
        return f"{self.link}.{self.vlan}" if self.vlan else self.link


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A network as it is kept: everything else about it follows from these."""

    name: str
    cidrs: tuple[str, ...]
    visible: bool = True  # may users see it
    routed: bool = True  # does the router join it, at the first address of each range
    via: str = ""  # the network to whose ports the router leads it; then nobody is on it
    announced: Announced | None = None  # these routers lead it, told by amphorae, and ours does not
    # Where the machine's own networks are; they come from its configuration and are not kept.
    uplink: Uplink | None = None
    reach: Reach = Reach.LINK
    gateways: tuple[str, ...] = ()  # where no router of ours is one
    ranges: tuple[tuple[str, str], ...] = ()  # the addresses that are given away; none: all

    @property
    def has_bridge(self) -> bool:
        """Whether it is one of the lab's, on which somebody may be."""
        return not self.via and self.uplink is None

    @property
    def is_reached(self) -> bool:
        """Whether the router knows the way to its addresses."""
        return self.routed or bool(self.via)

    def ranges_of(self, cidr: str) -> list[tuple[str, str]]:
        net = ip_network(cidr)
        return [(a, b) for a, b in self.ranges if ip_address(a) in net]

    def gateway_of(self, cidr: str) -> str | None:
        net = ip_network(cidr)
        if self.routed:
            return str(net[1])
        return next((g for g in self.gateways if ip_address(g).version == net.version), None)


PUBLIC = NetworkRecord(name="public", cidrs=("203.0.113.0/24", "2001:db8:1::/64"))
PRIVATE = NetworkRecord(name="private", cidrs=("10.0.0.0/24",))
LB_NETWORK = NetworkRecord(name="lb", cidrs=("198.18.0.0/16",), visible=False, routed=False)
FIRST_NETWORKS = (PUBLIC, PRIVATE, LB_NETWORK)
# Of the machine itself: between it and amphorae to which it leads single addresses or ports.
TRANSIT = NetworkRecord(
    name="transit",
    cidrs=("198.19.0.0/17", "fdc0:10ad:1::/112"),
    visible=False,
    routed=False,
    uplink=Uplink(mode="transit", link=""),
    gateways=("198.19.0.1", "fdc0:10ad:1::1"),
)


class AddressStorage(Protocol):
    """What outlives the book. Each call has happened, durably, when it returns."""

    def put_network(self, record: NetworkRecord) -> None: ...
    def put_port(self, port: Port) -> None: ...
    def drop_port(self, port_id: PortId) -> None: ...


class NoShelf:
    """Keeps nothing: the book lives in memory only."""

    def put_network(self, record: NetworkRecord) -> None: ...
    def put_port(self, port: Port) -> None: ...
    def drop_port(self, port_id: PortId) -> None: ...
    def put_forwards(self, record: object) -> None: ...
    def drop_forwards(self, port_id: PortId) -> None: ...


def network_id(name: str) -> NetworkId:
    return NetworkId(derived_id("network", name))


def subnet_id(name: str, cidr: str) -> SubnetId:
    return SubnetId(derived_id("subnet", name, cidr))


def mac_of(port_id: PortId) -> str:
    """Always the same for a port; locally administered, unicast."""
    digest = sha256(port_id.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def twin_id(port_id: PortId) -> PortId:
    """Of the address in the transit of a VIP whose own is the machine's."""
    return PortId(derived_id(port_id, "transit"))


class AddressBook:
    """All look-ups and allocations. Methods answer at once and never wait.

    `records` and `ports` are for reading; only the methods change them."""

    def __init__(self, storage: AddressStorage | None = None) -> None:
        self._storage = storage or NoShelf()
        self.records: dict[NetworkId, NetworkRecord] = {}
        self.ports: dict[PortId, Port] = {}
        self._networks: dict[NetworkId, Network] = {}
        self._pools: dict[SubnetId, SubnetPool] = {}

    def load(self, records: Sequence[NetworkRecord], ports: Sequence[Port]) -> None:
        """What a storage kept, in whatever order; put back without being written again."""
        for record in sorted(records, key=lambda one: bool(one.via)):  # by way of one of the others
            self._index(record)
        for port in ports:
            self._keep(port)
        self._pair_all()

    def add_network(self, record: NetworkRecord) -> Network:
        """The network; if the name exists with the same subnets, that one unchanged.

        Raises Conflict when the name or a part of the range is used by another."""
        known = self.records.get(network_id(record.name))
        if known == record:
            return self._networks[network_id(record.name)]
        if known is not None:
            raise Conflict(f"network {record.name} exists with other subnets")
        for cidr in record.cidrs:
            self._check_range(cidr, record)
            self._via(record, cidr)
        self._storage.put_network(record)
        return self._index(record)

    def networks(self) -> list[Network]:
        """Those that users may see."""
        return [n for n in self._networks.values() if self.visible(n.id)]

    def visible(self, of: NetworkId) -> bool:
        record = self.records.get(of)
        return record is not None and record.visible

    def network(self, of: NetworkId) -> Network:
        found = self._networks.get(of)
        if found is None:
            raise NotFound(f"there is no network {of}")
        return found

    def usage(self) -> dict[SubnetId, tuple[int, int]]:
        """Of each subnet: addresses that ports have, and those that are left."""
        return {of: pool.usage for of, pool in self._pools.items()}

    def subnets(self) -> list[Subnet]:
        return [p.subnet for p in self._pools.values() if self.visible(p.subnet.network_id)]

    def subnet(self, of: SubnetId) -> Subnet:
        return self._pool(of).subnet

    def port(self, port_id: PortId) -> Port:
        found = self.ports.get(port_id)
        if found is None:
            raise NotFound(f"there is no port {port_id}")
        return found

    def create_port(self, wish: PortWish) -> Port:
        known = self.ports.get(wish.id)
        if known is not None:
            return known
        pool = self._fitting(wish)
        port = Port(
            id=wish.id,
            network_id=pool.subnet.network_id,
            subnet_id=pool.subnet.id,
            address=pool.take(wish.address),
            mac=mac_of(wish.id),
            owner=wish.owner,
        )
        try:
            self._storage.put_port(port)
        except OSError:
            pool.give_back(port.address)
            raise
        self.ports[port.id] = port
        try:
            self._pair(port)
        except (ColonnadeError, OSError):
            self.delete_port(port.id)
            raise
        return port

    def delete_port(self, port_id: PortId, *, shuns: bool = False) -> None:
        """`shuns`: somebody else has the address; nobody gets it but who asks for it by name."""
        port = self.ports.get(port_id)
        if port is None:
            return
        self.delete_port(twin_id(port_id))
        self._storage.drop_port(port_id)
        del self.ports[port_id]
        self._pools[port.subnet_id].give_back(port.address)
        if shuns:
            self._pools[port.subnet_id].shun(port.address)

    def note_plug(self, port_id: PortId, into: AmphoraId | None) -> Port:
        """Remember where the port is plugged."""
        port = self.port(port_id)
        if port.plugged_into != into:
            port = msgspec.structs.replace(port, plugged_into=into)
            self._storage.put_port(port)
            self.ports[port_id] = port
        return port

    def _keep(self, port: Port) -> None:
        pool = self._pools.get(port.subnet_id)
        if pool is None or not pool.holds(port.address):
            raise Broken(
                f"the address {port.address} of {port.owner} is on no network of the configuration "
                "any more: put its table [[network]] back as it was, delete what has the address, "
                "and change the table then"
            )
        pool.keep(port.address)
        self.ports[port.id] = port

    def _pair(self, port: Port) -> None:
        """A VIP with an address of the machine has another, by which the machine calls it."""
        if self._pool(port.subnet_id).subnet.reach is not Reach.PORTS:
            return
        version = ip_address(port.address).version
        cidr = next(one for one in TRANSIT.cidrs if ip_network(one).version == version)
        owner, place = f"transit:{port.id}", subnet_id(TRANSIT.name, cidr)
        self.create_port(PortWish(id=twin_id(port.id), owner=owner, subnet_id=place))

    def _pair_all(self) -> None:
        """What was killed half-way."""
        there = list(self.ports.values())
        twins = {twin_id(port.id) for port in there}
        for port in there:
            if port.network_id == network_id(TRANSIT.name) and port.id not in twins:
                self.delete_port(port.id)
            else:
                self._pair(port)

    def _index(self, record: NetworkRecord) -> Network:
        of = network_id(record.name)
        subnets = [_subnet(record, cidr, self._via(record, cidr)) for cidr in record.cidrs]
        self.records[of] = record
        self._pools.update(
            {subnet.id: SubnetPool(subnet, record.ranges_of(subnet.cidr)) for subnet in subnets}
        )
        ids = tuple(subnet.id for subnet in subnets)
        self._networks[of] = Network(id=of, name=record.name, subnet_ids=ids)
        return self._networks[of]

    def _check_range(self, cidr: str, record: NetworkRecord) -> None:
        try:
            wanted = ip_network(cidr)
        except ValueError as error:
            raise Invalid(f"{cidr} is not a range: {error}", field="cidr") from error
        if wanted.num_addresses < 4 and record.reach is Reach.LINK:
            raise Invalid(f"{cidr} is too small: it needs four addresses", field="cidr")
        for pool in self._pools.values():
            other = self.records[pool.subnet.network_id]
            # Amphorae are on the LB network and on any other, so its range is nobody else's.
            meets = (record.is_reached and other.is_reached) or not (
                record.visible and other.visible
            )
            if meets and pool.net.version == wanted.version and pool.net.overlaps(wanted):
                raise Conflict(f"{cidr} overlaps {pool.net} of network {other.name}")

    def _via(self, record: NetworkRecord, cidr: str) -> SubnetId | None:
        """The subnet to which the router leads this range of it, None where it does not."""
        if not record.via:
            return None
        other = self.records.get(network_id(record.via))
        if other is None or not (other.visible and other.routed):
            raise Invalid(f"the router joins no network {record.via}", field="via")
        version = ip_network(cidr).version
        for theirs in other.cidrs:
            if ip_network(theirs).version == version:
                _check_announced(record, theirs)
                return subnet_id(other.name, theirs)
        raise Invalid(f"network {record.via} has no subnet of IPv{version}", field="via")

    def _pool(self, of: SubnetId) -> SubnetPool:
        found = self._pools.get(of)
        if found is None:
            raise NotFound(f"there is no subnet {of}")
        return found

    def _fitting(self, wish: PortWish) -> SubnetPool:
        if wish.subnet_id is not None:
            pool = self._pool(wish.subnet_id)
            if wish.network_id not in (None, pool.subnet.network_id):
                raise Invalid("the subnet is not on that network", field="vip_subnet_id")
            return pool
        if wish.network_id is None:
            raise Invalid("a port needs a subnet or a network", field="vip_network_id")
        pools = [self._pools[s] for s in self.network(wish.network_id).subnet_ids]
        if wish.address is None:
            return min(pools, key=lambda p: p.net.version)
        for pool in pools:
            if pool.holds(wish.address):
                return pool
        raise Invalid(f"{wish.address} is in no subnet of the network", field="vip_address")


def _subnet(record: NetworkRecord, cidr: str, via: SubnetId | None) -> Subnet:
    net = ip_network(cidr)
    kind = "subnet" if net.version == 4 else "subnet-v6"
    return Subnet(
        id=subnet_id(record.name, cidr),
        name=f"{record.name}-{kind}",
        network_id=network_id(record.name),
        cidr=cidr,
        gateway_ip=record.gateway_of(cidr),
        via_subnet_id=via,
        announced=record.announced,
        reach=record.reach,
    )


def _check_announced(record: NetworkRecord, there: str) -> None:
    """Raises Invalid where no router would hear of this IP version on the network `there`."""
    said, range_ = record.announced, ip_network(there)
    if said is None:
        return
    routers = [read_address(router.address) for router in said.routers]
    if not any(router.version == range_.version and router in range_ for router in routers):
        raise Invalid(
            f"no router in {there} hears of network {record.name}: name one of IPv{range_.version}",
            field="announced",
        )
