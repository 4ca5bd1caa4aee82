# SPDX-License-Identifier: Apache-2.0
"""What to do next for a cluster of several amphorae that all serve at once: pure and total.

Each has all VIPs on its loopback interface, and a port of its own on each subnet to which the
router leads one. Invariants: the router leads to an amphora only when that serves what is wanted or
was led to before; it leads no more to one that failed, in the same plan in which that is fenced;
whoever leaves is led to until enough others are, lets nobody in any more then, and goes only when
no route leads to it. Who announces VIPs is led to when a router has heard it. What is done for one
amphora waits for no other, but that they share stick tables: of that all are told when all are
there.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from colonnade.controller.pairs import own_subnets
from colonnade.controller.planning import (
    Borrow,
    Deploy,
    Facts,
    Fence,
    GiveBack,
    Lead,
    Release,
    Settle,
    Step,
    Withdraw,
    by_state,
    ending,
    joins,
    own_port_id,
    restores,
    vips,
)
from colonnade.controller.routed import (
    destination,
    floating_ports,
    hearers,
    is_announced,
    local,
    routes,
)
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import AmphoraId, derived_id
from colonnade.domain.tree import Vip
from colonnade.drivers.network.protocol import Port, Route, Subnet
from colonnade.protocol.bundle import Interface


class Parts(NamedTuple):
    """Who plays which part. `kept`: as many as are wanted; `ready` of them are led to, or may be.
    `lasting`, of those that are `going`, are led to until enough others are."""

    led: Sequence[Amphora]
    kept: Sequence[Amphora]
    ready: Sequence[Amphora]
    going: Sequence[Amphora]
    lasting: Sequence[Amphora]


def plan(wanted: Cluster, facts: Facts) -> Sequence[Step]:
    """Steps to take now. None: nothing can be done but wait."""
    failed, leaving, serving = by_state(facts)
    if wanted.deleted:
        return ending(wanted, facts, [*failed, *leaving], serving)
    led, kept, ready, going, lasting = parts(wanted, facts)
    target = [*ready, *lasting]
    steps: list[Step] = [*map(Fence, failed), *restores(wanted, facts)]
    after = led_to(wanted, target, facts)
    if after != facts.routes:
        steps.append(Lead(after, [a for a in going if a in led and a not in target]))
    else:  # it may have been a pair before
        floating = (wish.id for wish in floating_ports(wanted))
        steps += [GiveBack(port_id) for port_id in floating if port_id in facts.ports]
    together = _sharing(wanted, facts, kept)
    for amphora in (*kept, *lasting):
        joining = joins(facts, [amphora], own_subnets(wanted))
        steps += joining or _deploy(wanted, amphora, together)
    for amphora in going:
        end = Fence(amphora) if amphora in leaving else Release(amphora)
        if amphora not in led:
            steps.append(end)
        elif is_announced(wanted) and amphora not in lasting:
            steps.append(Withdraw(end))
    # One that failed may answer still: nobody takes its place before it is fenced.
    missing = wanted.size - len(serving) - len(failed)
    return [*steps, *(Borrow() for _ in range(missing))] or [Settle()]


def parts(wanted: Cluster, facts: Facts) -> Parts:
    _, leaving, serving = by_state(facts)
    led = [a for a in facts.amphorae if is_led(wanted, a, facts)]
    serving.sort(key=lambda amphora: amphora not in led)  # who is led to stays
    kept, surplus = serving[: wanted.size], serving[wanted.size :]
    ready = [a for a in kept if a in led or _serves(wanted, a, facts)]
    going = [*surplus, *leaving]
    lasting = [a for a in going if a in led][: wanted.size - len(ready)]
    return Parts(led, kept, ready, going, lasting)


def is_led(wanted: Cluster, amphora: Amphora, facts: Facts) -> bool:
    if is_announced(wanted):  # a router has heard it
        return amphora.peer_id is not None and _port(vips(wanted)[0], amphora, facts) is not None
    return any(
        hop.address == port.address
        for vip in vips(wanted)
        if (port := _port(vip, amphora, facts)) is not None
        and (route := facts.routes.get(destination(vip))) is not None
        for hop in route.next_hops
    )


def _serves(wanted: Cluster, amphora: Amphora, facts: Facts) -> bool:
    wired = not joins(facts, [amphora], own_subnets(wanted))
    return wired and amphora.applied >= wanted.generation


def _deploy(wanted: Cluster, amphora: Amphora, together: Mapping[AmphoraId, Port]) -> list[Step]:
    """It takes a reload to tell one of others, so that waits until all of them are there."""
    misled = amphora.id in together and amphora.peer_id != name_of(together)
    is_whole = len(together) == wanted.size
    is_behind = amphora.applied < wanted.generation
    return [Deploy(amphora)] if is_behind or (misled and is_whole) else []


def sharing(wanted: Cluster, facts: Facts) -> Mapping[AmphoraId, Port]:
    """Those that share stick tables, and where each is on the network of the first VIP."""
    return _sharing(wanted, facts, parts(wanted, facts).kept)


def _sharing(wanted: Cluster, facts: Facts, kept: Sequence[Amphora]) -> Mapping[AmphoraId, Port]:
    first = vips(wanted)[0]
    found = {a.id: _port(first, a, facts) for a in kept}
    return {name: port for name, port in found.items() if port is not None}


def name_of(together: Mapping[AmphoraId, Port]) -> AmphoraId:
    """What is kept of them in the place of the other half, of which a pair has one."""
    return AmphoraId(derived_id("together", *sorted(together)))


def told(wanted: Cluster, amphora: Amphora, facts: Facts) -> tuple[AmphoraId, Port]:
    """What `interfaces` tells it of the others, as it is kept, and its own port beside theirs."""
    own = facts.ports[own_port_id(amphora.id, own_subnets(wanted)[0])]
    return name_of(sharing(wanted, facts)), own


def _port(vip: Vip, amphora: Amphora, facts: Facts) -> Port | None:
    """The amphora's own, to which the VIP is led; None where it is not plugged in any more."""
    port = facts.ports.get(own_port_id(amphora.id, vip.front_subnet_id))
    return port if port is not None and port.plugged_into == amphora.id else None


def led_to(wanted: Cluster, target: Sequence[Amphora], facts: Facts) -> Mapping[str, Route]:
    """The routes that lead all VIPs to these amphorae, by destination."""

    def hops(vip: Vip) -> Sequence[Port]:
        return [port for a in target if (port := _port(vip, a, facts)) is not None]

    return routes(wanted, hops)


def interfaces(
    wanted: Cluster, amphora: Amphora, facts: Facts, subnets: Mapping[str, Subnet]
) -> Sequence[Interface]:
    """An amphora's interfaces as its agent must set them up, and the VIPs of which no neighbour
    hears. The first of each IP version to which VIPs are led has the default route. Raises KeyError
    for a port or subnet that is gone."""
    fronts = {vip.front_subnet_id for vip in vips(wanted)}
    others = [p for name, p in sharing(wanted, facts).items() if name != amphora.id]
    defaults: set[int] = set()
    found = []
    for subnet_id in own_subnets(wanted):
        port, subnet = facts.ports[own_port_id(amphora.id, subnet_id)], subnets[subnet_id]
        version = ip_address(port.address).version
        is_default = subnet_id in fronts and version not in defaults
        found.append(
            Interface(
                mac=port.mac,
                addresses=(f"{port.address}/{ip_network(subnet.cidr).prefixlen}",),
                gateways=(subnet.gateway_ip,) if subnet.gateway_ip is not None else (),
                is_default=is_default,
                peers=tuple(sorted(p.address for p in others if p.subnet_id == subnet_id)),
                hearers=tuple(
                    dict.fromkeys(
                        one
                        for vip in vips(wanted)
                        if vip.announced and vip.front_subnet_id == subnet_id
                        for one in hearers(subnets[vip.subnet_id])
                    )
                ),
            )
        )
        if is_default:
            defaults.add(version)
    return [*found, local(wanted)]
