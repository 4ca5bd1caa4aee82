# SPDX-License-Identifier: Apache-2.0
"""Cables from amphorae to the machine's own networks.

Invariant: a cable ends with its amphora; where it leads, and what may pass, follows from the port
and its network alone. What leads to nobody is dropped by the machine's packet filter. It knows no
load balancer.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from colonnade.domain.errors import Unavailable
from colonnade.domain.ids import PortId, derived_id
from colonnade.drivers.network.namespaces.address_book import (
    TRANSIT,
    AddressBook,
    NetworkRecord,
    mac_of,
    twin_id,
)
from colonnade.drivers.network.namespaces.cables import Cables
from colonnade.drivers.network.namespaces.fabric import OPEN_TO_ALL
from colonnade.drivers.network.namespaces.host_network import HostNetwork, cable_name, run_nft
from colonnade.drivers.network.namespaces.inside import held
from colonnade.drivers.network.namespaces.links import Leg, link_name
from colonnade.drivers.network.namespaces.machines import SEAT, Machine
from colonnade.drivers.network.namespaces.port_forwards import PortForwards
from colonnade.drivers.network.protocol import Port, Reach

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

    async def furnish(self) -> None:
        """What is there before any cable."""
        if self._network is not None:
            reaches = {r.reach for r in self._book.records.values() if r.uplink is not None}
            if reaches - {Reach.LINK}:
                await self._network.open_forwarding()
            await self.forwards.furnish()

    @property
    def host(self) -> HostNetwork:
        """Raises Unavailable."""
        if self._network is None:
            raise Unavailable("the network daemon was started without the machine's own networks")
        return self._network

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

    async def detach(self, port_ids: Iterable[PortId]) -> None:
        if self._network is not None:
            links = self._network.links
            for port_id in port_ids:
                await links.run(links.delete, cable_name(port_id))

    async def names(self) -> set[str]:
        if self._network is None:
            return set()
        return await self._network.links.run(self._network.links.names)

    def _move(self, port: Port, record: NetworkRecord, traffic: int, again: bool) -> None:
        links, name = self.host.links, cable_name(port.id)
        if again and links.has(name):
            return
        links.delete(name)  # first: two amphorae with one address are worse than none
        assert record.uplink is not None, "a network of the lab"
        leg = Leg(name=link_name("v-", port.id), mac=port.mac, mtu=links.mtu(record.uplink.link))
        self._lead(links, port, record, leg, traffic)

    def _lead(
        self, links: Cables, port: Port, record: NetworkRecord, leg: Leg, traffic: int
    ) -> None:
        """A cable of its own, and a route to its address alone."""
        name, neighbour = cable_name(port.id), NEIGHBOUR[ip_address(port.address).version]
        to = port.address
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
        links.lead(name, neighbour, to, leg.mac)
