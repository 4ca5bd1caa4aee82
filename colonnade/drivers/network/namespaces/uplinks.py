# SPDX-License-Identifier: Apache-2.0
"""Cables from amphorae to the machine's own networks.

Invariant: a cable ends with its amphora; where it leads, and what may pass, follows from the port
and its network alone. What leads to nobody is dropped by the machine's packet filter. It knows no
load balancer.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, summarize_address_range
from typing import Final

from colonnade.domain.errors import Unavailable
from colonnade.domain.ids import PortId, derived_id
from colonnade.drivers.network.namespaces import address_probe
from colonnade.drivers.network.namespaces.address_book import (
    BRIDGE,
    MACVLAN,
    TRANSIT,
    AddressBook,
    NetworkRecord,
    Uplink,
    mac_of,
    twin_id,
)
from colonnade.drivers.network.namespaces.cables import delete_link, has_link, whole
from colonnade.drivers.network.namespaces.host_network import HostNetwork, cable_name, run_nft
from colonnade.drivers.network.namespaces.inside import held
from colonnade.drivers.network.namespaces.links import Leg, link_name
from colonnade.drivers.network.namespaces.machines import SEAT, Machine
from colonnade.drivers.network.namespaces.port_forwards import PortForwards
from colonnade.drivers.network.protocol import Port, Reach
from colonnade.runtime.network_options import OPEN_TO_ALL

# Of the machine's end of every cable that leads to one amphora alone.
NEIGHBOUR_MAC: Final = mac_of(PortId(derived_id("neighbour")))
NEIGHBOUR: Final = {ip_address(one).version: one for one in TRANSIT.gateways}
SETTLED: Final = {  # of that end: what comes out of an amphora changes nothing here
    "ipv4/conf/{}/rp_filter": "0",  # the packet filter looks, for both IP versions
    "ipv4/conf/{}/send_redirects": "0",
    "ipv4/conf/{}/accept_redirects": "0",
    "ipv6/conf/{}/accept_redirects": "0",
    "ipv6/conf/{}/accept_ra": "0",
}
OWN_ALONE: Final = {  # of a leg: it answers for its own address, and for none of other interfaces
    "ipv4/conf/{}/arp_ignore": "1",
    "ipv4/conf/{}/arp_announce": "2",
}
ANSWERING: Final = {  # of a wire on which the machine answers for VIPs: at once, and by NDP too
    "ipv4/neigh/{}/proxy_delay": "0",
    "ipv6/neigh/{}/proxy_delay": "0",
    "ipv6/conf/{}/proxy_ndp": "1",
}
# Within an amphora, whose VIP is an address that the machine has, too: the machine calls it by
# another.
RENAMED: Final = """table {family} {table}
delete table {family} {table}
table {family} {table} {{
  chain prerouting {{
    type nat hook prerouting priority -100
    {family} daddr {transit} dnat to {vip}
  }}
  chain postrouting {{
    type nat hook postrouting priority 100
    oifname "{link}" {family} saddr {vip} snat to {transit}
  }}
}}
"""


class Uplinks:
    """`network`: None where the machine's own was not given."""

    def __init__(
        self, network: HostNetwork | None, book: AddressBook, forwards: PortForwards
    ) -> None:
        self._network = network
        self._book = book
        self.forwards = forwards

    @property
    def host(self) -> HostNetwork:
        """Raises Unavailable."""
        if self._network is None:
            raise Unavailable("the network daemon was started without the machine's own networks")
        return self._network

    async def furnish(self) -> None:
        """What is there before any cable and any leg."""
        if self._network is None:
            return
        records = [r for r in self._book.records.values() if r.visible and r.uplink is not None]
        if {record.reach for record in records} - {Reach.LINK}:
            await self._network.open_forwarding()
        await self.forwards.furnish()
        for record in records:
            await self._network.links.run(self._ready, record)

    async def stand(self, record: NetworkRecord, ports: Sequence[Port]) -> None:
        """The machine's own leg on a network where amphorae have a macvlan: the kernel lets no
        packet go from those to the interface below."""
        links, name = self.host.links, self.host.leg_name(record.name)
        addresses = tuple(f"{port.address}/{whole(port.address)}" for port in ports)
        leg = Leg(name=name, mac=ports[0].mac, addresses=addresses)
        words = {path.format(name): on for path, on in (SETTLED | OWN_ALONE).items()}
        await links.run(links.add_leg, _uplink(record).wire, leg, list(_beyond(record, ports)))
        await links.run(links.set_options, links.home, words)

    async def holder_of(self, port: Port, record: NetworkRecord) -> str:
        """The MAC address of who has its address on the wire; "" when nobody has."""
        if record.reach is Reach.PORTS or not record.visible:
            return ""
        return await address_probe.holder_of(self.host.links, _uplink(record).wire, port.address)

    async def plug(
        self, port: Port, record: NetworkRecord, machine: Machine, *, again: bool
    ) -> None:
        """Move the port into the machine's traffic namespace. `again`: it should be there. Raises
        Unavailable."""
        links = self.host.links
        with held(machine.open_namespace(machine.traffic)) as traffic:
            if machine.kind == SEAT:
                await links.run(links.set_options, traffic, OPEN_TO_ALL)
                await links.run(links.configure, traffic)
            await links.run(self._move, port, record, traffic, again)
        if record.reach is Reach.ROUTED:
            await address_probe.tell(links, _uplink(record).wire, port.address)

    async def detach(self, port: Port, record: NetworkRecord, machine: Machine | None) -> None:
        """`machine`: the one that it is plugged into. Not plugged: nothing to do."""
        if self._network is None:
            return
        links = self._network.links
        await links.run(links.delete, cable_name(port.id))
        if record.reach is Reach.ROUTED:
            await links.run(links.answer_no_more, _uplink(record).wire, port.address)
        is_within = _uplink(record).mode == MACVLAN
        if is_within and machine is not None and machine.is_running:
            with held(machine.open_namespace(machine.traffic)) as traffic:
                await links.run(links.within, traffic, delete_link, _inside(port))

    def _ready(self, record: NetworkRecord) -> None:
        """In the thread of the links, as all that follows."""
        links, uplink = self.host.links, _uplink(record)
        if uplink.vlan:
            links.add_vlan(uplink.link, uplink.wire, uplink.vlan)
        if record.reach is Reach.ROUTED:
            words = {path.format(uplink.wire): on for path, on in ANSWERING.items()}
            links.set_options(links.home, words)

    def _move(self, port: Port, record: NetworkRecord, traffic: int, again: bool) -> None:
        links, name, uplink = self.host.links, cable_name(port.id), _uplink(record)
        leg = Leg(name=_inside(port), mac=port.mac, mtu=links.mtu(uplink.wire))
        is_within = uplink.mode == MACVLAN
        if again and (links.within(traffic, has_link, leg.name) if is_within else links.has(name)):
            return
        links.delete(name)  # first: two amphorae with one address are worse than none
        if is_within:
            links.within(traffic, delete_link, leg.name)
            links.add_macvlan(uplink.wire, leg, traffic)
        elif uplink.mode == BRIDGE:
            links.add_to_wire(name, uplink.wire, leg, traffic)
        else:
            self._lead(port, record, leg, traffic)

    def _lead(self, port: Port, record: NetworkRecord, leg: Leg, traffic: int) -> None:
        """A cable of its own, and a route to its address alone."""
        links, name = self.host.links, cable_name(port.id)
        neighbour, to = NEIGHBOUR[ip_address(port.address).version], port.address
        links.add_cable(name, NEIGHBOUR_MAC, leg, traffic)
        links.set_options(links.home, {path.format(name): on for path, on in SETTLED.items()})
        links.know_neighbour(traffic, leg.name, neighbour, NEIGHBOUR_MAC)
        if record.reach is Reach.PORTS:
            to = self._book.port(twin_id(port.id)).address
            text = RENAMED.format(
                family="ip6" if ":" in to else "ip",
                table=f"colonnade_{name}",
                transit=to,
                vip=port.address,
                link=leg.name,
            )
            links.within(traffic, run_nft, text)
        else:
            links.answer_for(_uplink(record).wire, to)
        links.lead(name, neighbour, to, leg.mac)


def _uplink(record: NetworkRecord) -> Uplink:
    assert record.uplink is not None, f"{record.name} is a network of the lab"
    return record.uplink


def _inside(port: Port) -> str:
    """Its interface within the amphora."""
    return link_name("v-", port.id)


def _beyond(record: NetworkRecord, ports: Sequence[Port]) -> Iterator[str]:
    """The ranges of the network as routes have them, of the IP versions of these ports."""
    versions = {ip_address(port.address).version for port in ports}
    for between in record.ranges:
        first, last = (ip_address(end) for end in between)
        if first.version in versions:
            yield from map(str, summarize_address_range(first, last))
