# SPDX-License-Identifier: Apache-2.0
"""The networks of the machine itself, from what the configuration says and what the machine has.

Invariant: what is wrong is refused with the table's name, the cause and the cure, before anything
is done. An address that is given to load balancers is in one range alone, and is the machine's own
in mode `host` and never else. Pure: what the machine has is passed in.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from colonnade.domain.errors import Invalid
from colonnade.drivers.network.namespaces.address_book import (
    BRIDGE,
    FIRST_NETWORKS,
    HOST,
    LB_NETWORK,
    MACVLAN,
    ROUTED,
    TRANSIT,
    NetworkRecord,
    Uplink,
)
from colonnade.drivers.network.namespaces.hosts import NAME
from colonnade.drivers.network.namespaces.links import NAME_CHARACTERS_MAX
from colonnade.drivers.network.protocol import Reach
from colonnade.runtime.config import PhysicalNetwork

REACH: Final[Mapping[str, Reach]] = {
    HOST: Reach.PORTS,
    BRIDGE: Reach.LINK,
    MACVLAN: Reach.LINK,
    ROUTED: Reach.ROUTED,
}
NETWORKS_MAX: Final = 64
VLAN_MAX: Final = 4094
OWN: Final = frozenset({*(record.name for record in FIRST_NETWORKS), TRANSIT.name})

Address: TypeAlias = IPv4Address | IPv6Address
Range: TypeAlias = IPv4Network | IPv6Network
T = TypeVar("T")


class Between(msgspec.Struct, frozen=True):
    """Addresses from one to another, both of them included."""

    first: Address
    last: Address

    @property
    def count(self) -> int:
        return int(self.last) - int(self.first) + 1

    def holds(self, address: Address) -> bool:
        same = address.version == self.first.version
        return same and int(self.first) <= int(address) <= int(self.last)

    def overlaps(self, other: "Between") -> bool:
        return self.holds(other.first) or other.holds(self.first)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An interface of the machine. `addresses`: those that others may use, "192.0.2.5/24"."""

    kind: str = ""  # "bridge", "vlan"; "": a device
    mac: str = ""
    addresses: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine has. `default`: the interface by which it reaches everybody."""

    links: Mapping[str, Link]
    default: str = ""


def records_of(tables: Sequence[PhysicalNetwork], facts: Facts) -> list[NetworkRecord]:
    """The networks, in the order of the configuration. Raises Invalid."""
    if len(tables) > NETWORKS_MAX:
        raise Invalid(f"there are {len(tables)} tables [[network]]: {NETWORKS_MAX} is the most")
    found: list[NetworkRecord] = []
    for table in tables:
        record = _record(table, facts)
        _check_beside(record, found)
        found.append(record)
    return found


def mode_of(table: PhysicalNetwork) -> str:
    return table.mode or (BRIDGE if table.bridge else MACVLAN)


def _record(table: PhysicalNetwork, facts: Facts) -> NetworkRecord:
    mode = mode_of(table)
    _check_words(table, mode)
    link = _link(table, mode, facts)
    cidrs = _each(table, "cidr", _read_range) or _of_machine(table, mode, facts.links[link])
    if not cidrs:
        raise _wrong(table, "cidr", "is missing", 'say it, as in cidr = "192.0.2.0/24"')
    gateways = _each(table, "gateway", _read_address)
    for gateway in gateways:
        if not (gateway.version == 6 and gateway.is_link_local):  # as routers mostly have it
            _check_within(table, "gateway", gateway, cidrs)
    ranges = _ranges(table, mode, cidrs, facts)
    for gateway in gateways:
        if any(one.holds(gateway) for one in ranges):
            raise _wrong(
                table, "range", f"has the gateway {gateway} in it", "leave that address out"
            )
    return NetworkRecord(
        name=table.name,
        cidrs=tuple(str(cidr) for cidr in cidrs),
        routed=False,
        uplink=Uplink(mode=mode, link=link, vlan=table.vlan),
        reach=REACH[mode],
        gateways=TRANSIT.gateways if mode in (HOST, ROUTED) else tuple(map(str, gateways)),
        ranges=tuple((str(one.first), str(one.last)) for one in ranges),
    )


def _check_words(table: PhysicalNetwork, mode: str) -> None:
    if NAME.fullmatch(table.name) is None:
        raise _wrong(table, "name", "is no name", "take up to 32 small letters, digits and dashes")
    if table.name in OWN:
        raise _wrong(table, "name", "is that of a network of the lab", "take another")
    if mode == BRIDGE and (table.interface or not table.bridge):
        raise _wrong(table, "mode", "is bridge", 'say bridge = "br0", and no interface')
    if mode != BRIDGE and table.bridge:
        raise _wrong(table, "mode", f"is {mode}", "say interface in the place of bridge")
    if mode in (MACVLAN, ROUTED) and not table.interface:
        raise _wrong(table, "interface", "is missing", 'say it, as in interface = "eth1"')
    if mode in (BRIDGE, MACVLAN, ROUTED) and not (table.cidr and table.range):
        raise _wrong(
            table,
            "range",
            "or cidr is missing",
            'say which addresses load balancers may have, as in cidr = "192.0.2.0/24", '
            'range = "192.0.2.100-192.0.2.120"',
        )
    if mode in (HOST, ROUTED) and table.gateway:
        raise _wrong(table, "gateway", f"means nothing in mode {mode}", "leave it out")
    if table.vlan and len(f"{table.interface}.{table.vlan}") > NAME_CHARACTERS_MAX:
        raise _wrong(table, "vlan", "makes too long a name", "make that interface, and name it")
    if table.vlan and (mode != MACVLAN or not 1 <= table.vlan <= VLAN_MAX):
        raise _wrong(
            table, "vlan", f"is {table.vlan}", f"it is 1 to {VLAN_MAX}, in mode macvlan alone"
        )


def _link(table: PhysicalNetwork, mode: str, facts: Facts) -> str:
    name = table.bridge or table.interface
    if not name:  # of mode host
        if not facts.default:
            raise _wrong(table, "interface", "is missing, and there is no default route", "name it")
        return facts.default
    if name not in facts.links:
        there = ", ".join(sorted(facts.links)) or "none"
        word = "bridge" if mode == BRIDGE else "interface"
        raise _wrong(table, word, f"{name} is not on this machine", f"these are: {there}")
    if mode == BRIDGE and facts.links[name].kind != BRIDGE:
        raise _wrong(table, "bridge", f"{name} is no bridge", f'say interface = "{name}"')
    return name


def _of_machine(table: PhysicalNetwork, mode: str, link: Link) -> list[Range]:
    """Where the addresses of the interface are."""
    if mode != HOST:
        return []
    found = dict.fromkeys(ip_interface(one).network for one in link.addresses)
    if not found:
        raise _wrong(table, "interface", "has no address", "give it one, or name another")
    return list(found)


def _ranges(
    table: PhysicalNetwork, mode: str, cidrs: Sequence[Range], facts: Facts
) -> list[Between]:
    found = _each(table, "range", _read_between)
    own = {ip_interface(a).ip for link in facts.links.values() for a in link.addresses}
    if mode == HOST and not found:
        name = table.interface or facts.default
        there = [ip_interface(a).ip for a in facts.links[name].addresses]
        found = [Between(one, one) for one in there if any(one in cidr for cidr in cidrs)]
    for place, between in enumerate(found):
        for end in (between.first, between.last):
            _check_within(table, "range", end, cidrs)
        _check_whose(table, mode, between, [one for one in own if between.holds(one)])
        if any(between.overlaps(other) for other in found[:place]):
            raise _wrong(table, "range", f"says {between.first} twice", "say it once")
    return found


def _check_whose(
    table: PhysicalNetwork, mode: str, between: Between, own: Sequence[Address]
) -> None:
    if mode != HOST and own:
        raise _wrong(
            table, "range", f"has {own[0]} in it, which is this machine's own",
            "leave that address out, or take mode host for it",
        )  # fmt: skip
    if mode == HOST and len(own) < between.count:
        raise _wrong(
            table, "range", f"{between.first}-{between.last} is not all this machine's own",
            "in mode host say addresses that the machine has",
        )  # fmt: skip


def _check_beside(record: NetworkRecord, before: Sequence[NetworkRecord]) -> None:
    table = PhysicalNetwork(name=record.name)
    for other in (LB_NETWORK, TRANSIT):
        for cidr in record.cidrs:
            for theirs in other.cidrs:
                if ip_network(cidr).overlaps(ip_network(theirs)):
                    raise _wrong(
                        table, "cidr", f"{cidr} overlaps {theirs}",
                        f"that is Colonnade's own, for its network {other.name}: take another",
                    )  # fmt: skip
    for other in before:
        if other.name == record.name:
            raise _wrong(table, "name", "is there twice", "call one of them otherwise")
        for one in record.ranges:
            for another in other.ranges:
                if _between(one).overlaps(_between(another)):
                    raise _wrong(
                        table, "range", f"{one[0]}-{one[1]} overlaps that of network {other.name}",
                        "give each address to one of them",
                    )  # fmt: skip


def _between(texts: tuple[str, str]) -> Between:
    return Between(ip_address(texts[0]), ip_address(texts[1]))


def _each(table: PhysicalNetwork, word: str, read: Callable[[str], T]) -> list[T]:
    said: Any = getattr(table, word)
    found = []
    for text in (said,) if isinstance(said, str) else said:
        try:
            found.append(read(text))
        except (ValueError, TypeError) as error:
            raise _wrong(table, word, f"{text!r} cannot be read", str(error)) from error
    return found


def _read_range(text: str) -> Range:
    net = ip_network(text)
    if not _fits(net.network_address):
        raise ValueError("addresses of a network are neither loopback, multicast nor link-local")
    return net


def _read_address(text: str) -> Address:
    return ip_address(text)


def _read_between(text: str) -> Between:
    first, dash, last = text.partition("-")
    if dash:
        found = Between(ip_address(first.strip()), ip_address(last.strip()))
        if found.first.version != found.last.version or found.count < 1:
            raise ValueError("the first address comes before the last, and is of its IP version")
        return found
    net = ip_network(text)
    if net.num_addresses <= 2:
        return Between(net[0], net[-1])
    return Between(net[1], net[-2] if net.version == 4 else net[-1])


def _fits(address: Address) -> bool:
    return not (
        address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or address.is_unspecified
    )


def _check_within(
    table: PhysicalNetwork, word: str, address: Address, cidrs: Sequence[Range]
) -> None:
    if not any(address in cidr for cidr in cidrs):
        said = ", ".join(map(str, cidrs))
        raise _wrong(table, word, f"{address} is not in {said}", "correct it, or cidr")


def _wrong(table: PhysicalNetwork, word: str, cause: str, cure: str) -> Invalid:
    return Invalid(f"[[network]] {table.name or '(without a name)'}: {word} {cause}: {cure}")
