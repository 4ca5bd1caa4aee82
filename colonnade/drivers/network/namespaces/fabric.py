# SPDX-License-Identifier: Apache-2.0
"""The cables of the lab: a bridge for each network, a router that joins those that are routed,
and the legs of machines.

Invariant: the LB network is joined to no other, and amphorae on it reach the control namespace
but not each other. Every call may be repeated, so a daemon that starts again goes through all
of them. It does not know which address belongs to whom.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

from colonnade.domain.ids import PortId, derived_id
from colonnade.drivers.network.namespaces.address_book import NetworkRecord, mac_of
from colonnade.drivers.network.namespaces.inside import held
from colonnade.drivers.network.namespaces.links import (
    Leg,
    Links,
    bridge_name,
    link_name,
    visiting,
)
from colonnade.drivers.network.namespaces.machines import SEAT, TRAFFIC, Machine
from colonnade.drivers.network.namespaces.next_hops import Table
from colonnade.drivers.network.protocol import Port, Route
from colonnade.runtime.network_options import OPEN_TO_ALL, SETTLED

ROUTER_OPTIONS = {
    **SETTLED,
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/fib_multipath_hash_policy": "1",  # ports too, else a client has one next hop for all
    "ipv6/fib_multipath_hash_policy": "1",
}
IPV4_ONLY = {**SETTLED, "ipv6/conf/default/disable_ipv6": "1"}


class Fabric:
    """`folder` is the lab's private one, where its named namespaces are."""

    def __init__(self, links: Links, folder: Path) -> None:
        self._links = links
        self._folder = folder

    async def furnish(self, control: Leg, lb_network: str) -> None:
        """What is there before any machine: call it first."""
        with opened(Path("/proc/self/ns/net")) as own:
            await self._links.run(self._links.set_options, own, IPV4_ONLY)
            await self._links.run(self._links.configure, own)
        await self._links.run(self._links.add_bridge, bridge_name(lb_network))
        await self._join("router", ROUTER_OPTIONS)
        await self._join("control", IPV4_ONLY)
        with opened(self._folder / "netns" / "control") as namespace:
            await self._links.run(self._attach, "control", lb_network, control, namespace)

    async def add_network(self, record: NetworkRecord) -> None:
        if not record.has_bridge:
            return
        await self._links.run(self._links.add_bridge, bridge_name(record.name))
        if not record.routed:
            return
        leg = Leg(
            name=link_name("", record.name),
            mac=mac_of(PortId(derived_id("router", record.name))),
            addresses=tuple(_gateway(cidr) for cidr in record.cidrs),
        )
        name = link_name("r-", record.name)
        with opened(self._folder / "netns" / "router") as namespace:
            await self._links.run(self._attach, name, record.name, leg, namespace)

    async def attach_host(self, machine: Machine, network: str, leg: Leg) -> None:
        with held(machine.open_namespace()) as namespace:
            await self._links.run(self._links.set_options, namespace, OPEN_TO_ALL)
            name = host_link(machine.id)
            await self._links.run(self._attach, name, network, leg, namespace)

    async def attach_amphora(self, machine: Machine, network: str, leg: Leg) -> None:
        """The amphora's own leg on the LB network, in the agent's namespace."""
        name = machine_link(machine.about["lb_port_id"])
        with held(machine.open_namespace(TRAFFIC)) as traffic:
            await self._links.run(self._links.set_options, traffic, OPEN_TO_ALL)
            await self._links.run(self._links.configure, traffic)
        with held(machine.open_namespace()) as own:
            await self._links.run(self._links.set_options, own, IPV4_ONLY)
            await self._links.run(self._attach, name, network, leg, own)
        await self._links.run(self._links.isolate, name)

    async def plug(self, port: Port, network: str, machine: Machine, *, again: bool) -> None:
        """Move the port into the machine's traffic namespace. `again`: it should be there."""
        with held(machine.open_namespace(machine.traffic)) as traffic:
            if machine.kind == SEAT:
                await self._links.run(self._links.set_options, traffic, OPEN_TO_ALL)
                await self._links.run(self._links.configure, traffic)
            await self._links.run(self._move, port, network, traffic, again)

    async def tidy_routes(self) -> None:
        """Of the router: what a daemon that was killed has made half."""
        with opened(self._folder / "netns" / "router") as namespace:
            await self._links.run(_tidy_next_hops, namespace, self._links.home)

    async def set_route(self, number: int, route: Route, network: str) -> None:
        """Of the router, by its leg on that network. The number is the route's own."""
        with opened(self._folder / "netns" / "router") as namespace:
            leg = link_name("", network)
            await self._links.run(self._links.set_route, namespace, (number, route, leg))

    async def delete_route(self, number: int, destination: str) -> None:
        with opened(self._folder / "netns" / "router") as namespace:
            await self._links.run(self._links.delete_route, namespace, number, destination)

    async def detach(self, names: list[str]) -> None:
        await self._links.run(self._delete_all, names)

    async def names(self) -> set[str]:
        return await self._links.run(self._links.names)

    async def _join(self, name: str, options: Mapping[str, str]) -> None:
        with opened(self._folder / "netns" / name) as namespace:
            await self._links.run(self._links.set_options, namespace, options)
            await self._links.run(self._links.configure, namespace)

    def _attach(self, name: str, network: str, leg: Leg, namespace: int) -> None:
        if not self._links.has(name):
            self._links.add_pair(name, bridge_name(network), leg, namespace)
        self._links.configure(namespace, (leg,))

    def _move(self, port: Port, network: str, namespace: int, again: bool) -> None:
        name = machine_link(port.id)
        if again and self._links.has(name):
            return
        self._links.delete(name)  # first: two amphorae with one address are worse than none
        leg = Leg(name=link_name("v-", port.id), mac=port.mac)
        self._links.add_pair(name, bridge_name(network), leg, namespace)

    def _delete_all(self, names: list[str]) -> None:
        for name in names:
            self._links.delete(name)


def machine_link(port_id: str) -> str:
    """The fabric's end of the pair that a port is."""
    return link_name("p-", port_id)


def host_link(machine_id: str) -> str:
    return link_name("h-", machine_id)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    with held(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
        yield descriptor


def _tidy_next_hops(namespace: int, home: int) -> None:
    with visiting(namespace, home):
        Table().close()  # those that no route uses are forgotten as it is read


def _gateway(cidr: str) -> str:
    net = ip_network(cidr)
    return f"{net[1]}/{net.prefixlen}"
