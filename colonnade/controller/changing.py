# SPDX-License-Identifier: Apache-2.0
"""What to do next while a cluster becomes what another flavor says: pure, and only what is safe.

Amphorae that do not fit what is wanted leave, and serve until others do: those are made ready
beside them, and then take the VIPs in one step. Invariant: nobody new answers for a VIP before all
that did were cut off from it. Which amphora fits, and who still has the VIPs, is read from what
there is, so that a change may be changed again on its way.
"""

from collections.abc import Iterator, Sequence

from colonnade.controller import pairs
from colonnade.controller.planning import (
    Borrow,
    Deploy,
    Facts,
    Fence,
    HandOver,
    Leave,
    Release,
    Restore,
    StandUp,
    Step,
    held_ports,
    joins,
    member_subnets,
    own_port_id,
    vips,
)
from colonnade.domain.fleet import Amphora, Cluster, Topology
from colonnade.domain.ids import PortId
from colonnade.domain.lifecycle import State


def plan(wanted: Cluster, facts: Facts) -> Sequence[Step] | None:
    """Steps to take now; None where nothing is to be changed, or others have to come first."""
    failed, leaving, serving = (
        [a for a in facts.amphorae if a.state is state]
        for state in (State.FAILED, State.LEAVING, State.SERVING)
    )
    if wanted.deleted or failed:
        return None
    misfits = [a for a in serving if not fits(wanted, a)]
    if misfits:
        return [Leave(amphora) for amphora in misfits]
    # It could still be told to come back to the VIPs, and never may.
    over = [a for a in leaving if a.is_half and not any(_fronts(wanted, facts, a))]
    if over:
        return [Fence(amphora) for amphora in over]
    former = [a for a in leaving if a.is_half is not _in_pairs(wanted)]
    if not _cut(wanted, facts, former):
        return None
    if len(serving) > wanted.topology.size:
        return [Release(amphora) for amphora in serving[wanted.topology.size :]]
    missing = wanted.topology.size - len(serving)
    if missing:
        kept = tuple(_keep_up(wanted, facts, former))
        return [Borrow(kept), *(Borrow() for _ in range(missing - 1))]
    return _exchange(wanted, facts, serving, leaving)


def fits(wanted: Cluster, amphora: Amphora) -> bool:
    return amphora.flavor == wanted.flavor and amphora.is_half is _in_pairs(wanted)


def _in_pairs(wanted: Cluster) -> bool:
    return wanted.topology is Topology.ACTIVE_STANDBY


def _exchange(
    wanted: Cluster, facts: Facts, serving: Sequence[Amphora], leaving: Sequence[Amphora]
) -> Sequence[Step]:
    if _in_pairs(wanted):
        held = held_ports(wanted, facts, leaving)
        return pairs.serve(wanted, facts, serving) or [StandUp(serving, held)]
    (alone,) = serving
    restored = [
        Restore(load_balancer, vip)
        for load_balancer in wanted.load_balancers
        for vip in load_balancer.vips
        if vip.port_id not in facts.ports
    ]
    wiring = [*restored, *joins(facts, serving, member_subnets(wanted))]
    if wiring:
        return wiring
    if alone.applied < wanted.generation:
        return [Deploy(alone)]
    all_vips = [vip.port_id for vip in vips(wanted)]
    return [HandOver(alone, all_vips, _of_halves(wanted, facts, leaving))]


def _cut(wanted: Cluster, facts: Facts, leaving: Sequence[Amphora]) -> Sequence[PortId]:
    """The ports through which these answer for the VIPs, or could."""
    return [*held_ports(wanted, facts, leaving), *_of_halves(wanted, facts, leaving)]


def _of_halves(wanted: Cluster, facts: Facts, leaving: Sequence[Amphora]) -> Sequence[PortId]:
    return [port_id for a in leaving if a.is_half for port_id in _fronts(wanted, facts, a)]


def _fronts(wanted: Cluster, facts: Facts, half: Amphora) -> Iterator[PortId]:
    """The ports that a half has on the subnets of VIPs."""
    for subnet_id in {vip.subnet_id for vip in vips(wanted)}:
        port = facts.ports.get(own_port_id(half.id, subnet_id))
        if port is not None and port.plugged_into == half.id:
            yield port.id


def _keep_up(wanted: Cluster, facts: Facts, former: Sequence[Amphora]) -> Sequence[Step]:
    """Those that still answer for the VIPs take changes until others do."""
    behind = [a for a in former if _cut(wanted, facts, [a]) and a.applied < wanted.generation]
    return joins(facts, behind, member_subnets(wanted)) or [Deploy(a) for a in behind]
