# SPDX-License-Identifier: Apache-2.0
"""Which routes the router has: what may be one, and what is kept of them.

Invariant: no destination lies in a subnet whose clients the router serves, none overlaps that of
another owner, and every next hop is the address of a port. It knows no link and no kernel.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Protocol, TypeAlias

import msgspec

from colonnade.domain.errors import Conflict, Invalid, NotFound, OutOfCapacity
from colonnade.domain.ids import NetworkId
from colonnade.drivers.network.namespaces.address_book import AddressBook
from colonnade.drivers.network.protocol import NextHop, Port, Route

ROUTES_MAX: Final = 4096
NEXT_HOPS_MAX: Final = 64
WEIGHT_MAX: Final = 100
Range: TypeAlias = IPv4Network | IPv6Network


class RouteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A route as it is kept. `number`: its own for as long as it is there, from 1 on."""

    number: int
    route: Route


class RouteStorage(Protocol):
    """What outlives the book. Each call has happened, durably, when it returns."""

    def put_route(self, record: RouteRecord) -> None: ...
    def drop_route(self, record: RouteRecord) -> None: ...


class RouteBook:
    """`records` is for reading, by destination."""

    def __init__(self, addresses: AddressBook, storage: RouteStorage | None = None) -> None:
        self._addresses = addresses
        self._storage = storage
        self.records: dict[str, RouteRecord] = {}

    def load(self, records: Sequence[RouteRecord]) -> None:
        """What a storage kept, less what leads to ports that it lost."""
        for record in records:
            self.records[record.route.destination] = record
            there = self._there(record.route.network_id)
            left = tuple(hop for hop in record.route.next_hops if hop.address in there)
            route = msgspec.structs.replace(record.route, next_hops=left)
            self.replace(msgspec.structs.replace(record, route=route))

    def put(self, wished: Route) -> RouteRecord:
        """The route as it is now. Raises what `Router.set_route` does."""
        destination = self._read_destination(wished)
        next_hops = self._read_next_hops(wished, destination)
        route = msgspec.structs.replace(wished, destination=str(destination), next_hops=next_hops)
        known = self.records.get(route.destination)
        if known is None and len(self.records) >= ROUTES_MAX:
            raise OutOfCapacity(f"the router has {ROUTES_MAX} routes, and may have no more")
        return self._keep(
            RouteRecord(number=known.number if known else self._number(), route=route)
        )

    def without(self, port: Port) -> list[RouteRecord]:
        """The routes that lead to this port, each without it. None of them is changed yet."""
        found = []
        for record in self.records.values():
            hops = record.route.next_hops
            left = tuple(hop for hop in hops if hop.address != port.address)
            if left != hops and record.route.network_id == port.network_id:
                route = msgspec.structs.replace(record.route, next_hops=left)
                found.append(msgspec.structs.replace(record, route=route))
        return found

    def replace(self, record: RouteRecord) -> None:
        """Keep a record that has fewer next hops; of a route that leads nowhere, nothing."""
        if record.route.next_hops:
            self._keep(record)
        else:
            self.drop(record.route.destination)

    def get(self, destination: str) -> Route:
        """Raises NotFound."""
        record = self.records.get(str(read_destination(destination)))
        if record is None:
            raise NotFound(f"there is no route to {destination}")
        return record.route

    def drop(self, destination: str) -> None:
        record = self.records.get(destination)
        if record is not None:
            if self._storage is not None:
                self._storage.drop_route(record)
            del self.records[destination]

    def check_range(self, cidr: str) -> None:
        """Raises Conflict when a network of this range would have a destination among it."""
        wanted = ip_network(cidr)
        for destination in self.records:
            if _overlap(wanted, ip_network(destination)):
                raise Conflict(f"{cidr} overlaps {destination}, to which the router has a route")

    def _there(self, of: NetworkId) -> set[str]:
        """The addresses that ports have on that network."""
        return {p.address for p in self._addresses.ports.values() if p.network_id == of}

    def _keep(self, record: RouteRecord) -> RouteRecord:
        if self.records.get(record.route.destination) != record:
            if self._storage is not None:
                self._storage.put_route(record)
            self.records[record.route.destination] = record
        return record

    def _number(self) -> int:
        taken = {record.number for record in self.records.values()}
        return next(number for number in range(1, ROUTES_MAX + 1) if number not in taken)

    def _read_destination(self, wished: Route) -> Range:
        destination = read_destination(wished.destination)
        for subnet_id in self._addresses.usage():
            subnet = self._addresses.subnet(subnet_id)
            record = self._addresses.records[subnet.network_id]
            if (record.routed or not record.visible) and _overlap(
                destination, ip_network(subnet.cidr)
            ):
                what = "has clients, who would not ask the router for it" if record.visible else ""
                raise Conflict(
                    f"{destination} lies in {subnet.cidr}, which "
                    f"{what or 'is kept for the machinery'}: choose a VIP outside of every subnet",
                )
        for other in self.records.values():
            if other.route.owner != wished.owner and _overlap(
                destination, ip_network(other.route.destination)
            ):
                raise Conflict(f"{destination} is routed for somebody else")
        return destination

    def _read_next_hops(self, wished: Route, destination: Range) -> tuple[NextHop, ...]:
        network = self._addresses.network(wished.network_id)
        if not self._addresses.records[network.id].routed:
            raise Invalid(f"network {network.name} has no router", field="network_id")
        if not 0 < len(wished.next_hops) <= NEXT_HOPS_MAX:
            raise Invalid(f"a route has 1 to {NEXT_HOPS_MAX} next hops", field="next_hops")
        there = self._there(network.id)
        hops: dict[str, NextHop] = {}
        for hop in wished.next_hops:
            address = _address(hop.address)
            if address not in there:
                raise Invalid(
                    f"{hop.address} is no port's address on network {network.name}",
                    field="next_hops",
                )
            if ip_address(address).version != destination.version or address in hops:
                raise Invalid(
                    f"{hop.address}: next hops are different addresses of the IP version of "
                    f"{destination}",
                    field="next_hops",
                )
            if not 1 <= hop.weight <= WEIGHT_MAX:
                raise Invalid(f"a weight is from 1 to {WEIGHT_MAX}", field="next_hops")
            hops[address] = NextHop(address, hop.weight)
        return tuple(hops[address] for address in sorted(hops))


def read_destination(text: str) -> Range:
    """Raises Invalid unless it is one that hosts are asked at."""
    try:
        found = ip_network(text)
    except ValueError as error:
        raise Invalid(f"{text} is not a range: {error}", field="destination") from error
    first = found.network_address
    if found.prefixlen == 0 or any(
        (first.is_multicast, first.is_loopback, first.is_link_local, first.is_unspecified)
    ):
        raise Invalid(f"{text} cannot be routed to an amphora", field="destination")
    return found


def _overlap(one: Range, other: Range) -> bool:
    return one.version == other.version and one.overlaps(other)


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise Invalid(f"{text} is not an IP address", field="next_hops") from error
