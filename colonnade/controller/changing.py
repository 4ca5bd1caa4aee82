# SPDX-License-Identifier: Apache-2.0
"""What to do next while a cluster becomes what another flavor says: pure, and only what is safe.

Amphorae that do not fit what is wanted leave, and serve until others do: those are made ready
beside them, and then take the VIPs in one step. Invariant: nobody new answers for a VIP before all
that did were cut off from it. Which amphora fits, and who still has the VIPs, is read from what
there is, so that a change may be changed again on its way.
"""

from collections.abc import Iterator, Sequence

from colonnade.controller import many_active, pairs
from colonnade.controller.planning import (
    Borrow,
    Deploy,
    Facts,
    Fence,
    HandOver,
    Lead,
    Leave,
    Make,
    Release,
    StandUp,
    Step,
    by_state,
    held_ports,
    joins,
    member_subnets,
    own_port_id,
    restores,
    vips,
)
from colonnade.controller.routed import floating_ports, is_routed
from colonnade.domain.fleet import Amphora, Cluster, Topology
from colonnade.domain.ids import PortId


def plan(wanted: Cluster, facts: Facts) -> Sequence[Step] | None:
    """Steps to take now; None where nothing is to be changed, or others have to come first."""
    failed, leaving, serving = by_state(facts)
    if wanted.deleted:
        return None
    misfits = [a for a in serving if not fits(wanted, a)]
    # It could still be told to come back to the VIPs, and never may.
    over = [a for a in leaving if a.is_half and not any(_fronts(wanted, facts, a))]
    if misfits or over:
        return [*map(Leave, misfits), *map(Fence, over)]
    former = [a for a in leaving if _is_other(wanted, a) and _answers(wanted, facts, a)]
    if not former:
        return None
    if failed:
        return [*map(Fence, failed), *_led_past(wanted, facts, former)]
    if len(serving) > wanted.size:
        return [Release(amphora) for amphora in serving[wanted.size :]]
    missing = wanted.size - len(serving)
    if missing:
        kept = tuple(_keep_up(wanted, facts, former))
        return [Borrow(kept), *(Borrow() for _ in range(missing - 1))]
    if is_routed(wanted):
        return _lead_over(wanted, facts, serving, former)
    return _hand_over(wanted, facts, serving, leaving)


def fits(wanted: Cluster, amphora: Amphora) -> bool:
    return amphora.flavor == wanted.flavor and not _is_other(wanted, amphora)


def _is_other(wanted: Cluster, amphora: Amphora) -> bool:
    """Whether it was lent for another topology. One alone and many have no front end in common."""
    return amphora.is_half is not (wanted.topology is Topology.ACTIVE_STANDBY)


def _answers(wanted: Cluster, facts: Facts, former: Amphora) -> bool:
    """Whether it has the VIPs, or could."""
    if not is_routed(wanted):
        return bool(_cut(wanted, facts, [former]))
    if former.is_half:
        return bool(facts.routes) and facts.routes == pairs.led_to(wanted, facts)
    return many_active.is_led(wanted, former, facts)


def _lead_over(
    wanted: Cluster, facts: Facts, serving: Sequence[Amphora], former: Sequence[Amphora]
) -> Sequence[Step]:
    """On a routed front end: by a route, when all are ready."""
    in_pairs = wanted.topology is Topology.ACTIVE_STANDBY
    made = [Make(wish) for wish in floating_ports(wanted) if wish.id not in facts.ports]
    wiring = [*(made if in_pairs else []), *joins(facts, serving, pairs.own_subnets(wanted))]
    if wiring:
        return wiring
    if in_pairs:
        after = pairs.led_to(wanted, facts)
        return pairs.deploy(wanted, facts, serving) or [Lead(after, former)]
    behind = [a for a in serving if a.applied < wanted.generation]
    after = many_active.led_to(wanted, serving, facts)
    return [Deploy(amphora) for amphora in behind] or [Lead(after, former)]


def _led_past(wanted: Cluster, facts: Facts, former: Sequence[Amphora]) -> Sequence[Step]:
    """Of many that leave, one that failed is led to no more."""
    if not is_routed(wanted) or former[0].is_half:
        return []
    after = many_active.led_to(wanted, former, facts)
    return [Lead(after)] if after != facts.routes else []


def _hand_over(
    wanted: Cluster, facts: Facts, serving: Sequence[Amphora], leaving: Sequence[Amphora]
) -> Sequence[Step]:
    """In layer 2: by the ports, when all are ready."""
    if wanted.topology is Topology.ACTIVE_STANDBY:
        held = held_ports(wanted, facts, leaving)
        return pairs.serve(wanted, facts, serving) or [StandUp(serving, held)]
    (alone,) = serving
    wiring = [*restores(wanted, facts), *joins(facts, serving, member_subnets(wanted))]
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
    """The ports that a half has where the VIPs' traffic is."""
    for subnet_id in {vip.front_subnet_id for vip in vips(wanted)}:
        port = facts.ports.get(own_port_id(half.id, subnet_id))
        if port is not None and port.plugged_into == half.id:
            yield port.id


def _keep_up(wanted: Cluster, facts: Facts, former: Sequence[Amphora]) -> Sequence[Step]:
    """Those that still answer for the VIPs take changes until others do."""
    behind = [a for a in former if a.applied < wanted.generation]
    return joins(facts, behind, member_subnets(wanted)) or [Deploy(a) for a in behind]
