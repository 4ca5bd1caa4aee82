# SPDX-License-Identifier: Apache-2.0
"""On which amphora a load balancer that shares one gets its seat. Pure.

Invariant: an amphora carries load balancers of one project and one flavor, no more of them than the
flavor allows, and one seat of each at most. What an affinity group asks for comes before all that
is only a preference.
"""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from colonnade.domain.affinity import AffinityPolicy
from colonnade.domain.errors import OutOfCapacity, Unplaceable
from colonnade.domain.ids import AmphoraId, ClusterId

APART: Final = (AffinityPolicy.APOLOCATION, AffinityPolicy.SOFT_APOLOCATION)
STRICT: Final = (AffinityPolicy.COLOCATION, AffinityPolicy.APOLOCATION)


class Carrier(msgspec.Struct, frozen=True, kw_only=True):
    """An amphora that carries seats, or a spare that could: `project_id` is None then."""

    id: AmphoraId
    host: str = ""
    project_id: str | None = None
    taken: int = 0  # seats
    is_outdated: bool = False


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Of a load balancer's affinity group: where its others are. `members`: how many there are."""

    name: str
    policy: AffinityPolicy
    members: int = 1
    carriers: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()  # "" is none: where they run is not known yet


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A seat that is wanted. `own`: amphorae on which this load balancer has one already, and
    `own_hosts` where those run. `several_hosts`: amphorae are known to run on more than one."""

    cluster_id: ClusterId
    project_id: str
    flavor: str
    per_amphora: int
    own: frozenset[str] = frozenset()
    own_hosts: frozenset[str] = frozenset()
    group: Group | None = None
    several_hosts: bool = False


def seat(wish: Wish, carriers: Sequence[Carrier]) -> Carrier:
    """The best of them. Raises OutOfCapacity when none has room, and Unplaceable when none that has
    may be taken."""
    there = [c for c in carriers if _has_room(wish, c)]
    fitting = [c for c in there if not _breaks(wish, c)]
    if fitting:
        return min(fitting, key=lambda carrier: _order(wish, carrier))
    group = wish.group
    if group is not None and (there or _follows(wish)):
        raise Unplaceable(_refusal(group, wish.per_amphora))
    raise OutOfCapacity(f"no amphora of flavor {wish.flavor} has room for another load balancer")


def is_to_move(wish: Wish, present: Carrier, others: Sequence[Carrier]) -> bool:
    """Whether one that has joined its group is to be on another amphora than it is on. Raises
    Unplaceable when it must be, and cannot: a spare is there sooner or later, room beside others is
    not."""
    elsewhere = [carrier for carrier in others if carrier.id != present.id]
    if _breaks(wish, present):
        spare = Carrier(id=AmphoraId("a spare, on a host of its own"), host="its own")
        seat(wish, [*elsewhere, spare])
        return True
    now = _distance(wish, present)
    return any(_has_room(wish, c) and _distance(wish, c) < now for c in elsewhere)


def amphorae_needed(waiting: Sequence[Wish]) -> int:
    """How many new amphorae have room for all of these, which found none."""
    apart = [w for w in waiting if w.group is not None and w.group.policy in APART]
    alike: dict[str, list[str]] = {}
    for wish in waiting:
        if wish not in apart:
            alike.setdefault(wish.project_id, []).append(wish.cluster_id)
    packed = 0
    for clusters in alike.values():
        per_amphora = next(w.per_amphora for w in waiting)
        most = max(clusters.count(name) for name in clusters)  # two of one are never together
        packed += max(most, -(-len(clusters) // per_amphora))
    return len(apart) + packed


def check_together(group: str, flavors: Collection[str], members: int, per_amphora: int) -> str:
    """Why these cannot all be on one amphora, "" when they can. `flavors`: of all members."""
    if len(flavors) > 1:
        return (
            f"affinity group '{group}' keeps its load balancers on one amphora, and they are of "
            "different flavors: have them all of one, or use a group with the policy "
            "soft-colocation"
        )
    if members > per_amphora:
        return (
            f"affinity group '{group}' keeps its load balancers on one amphora, and their flavor "
            f"allows {per_amphora} on one: use another flavor, or a group with the policy "
            "soft-colocation"
        )
    return ""


def _has_room(wish: Wish, carrier: Carrier) -> bool:
    is_ours = carrier.project_id in (None, wish.project_id)
    return is_ours and carrier.taken < wish.per_amphora and carrier.id not in wish.own


def _follows(wish: Wish) -> bool:
    """Whether others of its group have an amphora that it must be on."""
    group = wish.group
    return (
        group is not None and group.policy is AffinityPolicy.COLOCATION and _beside(wish) != set()
    )


def _beside(wish: Wish) -> set[str]:
    return set() if wish.group is None else set(wish.group.carriers - wish.own)


def _breaks(wish: Wish, carrier: Carrier) -> bool:
    """Whether a strict policy forbids it."""
    group = wish.group
    if group is None or group.policy not in STRICT:
        return False
    if group.policy is AffinityPolicy.APOLOCATION:
        return _distance(wish, carrier) > 0
    if _follows(wish):
        return carrier.id not in group.carriers
    # The first of them: the others must find room there too.
    return wish.per_amphora - carrier.taken < group.members


def _distance(wish: Wish, carrier: Carrier) -> int:
    """How far it is from what the group would like; 0: as it would."""
    group = wish.group
    if group is None:
        return 0
    if group.policy in APART:
        same_host = wish.several_hosts and (not carrier.host or carrier.host in group.hosts)
        return 2 if carrier.id in group.carriers else int(bool(group.hosts) and same_host)
    return int(bool(_beside(wish)) and carrier.id not in group.carriers)


def _order(wish: Wish, carrier: Carrier) -> tuple[int | bool | str, ...]:
    """Fuller ones first, so that few amphorae carry many; halves of a pair on different hosts."""
    return (
        _distance(wish, carrier),
        bool(carrier.host) and carrier.host in wish.own_hosts,
        carrier.is_outdated,
        carrier.project_id is None,
        -carrier.taken,
        carrier.id,
    )


def _refusal(group: Group, per_amphora: int) -> str:
    if group.policy in APART:
        wanted = "an amphora and a host on which no other of its load balancers is, and has none"
    else:
        wanted = (
            "the amphora of its other load balancers, and that has no room for one more of the "
            f"{per_amphora} that its flavor allows"
        )
    return (
        f"affinity group '{group.name}' asks for {wanted}: wait for it, or use a group with the "
        f"policy soft-{group.policy}"
    )
