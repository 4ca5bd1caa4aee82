# SPDX-License-Identifier: Apache-2.0
"""What to do next for a cluster of two halves: pure, total, and only what is safe now.

Each half has a port and an address of its own on every subnet of a VIP. The VIPs are addresses that
keepalived moves between the halves, so their ports are never plugged. On a routed front end both
halves have the VIPs, and what moves is the one address to which all of them are led. Invariants: no
more than two speak VRRP with each other; nobody begins to speak before the other was told of it, or
both would hold the VIPs; a change goes to the half that stands by first; one that leaves goes when
it no longer holds the VIPs.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from colonnade.controller.planning import (
    Borrow,
    Deploy,
    Facts,
    Fence,
    Lead,
    Make,
    Release,
    Settle,
    StandDown,
    Step,
    by_state,
    ending,
    joins,
    member_subnets,
    own_port_id,
    restores,
    vips,
)
from colonnade.controller.routed import (
    floating_port_id,
    floating_ports,
    is_routed,
    local,
    routes,
)
from colonnade.domain.addresses import canonical
from colonnade.domain.fleet import Amphora, Cluster, Role
from colonnade.domain.ids import AmphoraId, PortId, SubnetId
from colonnade.drivers.network.protocol import Port, Route, Subnet
from colonnade.protocol.bundle import Interface, Pair


def plan(wanted: Cluster, facts: Facts) -> Sequence[Step]:
    """Steps to take now. None: nothing can be done but wait."""
    failed, leaving, serving = by_state(facts)
    if wanted.deleted:
        return ending(wanted, facts, [*failed, *leaving], serving)
    if failed:
        return [Fence(amphora) for amphora in failed]
    size = wanted.size
    if len(serving) > size:
        return [Release(amphora) for amphora in serving[size:]]
    halves = pair(facts)
    # First those that are no half any more: one that no longer hears the other takes the VIPs.
    outside = [Fence(amphora) for amphora in leaving if amphora not in halves]
    steps = outside or serve(wanted, facts, halves)
    if len(serving) < size:
        # Those that are there take changes until there are spares.
        return [Borrow(tuple(steps)), *(Borrow() for _ in range(size - len(serving) - 1))]
    if steps:
        return steps
    return [StandDown(a) for a in leaving if a in halves] or [Settle()]


def pair(facts: Facts) -> Sequence[Amphora]:
    """The two that speak with each other, or are to; fewer where there are not two."""
    _, leaving, serving = by_state(facts)
    leaving = [amphora for amphora in leaving if amphora.is_half]
    # Whoever leaves and holds the VIPs is needed until another does; who does not, only while
    # there is nobody else.
    active = [a for a in leaving if a.role is Role.MASTER][:1]
    if any(a.role is Role.MASTER for a in serving):
        active = []
    known = [a for a in serving if active and a.peer_id == active[0].id]
    others = [a for a in serving if a not in known]
    idle = [a for a in leaving if a not in active]
    return [*active, *known, *others, *idle][:2]


def partner(amphora: Amphora, halves: Sequence[Amphora]) -> Amphora | None:
    """The other half."""
    return next((half for half in halves if half.id != amphora.id), None)


def serve(wanted: Cluster, facts: Facts, halves: Sequence[Amphora]) -> Sequence[Step]:
    """What these still lack to serve what is wanted."""
    return _wire(wanted, facts, halves) or deploy(wanted, facts, halves)


def _wire(wanted: Cluster, facts: Facts, halves: Sequence[Amphora]) -> list[Step]:
    steps = restores(wanted, facts)
    steps += [Make(wish) for wish in floating_ports(wanted) if wish.id not in facts.ports]
    after = led_to(wanted, facts)
    if after != facts.routes:
        steps.append(Lead(after))
    return [*steps, *joins(facts, halves, own_subnets(wanted))]


def led_to(wanted: Cluster, facts: Facts) -> Mapping[str, Route]:
    """The routes that lead all VIPs to what moves between the halves, by destination."""
    return routes(wanted, lambda vip: _floating(wanted, vip.front_subnet_id, facts.ports))


def _floating(wanted: Cluster, subnet_id: SubnetId, ports: Mapping[PortId, Port]) -> Sequence[Port]:
    """What moves between the halves on a subnet of a routed front end."""
    port = ports.get(floating_port_id(wanted, subnet_id))
    return [port] if port is not None else []


def deploy(wanted: Cluster, facts: Facts, halves: Sequence[Amphora]) -> Sequence[Step]:
    misled = [half for half in halves if half.peer_id != _id(partner(half, halves))]
    behind = [h for h in halves if h in misled or h.applied < wanted.generation]
    first = [half for half in misled if not _is_new(half)]
    if not first and not all(map(_is_new, halves)):
        first = [
            half
            for half in behind
            if half.role is not Role.MASTER and half.id not in facts.unreached
        ]
    return [Deploy(half) for half in first or behind]


def _id(half: Amphora | None) -> AmphoraId | None:
    return half.id if half is not None else None


def _is_new(half: Amphora) -> bool:
    """Whether it holds nothing, and speaks with nobody."""
    return half.applied == 0 and half.role is None


def own_subnets(wanted: Cluster) -> Sequence[SubnetId]:
    """Subnets on which each half has a port of its own, those of the VIPs first."""
    fronts = dict.fromkeys(vip.front_subnet_id for vip in vips(wanted))
    return [*fronts, *member_subnets(wanted)]


def interfaces(
    wanted: Cluster, amphora: Amphora, ports: Mapping[PortId, Port], subnets: Mapping[str, Subnet]
) -> Sequence[Interface]:
    """The half's interfaces as its agent must set them up. The first of each IP version that has
    VIPs has the default route. Raises KeyError for a port or subnet that is gone."""
    return list(_interfaces(wanted, amphora, ports, subnets))


def _interfaces(
    wanted: Cluster, amphora: Amphora, ports: Mapping[PortId, Port], subnets: Mapping[str, Subnet]
) -> Iterator[Interface]:
    routed: set[int] = set()
    for subnet_id in own_subnets(wanted):
        port, subnet = ports[own_port_id(amphora.id, subnet_id)], subnets[subnet_id]
        length = ip_network(subnet.cidr).prefixlen
        floating = [canonical(vip.address) for vip in vips(wanted) if vip.subnet_id == subnet_id]
        floating += [one.address for one in _floating(wanted, subnet_id, ports)]
        version = ip_address(port.address).version
        yield Interface(
            mac=port.mac,
            addresses=(f"{port.address}/{length}",),
            gateways=(subnet.gateway_ip,) if subnet.gateway_ip is not None else (),
            is_default=bool(floating) and version not in routed,
            floating=tuple(f"{address}/{length}" for address in floating),
        )
        if floating:
            routed.add(version)
    if is_routed(wanted):
        yield local(wanted)


def speaks(wanted: Cluster, amphora: Amphora, facts: Facts) -> Pair:
    """How it speaks with the other half. Raises KeyError for a port that is gone."""
    assert amphora.vrrp_priority is not None, "a half is lent with one"
    other = partner(amphora, pair(facts))
    return Pair(
        own=vrrp_port(wanted, amphora, facts).address,
        peer=vrrp_port(wanted, other, facts).address if other is not None else "",
        priority=amphora.vrrp_priority,
        advert_ms=wanted.advert_ms,
        # One that serves alone still answers for them.
        stands_down=any(vip_port.plugged_into for vip_port in _vip_ports(wanted, facts)),
    )


def _vip_ports(wanted: Cluster, facts: Facts) -> Iterator[Port]:
    return (facts.ports[vip.port_id] for vip in vips(wanted) if vip.port_id in facts.ports)


def vrrp_port(wanted: Cluster, amphora: Amphora, facts: Facts) -> Port:
    """The one it speaks on: on the first VIP's subnet."""
    return facts.ports[own_port_id(amphora.id, own_subnets(wanted)[0])]


def told(wanted: Cluster, amphora: Amphora, facts: Facts) -> tuple[AmphoraId | None, Port]:
    """What `speaks` tells it, as it is kept: the other half, and the port it speaks on."""
    return _id(partner(amphora, pair(facts))), vrrp_port(wanted, amphora, facts)
