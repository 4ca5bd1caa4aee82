# SPDX-License-Identifier: Apache-2.0
"""What all topologies on a routed front end share: routes to VIPs, and VIPs that nobody hears of.

A VIP is on a subnet where nobody is, and a router leads it to ports on another one, `via`. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network

from colonnade.controller.planning import vips
from colonnade.domain.addresses import canonical
from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import PortId, SubnetId, derived_id
from colonnade.domain.tree import Vip
from colonnade.drivers.network.protocol import NextHop, Port, PortWish, Route, vip_owner
from colonnade.protocol.bundle import LOCAL, Interface


def is_routed(wanted: Cluster) -> bool:
    return any(vip.via_subnet_id is not None for vip in vips(wanted))


def destination(vip: Vip) -> str:
    return str(ip_network(canonical(vip.address)))


def routes(wanted: Cluster, hops: Callable[[Vip], Sequence[Port]]) -> Mapping[str, Route]:
    """Those that lead each VIP to its hops, by destination; none where a VIP has none."""
    found = {}
    for load_balancer in wanted.load_balancers:
        for vip in load_balancer.vips:
            ports = hops(vip)
            if ports:
                found[destination(vip)] = Route(
                    destination=destination(vip),
                    network_id=ports[0].network_id,
                    next_hops=tuple(NextHop(one) for one in sorted(p.address for p in ports)),
                    owner=vip_owner(load_balancer.id),
                )
    return found


def local(wanted: Cluster) -> Interface:
    """The VIPs, on the interface of which no neighbour hears."""
    return Interface(mac=LOCAL, addresses=tuple(map(destination, vips(wanted))))


def floating_ports(wanted: Cluster) -> Sequence[PortWish]:
    """Of a pair: the one address on each subnet that moves between the halves, and to which all
    VIPs are led."""
    if not is_routed(wanted):
        return ()
    owner = vip_owner(wanted.load_balancers[0].id)
    return [
        PortWish(id=floating_port_id(wanted, subnet_id), owner=owner, subnet_id=subnet_id)
        for subnet_id in dict.fromkeys(vip.front_subnet_id for vip in vips(wanted))
    ]


def floating_port_id(wanted: Cluster, subnet_id: SubnetId) -> PortId:
    return PortId(derived_id(wanted.id, "floating", subnet_id))
