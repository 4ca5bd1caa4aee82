# SPDX-License-Identifier: Apache-2.0
"""What depends on how many amphorae serve a cluster, and how they share its VIPs. Pure.

`planning.py` knows of one that has the VIPs' ports, `pairs.py` of two between which the VIPs move,
`many_active.py` of any number to which a router leads them, `changing.py` of how one becomes
another. How an amphora hangs on the networks is its own: one that leaves goes on as it was lent.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from colonnade.controller import changing, many_active, pairs, planning
from colonnade.controller.planning import Facts, Release, Step, own_port_id, vips
from colonnade.controller.routed import floating_ports, is_routed
from colonnade.domain.fleet import Amphora, Cluster, Topology
from colonnade.domain.ids import AmphoraId, PortId
from colonnade.domain.lifecycle import ANSWERING, State
from colonnade.drivers.network.protocol import Port, Subnet
from colonnade.protocol.bundle import Interface, Pair


class Wires(NamedTuple):
    """How an amphora hangs on the networks, and with whom it shares the VIPs."""

    interfaces: Sequence[Interface]
    pair: Pair | None = None


def plan(wanted: Cluster, facts: Facts) -> Sequence[Step]:
    """Steps to take now. None: nothing can be done but wait."""
    surplus = _surplus_seats(wanted, facts)
    if surplus:
        return [Release(seat) for seat in surplus]
    steps = changing.plan(wanted, facts)
    if steps is not None:
        return steps
    if wanted.topology is Topology.ACTIVE_STANDBY:
        return pairs.plan(wanted, facts)
    if is_routed(wanted):  # one alone is many of one
        return many_active.plan(wanted, facts)
    return planning.plan(wanted, facts)


def _surplus_seats(wanted: Cluster, facts: Facts) -> Sequence[Amphora]:
    """Made for it on an amphora that carries several, and needed no longer."""
    idle = [a for a in facts.amphorae if a.state in (State.BOOTING, State.SPARE)]
    serving = sum(a.state is State.SERVING and changing.fits(wanted, a) for a in facts.amphorae)
    wrong = [seat for seat in idle if wanted.deleted or seat.flavor != wanted.flavor]
    right = [seat for seat in idle if seat not in wrong]
    return [*wrong, *right[max(0, wanted.size - serving) :]]


def port_ids(wanted: Cluster, present: Sequence[Amphora]) -> Sequence[PortId]:
    """The ports that the cluster and these amphorae of it have, or should have."""
    names = [vip.port_id for vip in vips(wanted)]
    names += [wish.id for wish in floating_ports(wanted)]
    alone, half = planning.member_subnets(wanted), pairs.own_subnets(wanted)
    alone = half if is_routed(wanted) else alone
    using = [a for a in present if a.state in ANSWERING]
    own = [own_port_id(a.id, subnet) for a in using for subnet in (half if a.is_half else alone)]
    return [*names, *own]


def wires(wanted: Cluster, amphora: Amphora, facts: Facts, subnets: Mapping[str, Subnet]) -> Wires:
    """What the amphora's agent must set up. Raises KeyError for a port or subnet that is gone."""
    if amphora.is_half:
        found = pairs.interfaces(wanted, amphora, facts.ports, subnets)
        return Wires(found, pairs.speaks(wanted, amphora, facts))
    if is_routed(wanted):
        return Wires(many_active.interfaces(wanted, amphora, facts, subnets))
    return Wires(planning.interfaces(wanted, amphora, facts.ports, subnets))


def told_of(
    wanted: Cluster, amphora: Amphora, facts: Facts
) -> tuple[AmphoraId | None, Port] | None:
    """What its wires tell an amphora of others, as it is kept, and its own port beside theirs.
    None: of nobody."""
    if amphora.is_half:
        return pairs.told(wanted, amphora, facts)
    if is_routed(wanted):
        return many_active.told(wanted, amphora, facts)
    return None
