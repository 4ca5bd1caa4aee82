# SPDX-License-Identifier: Apache-2.0
"""The address book: which networks, subnets and ports there are, and who has which address.

Invariant: no address of a subnet is held by two ports, and network, broadcast and gateway addresses
by none; no two ranges that the router joins overlap. Those that it does not join may, for nothing
leads from one to the other. A change costs the same however many ports there are. The book lives in
memory; the `AddressStorage` given to it keeps what must survive. It knows no link and no process.
"""

from collections.abc import Sequence
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol

import msgspec

from colonnade.domain.errors import Conflict, Invalid, NotFound, OutOfCapacity
from colonnade.domain.ids import AmphoraId, NetworkId, PortId, SubnetId, derived_id
from colonnade.drivers.network.protocol import Announced, Network, Port, PortWish, Subnet

SEARCH_STEPS_MAX = 1 << 17  # a whole /16 and then some: more is a subnet that is full for us


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A network as it is kept: everything else about it follows from these."""

    name: str
    cidrs: tuple[str, ...]
    visible: bool = True  # may users see it
    routed: bool = True  # does the router join it, at the first address of each range
    via: str = ""  # the network to whose ports the router leads it; then nobody is on it
    announced: Announced | None = None  # these routers lead it, told by amphorae, and ours does not

    @property
    def is_reached(self) -> bool:
        """Whether the router knows the way to its addresses."""
        return self.routed or bool(self.via)


PUBLIC = NetworkRecord(name="public", cidrs=("203.0.113.0/24", "2001:db8:1::/64"))
PRIVATE = NetworkRecord(name="private", cidrs=("10.0.0.0/24",))
LB_NETWORK = NetworkRecord(name="lb", cidrs=("198.18.0.0/16",), visible=False, routed=False)
FIRST_NETWORKS = (PUBLIC, PRIVATE, LB_NETWORK)


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


def network_id(name: str) -> NetworkId:
    return NetworkId(derived_id("network", name))


def subnet_id(name: str, cidr: str) -> SubnetId:
    return SubnetId(derived_id("subnet", name, cidr))


def mac_of(port_id: PortId) -> str:
    """Always the same for a port; locally administered, unicast."""
    digest = sha256(port_id.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


class _Pool:
    """The addresses of one subnet, as offsets from its first."""

    def __init__(self, subnet: Subnet) -> None:
        self.subnet = subnet
        self.net: IPv4Network | IPv6Network = ip_network(subnet.cidr)
        self._reserved = {0}
        if self.net.version == 4:
            self._reserved.add(self.net.num_addresses - 1)
        if subnet.gateway_ip is not None:
            self._reserved.add(self._offset(ip_address(subnet.gateway_ip)))
        self._taken: set[int] = set()
        self._lowest = 0  # nothing below is free

    def _offset(self, address: IPv4Address | IPv6Address) -> int:
        return int(address) - int(self.net.network_address)

    def take(self, text: str | None) -> str:
        offset = self._free() if text is None else self._wanted(text)
        self._taken.add(offset)
        return str(self.net[offset])

    def give_back(self, text: str) -> None:
        offset = self._offset(ip_address(text))
        self._taken.discard(offset)
        self._lowest = min(self._lowest, offset)

    @property
    def usage(self) -> tuple[int, int]:
        """How many addresses are taken, and how many may still be."""
        left = self.net.num_addresses - len(self._reserved) - len(self._taken)
        return len(self._taken), left

    def holds(self, text: str) -> bool:
        address = _read_address(text)
        return address.version == self.net.version and address in self.net

    def _wanted(self, text: str) -> int:
        if not self.holds(text):
            raise Invalid(f"{text} is not in subnet {self.subnet.cidr}", field="vip_address")
        offset = self._offset(ip_address(text))
        if offset in self._reserved:
            raise Invalid(f"{text} is reserved in subnet {self.subnet.cidr}", field="vip_address")
        if offset in self._taken:
            raise Conflict(f"address {text} is already in use")
        return offset

    def _free(self) -> int:
        end = min(self.net.num_addresses, self._lowest + SEARCH_STEPS_MAX)
        for offset in range(self._lowest, end):
            if offset not in self._taken and offset not in self._reserved:
                self._lowest = offset + 1
                return offset
        raise OutOfCapacity(f"subnet {self.subnet.cidr} has no free address")


class AddressBook:
    """All look-ups and allocations. Methods answer at once and never wait.

    `records` and `ports` are for reading; only the methods change them."""

    def __init__(self, storage: AddressStorage | None = None) -> None:
        self._storage = storage or NoShelf()
        self.records: dict[NetworkId, NetworkRecord] = {}
        self.ports: dict[PortId, Port] = {}
        self._networks: dict[NetworkId, Network] = {}
        self._pools: dict[SubnetId, _Pool] = {}

    def load(self, records: Sequence[NetworkRecord], ports: Sequence[Port]) -> None:
        """What a storage kept, put back without being written again."""
        for record in records:
            self._index(record)
        for port in ports:
            self._pools[port.subnet_id].take(port.address)
            self.ports[port.id] = port

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
        return port

    def delete_port(self, port_id: PortId) -> None:
        port = self.ports.get(port_id)
        if port is None:
            return
        self._storage.drop_port(port_id)
        del self.ports[port_id]
        self._pools[port.subnet_id].give_back(port.address)

    def note_plug(self, port_id: PortId, into: AmphoraId | None) -> Port:
        """Remember where the port is plugged."""
        port = self.port(port_id)
        if port.plugged_into != into:
            port = msgspec.structs.replace(port, plugged_into=into)
            self._storage.put_port(port)
            self.ports[port_id] = port
        return port

    def _index(self, record: NetworkRecord) -> Network:
        of = network_id(record.name)
        subnets = [_subnet(record, cidr, self._via(record, cidr)) for cidr in record.cidrs]
        self.records[of] = record
        self._pools.update({subnet.id: _Pool(subnet) for subnet in subnets})
        ids = tuple(subnet.id for subnet in subnets)
        self._networks[of] = Network(id=of, name=record.name, subnet_ids=ids)
        return self._networks[of]

    def _check_range(self, cidr: str, record: NetworkRecord) -> None:
        try:
            wanted = ip_network(cidr)
        except ValueError as error:
            raise Invalid(f"{cidr} is not a range: {error}", field="cidr") from error
        if wanted.num_addresses < 4:
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

    def _pool(self, of: SubnetId) -> _Pool:
        found = self._pools.get(of)
        if found is None:
            raise NotFound(f"there is no subnet {of}")
        return found

    def _fitting(self, wish: PortWish) -> _Pool:
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
        gateway_ip=str(net[1]) if record.routed else None,
        via_subnet_id=via,
        announced=record.announced,
    )


def _check_announced(record: NetworkRecord, there: str) -> None:
    """Raises Invalid where no router would hear of this IP version on the network `there`."""
    said, range_ = record.announced, ip_network(there)
    if said is None:
        return
    routers = [_read_address(router.address) for router in said.routers]
    if not any(router.version == range_.version and router in range_ for router in routers):
        raise Invalid(
            f"no router in {there} hears of network {record.name}: name one of IPv{range_.version}",
            field="announced",
        )


def _read_address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not an IP address", field="vip_address") from error
