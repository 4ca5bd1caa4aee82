# SPDX-License-Identifier: Apache-2.0
"""What all topologies on a routed front end share: routes to VIPs, and VIPs that nobody hears of.

A VIP is on a subnet where nobody is, and a router leads it to ports on another one, `via`: by
routes that we set, or as it is told by amphorae that announce the VIP. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network

from colonnade.controller.planning import vips
from colonnade.domain.addresses import canonical
from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import PortId, SubnetId, derived_id
from colonnade.domain.tree import Vip
from colonnade.drivers.network.protocol import (
    NextHop,
    Port,
    PortWish,
    Route,
    Subnet,
    vip_owner,
)
from colonnade.protocol.bundle import LOCAL, Hearer, Interface


def is_routed(wanted: Cluster) -> bool:
    return any(vip.via_subnet_id is not None for vip in vips(wanted))


def is_announced(wanted: Cluster) -> bool:
    """Whether the amphorae tell routers of the VIPs: all VIPs are on one network."""
    return any(vip.announced for vip in vips(wanted))


def hearers(subnet: Subnet) -> tuple[Hearer, ...]:
    """The routers that hear of VIPs on this subnet, and speak its IP version."""
    said = subnet.announced
    if said is None:
        return ()
    return tuple(
        Hearer(address=one.address, asn=one.asn, own_asn=said.asn, bfd_ms=said.bfd_ms)
        for one in said.routers
        if ip_address(one.address).version == subnet.ip_version
    )


def destination(vip: Vip) -> str:
    return str(ip_network(canonical(vip.address)))


def routes(wanted: Cluster, hops: Callable[[Vip], Sequence[Port]]) -> Mapping[str, Route]:
    """Those that lead each VIP to its hops, by destination; none where a VIP has none."""
    found = {}
    for load_balancer in wanted.load_balancers:
        for vip in load_balancer.vips:
            ports = hops(vip)
            if ports and not vip.announced:
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
