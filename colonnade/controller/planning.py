# SPDX-License-Identifier: Apache-2.0
"""What to do next for a cluster of one amphora: pure, total, and only what is safe now.

The steps of one plan are independent of each other; a later plan, made from a new look, goes on.
A silent amphora may still answer for its VIP, so nothing takes its place until it is fenced: two
owners are worse than none. Decides all, does nothing, reads no clock, database or socket.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import TypeAlias

import msgspec

from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import AmphoraId, PortId, SubnetId, derived_id
from colonnade.domain.lifecycle import State
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.drivers.network.protocol import Port, PortWish, Route, Subnet
from colonnade.protocol.bundle import Interface


class Fence(msgspec.Struct, frozen=True):
    """Make sure that it can no longer send a packet: it failed, or another has its place."""

    amphora: Amphora


class Release(msgspec.Struct, frozen=True):
    """It is no longer needed: it will be destroyed."""

    amphora: Amphora


class Borrow(msgspec.Struct, frozen=True):
    """Take one ready amphora from the spares. `otherwise`: what is done while there is none."""

    otherwise: Sequence["Step"] = ()


class Restore(msgspec.Struct, frozen=True):
    """Make a VIP's port again, with its address."""

    load_balancer: LoadBalancer
    vip: Vip


class Make(msgspec.Struct, frozen=True):
    """Make a port that no amphora has for its own."""

    wish: PortWish


class Plug(msgspec.Struct, frozen=True):
    """Give the amphora the port, whoever has it now."""

    amphora: Amphora
    port_id: PortId


class Join(msgspec.Struct, frozen=True):
    """Give the amphora a port of its own on a subnet where members are."""

    amphora: Amphora
    subnet_id: SubnetId


class Deploy(msgspec.Struct, frozen=True):
    """Have the amphora serve the wanted generation."""

    amphora: Amphora


class Leave(msgspec.Struct, frozen=True):
    """It does not fit what is wanted: it serves until another does in its place."""

    amphora: Amphora


class HandOver(msgspec.Struct, frozen=True):
    """Move these ports of VIPs to the amphora, which is ready for them, from those that leave.
    `cut`: more ports, by which halves of a pair answer for the VIPs, and are cut off before."""

    amphora: Amphora
    port_ids: Sequence[PortId]
    cut: Sequence[PortId] = ()


class GiveBack(msgspec.Struct, frozen=True):
    """Nobody serves the VIPs any more: delete a port of theirs."""

    port_id: PortId


class StandUp(msgspec.Struct, frozen=True):
    """Of a pair: have the two, which are ready, take the VIPs from those that leave, by `cut`."""

    halves: Sequence[Amphora]
    cut: Sequence[PortId]


class StandDown(msgspec.Struct, frozen=True):
    """Of a pair: have it give the VIPs to the other half, and fence it then."""

    amphora: Amphora


class Lead(msgspec.Struct, frozen=True):
    """Have the router lead to the VIPs by these routes alone, by destination. `drained`: amphorae
    that it leads to now and that finish what is short before."""

    routes: Mapping[str, Route]
    drained: Sequence[Amphora] = ()


class Withdraw(msgspec.Struct, frozen=True):
    """It announces VIPs, and others do as well: have it finish what is short, and announce them no
    more; `then` it goes."""

    then: Fence | Release


class Settle(msgspec.Struct, frozen=True):
    """All is as wanted: say so."""


Step: TypeAlias = (
    Fence
    | Release
    | Borrow
    | Restore
    | Make
    | Plug
    | Join
    | Deploy
    | Leave
    | HandOver
    | GiveBack
    | StandUp
    | StandDown
    | Lead
    | Withdraw
    | Settle
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What there is. `ports`: the VIPs' ports and the amphorae's own, those that exist.
    `routes`: those to VIPs that a router leads, by destination. `unreached`: amphorae that did not
    answer when they were last told."""

    amphorae: Sequence[Amphora]
    ports: Mapping[PortId, Port]
    routes: Mapping[str, Route] = {}
    unreached: frozenset[AmphoraId] = frozenset()


def plan(wanted: Cluster, facts: Facts) -> Sequence[Step]:
    """Steps to take now. None: nothing can be done but wait."""
    failed, leaving, serving = by_state(facts)
    if wanted.deleted:
        return ending(wanted, facts, [*failed, *leaving], serving)
    if failed:
        return [Fence(amphora) for amphora in failed]
    size = wanted.size
    held = held_ports(wanted, facts, leaving)
    if len(serving) < size:
        missing = [Borrow() for _ in range(size - len(serving) - 1)]
        return [Borrow(_keep_up(wanted, facts, leaving, held)), *missing]
    if len(serving) > size:
        return [Release(amphora) for amphora in serving[size:]]
    wiring = _wire(wanted, facts, serving, held)
    if wiring:
        return wiring
    behind = [a for a in serving if a.applied < wanted.generation]
    if behind:
        return [Deploy(amphora) for amphora in behind]
    if held:
        return [HandOver(serving[0], held)]
    return [Fence(amphora) for amphora in leaving] or [Settle()]


def may_ask(steps: Sequence[Step], amphora: Amphora) -> bool:
    """Whether an amphora that asks is given what is wanted: what would be pushed to it now may be
    asked for, also while a spare is waited for."""
    now = [
        one for step in steps for one in (step.otherwise if isinstance(step, Borrow) else [step])
    ]
    # Of a pair, one may have to wait until the other was told.
    told = [step.amphora.id for step in now if isinstance(step, Deploy)]
    is_ready = all(isinstance(step, Deploy | Lead | Settle) for step in now)
    return is_ready and (not told or amphora.id in told)


def by_state(facts: Facts) -> tuple[list[Amphora], list[Amphora], list[Amphora]]:
    """Those that failed, leave and serve."""
    failed, leaving, serving = (
        [a for a in facts.amphorae if a.state is state]
        for state in (State.FAILED, State.LEAVING, State.SERVING)
    )
    return failed, leaving, serving


def restores(wanted: Cluster, facts: Facts) -> list[Step]:
    """VIPs whose ports are gone have them again."""
    return [
        Restore(load_balancer, vip)
        for load_balancer in wanted.load_balancers
        for vip in load_balancer.vips
        if vip.port_id not in facts.ports
    ]


def ending(
    wanted: Cluster, facts: Facts, failed: Sequence[Amphora], serving: Sequence[Amphora]
) -> Sequence[Step]:
    """Of a cluster that is deleted, whatever its topology."""
    if facts.routes:
        return [Lead({})]
    steps: list[Step] = [*map(Fence, failed), *map(Release, serving)]
    if steps or facts.amphorae:
        return steps  # those that retire tell when they are gone
    users = {vip.port_id for vip in vips(wanted) if not vip.owned}
    return [GiveBack(port_id) for port_id in facts.ports if port_id not in users] or [Settle()]


def held_ports(wanted: Cluster, facts: Facts, leaving: Sequence[Amphora]) -> Sequence[PortId]:
    """The VIPs' ports that those which leave still have: they stay until another is ready."""
    names = {amphora.id for amphora in leaving}
    ports = [facts.ports[vip.port_id] for vip in vips(wanted) if vip.port_id in facts.ports]
    return [port.id for port in ports if port.plugged_into in names]


def _keep_up(
    wanted: Cluster, facts: Facts, leaving: Sequence[Amphora], held: Sequence[PortId]
) -> Sequence[Step]:
    """Those that leave and still have the VIPs take changes until something replaces them."""
    owners = {facts.ports[port_id].plugged_into for port_id in held}
    behind = [a for a in leaving if a.id in owners and a.applied < wanted.generation]
    return tuple(joins(facts, behind, member_subnets(wanted)) or map(Deploy, behind))


def _wire(
    wanted: Cluster, facts: Facts, serving: Sequence[Amphora], held: Sequence[PortId]
) -> Sequence[Step]:
    steps: list[Step] = []
    first = serving[0]  # in a single topology, the one that answers for the VIP
    for load_balancer in wanted.load_balancers:
        for vip in load_balancer.vips:
            port = facts.ports.get(vip.port_id)
            if port is None:
                steps.append(Restore(load_balancer, vip))
            elif port.plugged_into != first.id and port.id not in held:
                steps.append(Plug(first, port.id))
    return [*steps, *joins(facts, serving, member_subnets(wanted))]


def joins(facts: Facts, amphorae: Sequence[Amphora], subnets: Sequence[SubnetId]) -> Sequence[Step]:
    """Ports of their own on these subnets, for those that have none there."""
    steps: list[Step] = []
    for amphora in amphorae:
        for subnet_id in subnets:
            port = facts.ports.get(own_port_id(amphora.id, subnet_id))
            if port is None or port.plugged_into != amphora.id:
                steps.append(Join(amphora, subnet_id))
    return steps


def vips(wanted: Cluster) -> Sequence[Vip]:
    """All of the cluster, the additional ones after the first of their load balancer."""
    return [vip for load_balancer in wanted.load_balancers for vip in load_balancer.vips]


def member_subnets(wanted: Cluster) -> Sequence[SubnetId]:
    """Subnets on which each amphora needs a port of its own; a VIP's has one already."""
    named = {
        member.subnet_id
        for load_balancer in wanted.load_balancers
        for pool in load_balancer.pools
        for member in pool.members
        if member.subnet_id is not None
    }
    return sorted(named - {vip.front_subnet_id for vip in vips(wanted)})


def own_port_id(amphora_id: AmphoraId, subnet_id: SubnetId) -> PortId:
    return PortId(derived_id(amphora_id, subnet_id))


def interfaces(
    wanted: Cluster, amphora: Amphora, ports: Mapping[PortId, Port], subnets: Mapping[str, Subnet]
) -> Sequence[Interface]:
    """The amphora's interfaces as its agent must set them up: for the VIPs' ports that it has, and
    for its own. The first VIP of each IP version has the default route."""
    fronts = [ports[vip.port_id] for vip in vips(wanted)]
    fronts = [port for port in fronts if port.plugged_into == amphora.id]
    own = [ports[own_port_id(amphora.id, subnet_id)] for subnet_id in member_subnets(wanted)]
    versions = [ip_address(port.address).version for port in fronts]
    return [
        *(
            _interface(
                port, subnets[port.subnet_id], is_default=versions[place] not in versions[:place]
            )
            for place, port in enumerate(fronts)
        ),
        *(_interface(port, subnets[port.subnet_id], is_default=False) for port in own),
    ]


def _interface(port: Port, subnet: Subnet, *, is_default: bool) -> Interface:
    return Interface(
        mac=port.mac,
        addresses=(subnet.on_link(port.address),),
        gateways=(subnet.gateway_ip,) if subnet.gateway_ip is not None else (),
        is_default=is_default,
    )
