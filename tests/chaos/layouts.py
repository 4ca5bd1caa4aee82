# SPDX-License-Identifier: Apache-2.0
"""How load balancers of the world are laid out, and what must be there of each in the end.

The looks are made at rows, ports, routes and what amphorae were told, never at a plan.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from colonnade.domain.catalogue import Sizing
from colonnade.domain.fleet import Amphora, Cluster, FrontEnd, Role, Topology
from colonnade.domain.ids import AmphoraId, PortId, SubnetId, derived_id
from colonnade.domain.tree import Vip
from colonnade.drivers.network.namespaces.address_book import subnet_id
from colonnade.drivers.network.protocol import Port
from tests.chaos.world import PACKED, PER_AMPHORA, ROUTED_VIPS, World
from tests.fakes.network import PRIVATE_SUBNET, PUBLIC_SUBNET, PUBLIC_SUBNET_V6

ALONE: Final = Sizing()
PAIR: Final = Sizing(topology=Topology.ACTIVE_STANDBY)
ROUTED_ALONE: Final = Sizing(front_end=FrontEnd.ROUTED)
ROUTED_PAIR: Final = Sizing(topology=Topology.ACTIVE_STANDBY, front_end=FrontEnd.ROUTED)
TWO, THREE = (
    Sizing(topology=Topology.ACTIVE_ACTIVE, front_end=FrontEnd.ROUTED, amphorae=number)
    for number in (2, 3)
)
SHARED: Final = Sizing(flavor=PACKED, per_amphora=PER_AMPHORA)
SHARED_PAIR: Final = Sizing(
    topology=Topology.ACTIVE_STANDBY, flavor=PACKED, per_amphora=PER_AMPHORA
)
ROUTED_SHARED, ROUTED_SHARED_PAIR, SHARED_TWO = (
    replace(size, flavor=PACKED, per_amphora=PER_AMPHORA)
    for size in (ROUTED_ALONE, ROUTED_PAIR, TWO)
)
KINDS: Final = (
    (ALONE, PAIR, SHARED, SHARED_PAIR),
    (ROUTED_ALONE, ROUTED_PAIR, TWO, THREE, ROUTED_SHARED, ROUTED_SHARED_PAIR, SHARED_TWO),
)  # which of them may take another's place


def others(size: Sizing) -> Sequence[Sizing]:
    """What may take its place."""
    return [other for kind in KINDS if size in kind for other in kind if other != size]


def vip_subnets(size: Sizing) -> Sequence[SubnetId]:
    if size.front_end is FrontEnd.ROUTED:
        return [subnet_id("vips", cidr) for cidr in ROUTED_VIPS]
    return [PUBLIC_SUBNET, PUBLIC_SUBNET_V6]


def via(size: Sizing, place: int) -> SubnetId | None:
    """Where the router leads the VIP of this place to."""
    is_routed = size.front_end is FrontEnd.ROUTED
    return [PUBLIC_SUBNET, PUBLIC_SUBNET_V6][place] if is_routed else None


def size_of(wanted: Cluster) -> Sizing:
    routed = any(vip.via_subnet_id for vip in _vips(wanted))
    return Sizing(
        topology=wanted.topology,
        front_end=FrontEnd.ROUTED if routed else FrontEnd.LAYER_2,
        amphorae=wanted.size if wanted.topology is Topology.ACTIVE_ACTIVE else ALONE.amphorae,
        flavor=wanted.flavor,
        per_amphora=wanted.per_amphora,
    )


def _is_alone(size: Sizing) -> bool:
    """Whether one amphora has the VIPs' own ports."""
    return size.topology is Topology.SINGLE and size.front_end is FrontEnd.LAYER_2


def served(world: World, wanted: Cluster, rows: Sequence[Amphora]) -> str:
    """ "" when it is as wished, else what is not."""
    serving = [a for a in rows if a.cluster_id == wanted.id]
    if len(serving) != wanted.size:
        return f"{len(serving)} amphorae"
    for amphora in serving:
        if wrong := _serves(world, wanted, amphora):
            return wrong
    ports = {port.id: port for port in world.network.held()}
    holders = [ports[vip.port_id].plugged_into for vip in _vips(wanted)]
    size = size_of(wanted)
    if set(holders) != ({serving[0].id} if _is_alone(size) else {None}):
        return "its VIPs are not where they should be"
    if wrong := _roles(world, wanted, serving):
        return wrong
    return _routes(world, wanted, serving, ports)


def _serves(world: World, wanted: Cluster, amphora: Amphora) -> str:
    if world.agents.serving.get(amphora.id) != wanted:
        return "its amphora does not serve what is wished"
    if amphora.id not in world.network.amphorae:
        return "its amphora does not run"
    # One interface for each VIP or for each subnet of VIPs, one on the members' subnet if there
    # are members, and one of which no neighbour hears for VIPs that a router leads.
    fronts = len(_vips(wanted)) if _is_alone(size_of(wanted)) else 0
    needed = len(own_subnets(wanted)) + fronts + _is_routed(wanted)
    if len(world.agents.interfaces[amphora.id]) != needed:
        return "its amphora lacks an interface"
    return ""


def _roles(world: World, wanted: Cluster, serving: Sequence[Amphora]) -> str:
    """Of a pair: one holds the VIPs, and it is known which."""
    is_pair = wanted.topology is Topology.ACTIVE_STANDBY
    roles = world.agents.roles()
    said = sorted(str(roles.get(a.id, "")) for a in serving)
    if said != (sorted(Role) if is_pair else [""] * len(serving)):
        return f"its amphorae are {said}"
    if is_pair and any(a.role != roles[a.id] for a in serving):
        return "it is not known which of its amphorae holds the VIPs"
    return ""


def _routes(
    world: World, wanted: Cluster, serving: Sequence[Amphora], ports: Mapping[PortId, Port]
) -> str:
    found = {route.destination.partition("/")[0]: route for route in world.network.led()}
    for vip in _vips(wanted):
        route = found.get(vip.address)
        hops = {hop.address for hop in route.next_hops} if route is not None else set()
        own = [
            ports[PortId(derived_id(a.id, vip.front_subnet_id))] for a in serving if _has(wanted)
        ]
        if wanted.topology is Topology.ACTIVE_STANDBY and _is_routed(wanted):
            own = [ports[name] for name in floating(wanted) if _on(ports[name], vip)]
        if hops != ({port.address for port in own} if _is_routed(wanted) else set()):
            return f"{vip.address} is led to {sorted(hops)}"
    return ""


def _on(port: Port, vip: Vip) -> bool:
    return port.subnet_id == vip.front_subnet_id


def _has(wanted: Cluster) -> bool:
    """Whether amphorae have ports of their own where VIPs are."""
    return not _is_alone(size_of(wanted))


def own_subnets(wanted: Cluster) -> set[SubnetId]:
    """Those on which each of its amphorae must have a port of its own."""
    found = {vip.front_subnet_id for vip in _vips(wanted)} if _has(wanted) else set()
    return found | ({PRIVATE_SUBNET} if _has_members(wanted) else set())


def floating(wanted: Cluster) -> set[PortId]:
    """Ports of a pair to which a router leads its VIPs."""
    if wanted.topology is not Topology.ACTIVE_STANDBY or not _is_routed(wanted):
        return set()
    subnets = {vip.front_subnet_id for vip in _vips(wanted)}
    return {PortId(derived_id(wanted.id, "floating", subnet)) for subnet in subnets}


def answering(world: World, ports: Sequence[PortId], subnets: Sequence[SubnetId]) -> set[AmphoraId]:
    """Those that would answer now for VIPs that are on these ports, and which halves of a pair
    answer for by ports of their own on these subnets."""
    held = {port.id: port for port in world.network.held()}
    found = {held[name].plugged_into for name in ports if name in held}
    for half, role in world.agents.roles().items():
        own = [held.get(PortId(derived_id(half, subnet))) for subnet in subnets]
        is_on = any(port is not None and port.plugged_into == half for port in own)
        cluster_id = world.compute.clusters.get(half)
        if role is Role.MASTER and is_on and cluster_id == world.clusters.get(ports[0]):
            found.add(half)
    return {name for name in found if name is not None and world.compute.acts(name)}


def _vips(wanted: Cluster) -> Sequence[Vip]:
    return list(_all_vips(wanted))


def _all_vips(wanted: Cluster) -> Iterator[Vip]:
    for load_balancer in wanted.load_balancers:
        yield from load_balancer.vips


def _is_routed(wanted: Cluster) -> bool:
    return size_of(wanted).front_end is FrontEnd.ROUTED


def _has_members(wanted: Cluster) -> bool:
    return any(True for tree in wanted.load_balancers for _ in tree.members)
