# SPDX-License-Identifier: Apache-2.0
"""What the plan of several that all serve promises, whatever is wished and whatever is there."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.controller import many_active
from colonnade.controller.many_active import interfaces, led_to, name_of, sharing, told
from colonnade.controller.planning import (
    Borrow,
    Deploy,
    Facts,
    Fence,
    GiveBack,
    HandOver,
    Join,
    Lead,
    Plug,
    Release,
    Settle,
    StandDown,
    Step,
    own_port_id,
)
from colonnade.domain.fleet import Amphora, Cluster, Topology
from colonnade.domain.ids import AmphoraId, NetworkId, SubnetId
from colonnade.domain.lifecycle import State
from colonnade.drivers.network.protocol import Port, Subnet
from colonnade.protocol.bundle import LOCAL
from tests.unit.test_plan import BACK, BALANCER, NAMES, VIP, VIP6, WEB, some_amphorae

VIA, VIA6 = SubnetId("via"), SubnetId("via6")
BEHIND = replace(
    BALANCER,
    vip=replace(BALANCER.vip, address="192.0.2.7", via_subnet_id=VIA),
    additional_vips=(
        replace(BALANCER.additional_vips[0], address="2001:db8:2::7", via_subnet_id=VIA6),
    ),
)
TOGETHER = Topology.ACTIVE_ACTIVE
SUBNETS = {VIA: "203.0.113.{}", VIA6: "2001:db8:1::{}", BACK: "10.0.0.{}"}
wishes = st.builds(
    Cluster,
    id=st.just(WEB),
    generation=st.integers(1, 4),
    topology=st.just(TOGETHER),
    amphorae=st.integers(2, 3),
    deleted=st.booleans(),
    load_balancers=st.just((BEHIND,)),
)
amphorae = some_amphorae()
leds = st.sets(st.sampled_from(NAMES))


def port(amphora: Amphora, subnet_id: SubnetId) -> Port:
    number = 10 + NAMES.index(amphora.id)
    return Port(
        id=own_port_id(amphora.id, subnet_id),
        network_id=NetworkId("n"),
        subnet_id=subnet_id,
        address=SUBNETS[subnet_id].format(number),
        mac=f"02:00:00:00:00:{number:02}",
        plugged_into=amphora.id,
    )


def facts(present: Sequence[Amphora], led: set[AmphoraId] | None = None) -> Facts:
    """All are wired; the router leads to those named, else to all."""
    own = [port(amphora, subnet_id) for amphora in present for subnet_id in SUBNETS]
    ports = {p.id: p for p in own} | dict.fromkeys((VIP, VIP6), own[0] if own else A_PORT)
    seen = Facts(amphorae=present, ports=ports)
    hops = [a for a in present if led is None or a.id in led]
    return replace(seen, routes=led_to(WISH, hops, seen))


def lead(target: Sequence[Amphora], drained: Sequence[Amphora]) -> Lead:
    return Lead(led_to(WISH, target, facts(target)), drained)


def target(step: Lead, present: Sequence[Amphora]) -> list[Amphora]:
    """To whom it leads."""
    hops = {hop.address for route in step.routes.values() for hop in route.next_hops}
    return [a for a in present if {port(a, VIA).address, port(a, VIA6).address} <= hops]


def plan(wanted: Cluster, seen: Facts) -> list[Step]:
    """Of amphorae that were told of each other, as all know them here."""
    name = name_of(sharing(wanted, seen))
    aware = [replace(amphora, peer_id=name) for amphora in seen.amphorae]
    return [plain(step) for step in many_active.plan(wanted, replace(seen, amphorae=aware))]


def plain(step: Step) -> Step:
    if isinstance(step, Lead):
        return replace(step, drained=[replace(one, peer_id=None) for one in step.drained])
    if isinstance(step, Deploy | Fence | Release | Join):
        return replace(step, amphora=replace(step.amphora, peer_id=None))
    return step


def kinds(steps: Sequence[Step]) -> set[type[Step]]:
    return {type(step) for step in steps}


WISH = Cluster(id=WEB, generation=3, topology=TOGETHER, amphorae=3, load_balancers=(BEHIND,))
A, B, C, D = (Amphora(id=n, cluster_id=WEB, state=State.SERVING, applied=3) for n in NAMES)
A_PORT = port(A, VIA)


@given(wishes, amphorae, leds)
def test_the_router_leads_to_nobody_who_failed_or_does_not_serve(
    wanted: Cluster, present: list[Amphora], led: set[AmphoraId]
) -> None:
    seen = facts(present, led)
    steps = plan(wanted, seen)
    failed = {a.id for a in present if a.state is State.FAILED}
    assert failed == {s.amphora.id for s in steps if isinstance(s, Fence)} & failed or (
        wanted.deleted and seen.routes
    )
    leads = [step for step in steps if isinstance(step, Lead)]
    assert leads or wanted.deleted or not failed & led
    for amphora in (one for step in leads for one in target(step, present)):
        assert amphora.state in (State.SERVING, State.LEAVING)
        assert amphora.id in led or amphora.applied >= wanted.generation


@given(wishes, amphorae, leds)
def test_nobody_goes_to_whom_a_route_leads(
    wanted: Cluster, present: list[Amphora], led: set[AmphoraId]
) -> None:
    for step in plan(wanted, facts(present, led)):
        if isinstance(step, Release) or (
            isinstance(step, Fence) and step.amphora.state is State.LEAVING
        ):
            assert step.amphora.id not in led


@given(wishes, amphorae, leds)
def test_as_many_serve_as_did_until_enough_others_do(
    wanted: Cluster, present: list[Amphora], led: set[AmphoraId]
) -> None:
    serve = [a for a in present if a.id in led and a.state in (State.SERVING, State.LEAVING)]
    for step in plan(wanted, facts(present, led)):
        if isinstance(step, Lead) and not wanted.deleted:
            stay = {a.id for a in target(step, present)}
            assert min(wanted.size, len(serve)) <= len(stay) <= wanted.size
            assert {a.id for a in step.drained} == {a.id for a in serve} - stay


@given(wishes, amphorae, leds)
def test_no_vip_is_plugged_and_no_more_are_borrowed_than_are_wanted(
    wanted: Cluster, present: list[Amphora], led: set[AmphoraId]
) -> None:
    steps = plan(wanted, facts(present, led))
    assert not kinds(steps) & {Plug, HandOver, StandDown}
    there = sum(a.state in (State.SERVING, State.FAILED) for a in present)
    borrowed = sum(isinstance(step, Borrow) for step in steps)
    assert borrowed == 0 or there + borrowed == wanted.size


@given(wishes, amphorae, leds)
def test_settled_means_that_as_many_as_wanted_serve_the_wish_and_are_led_to(
    wanted: Cluster, present: list[Amphora], led: set[AmphoraId]
) -> None:
    steps = plan(wanted, facts(present, led))
    if Settle not in kinds(steps) or wanted.deleted:
        return
    assert steps == [Settle()]
    serving = [a for a in present if a.state is State.SERVING]
    assert len(serving) == wanted.size
    assert led & {a.id for a in present if a.state is not State.RETIRING} == {a.id for a in serving}
    assert min(a.applied for a in serving) >= wanted.generation


@given(wishes, amphorae, leds)
def test_the_vips_are_given_back_only_when_nobody_can_answer_for_them(
    wanted: Cluster, present: list[Amphora], led: set[AmphoraId]
) -> None:
    if GiveBack in kinds(plan(wanted, facts(present, led))):
        assert wanted.deleted
        assert not present


def test_new_ones_are_led_to_when_they_serve() -> None:
    new = [replace(one, applied=0) for one in (A, B, C)]
    assert plan(WISH, facts([])) == [Borrow(), Borrow(), Borrow()]
    wired = facts(new, set())
    assert kinds(plan(WISH, replace(wired, ports={VIP: A_PORT, VIP6: A_PORT}))) == {Join}
    assert plan(WISH, wired) == [Deploy(one) for one in new]
    assert plan(WISH, facts([A, new[1], C], set())) == [lead([A, C], []), Deploy(new[1])]
    assert plan(WISH, facts([A, B, C])) == [Settle()]


def test_a_change_goes_to_all_at_once_and_moves_no_flow() -> None:
    changed = replace(WISH, generation=4)
    assert plan(changed, facts([A, B, C])) == [Deploy(A), Deploy(B), Deploy(C)]


def test_one_that_is_lost_is_led_to_no_more_while_it_is_fenced_and_the_others_take_changes() -> (
    None
):
    lost = replace(A, state=State.FAILED)
    steps = plan(replace(WISH, generation=4), facts([lost, B, C]))
    assert steps == [Fence(lost), lead([B, C], []), Deploy(B), Deploy(C)]
    assert plan(WISH, facts([B, C])) == [Borrow()]
    assert plan(WISH, facts([B, C, D], {B.id, C.id})) == [lead([B, C, D], [])]


def test_all_are_told_of_each_other_when_all_are_there() -> None:
    three, two = facts([A, B, C]), facts([B, C])
    name, own = told(WISH, A, three)
    assert own == A_PORT
    assert many_active.plan(WISH, three) == [Deploy(A), Deploy(B), Deploy(C)]
    know = [replace(one, peer_id=name) for one in (A, B, C)]
    assert many_active.plan(WISH, replace(three, amphorae=know)) == [Settle()]
    left = replace(two, amphorae=know[1:])
    assert many_active.plan(WISH, left) == [Borrow()]
    new = replace(D, applied=0)
    again = facts([*know[1:], new], {B.id, C.id})
    assert many_active.plan(WISH, again) == [Deploy(know[1]), Deploy(know[2]), Deploy(new)]


def test_one_whose_cable_is_gone_is_led_to_when_it_serves_again() -> None:
    seen = facts([A, B, C])
    ports = {**seen.ports, A_PORT.id: replace(A_PORT, plugged_into=None)}
    six = own_port_id(A.id, VIA6)
    ports[six] = replace(ports[six], plugged_into=None)
    without = lead([B, C], [])
    assert plan(WISH, replace(seen, ports=ports)) == [without, Join(A, VIA), Join(A, VIA6)]
    assert plan(WISH, facts([replace(A, applied=0), B, C], {B.id, C.id})) == [
        Deploy(replace(A, applied=0))
    ]


def test_a_member_on_another_subnet_moves_no_flow() -> None:
    seen = facts([A, B, C])
    ports = {name: port for name, port in seen.ports.items() if port.subnet_id != BACK}
    found = plan(WISH, replace(seen, ports=ports))
    assert found == [Join(A, BACK), Join(B, BACK), Join(C, BACK)]
    again = facts([replace(one, applied=0) for one in (A, B, C)])
    assert kinds(plan(WISH, again)) == {Deploy}


def test_one_that_leaves_is_drained_when_another_serves_in_its_place() -> None:
    old = replace(A, state=State.LEAVING)
    assert plan(WISH, facts([old, B, C])) == [Borrow()]
    new = replace(D, applied=0)
    led = {A.id, B.id, C.id}
    assert plan(WISH, facts([old, B, C, new], led)) == [Deploy(new)]
    assert plan(WISH, facts([old, B, C, D], led)) == [lead([B, C, D], [old])]
    assert plan(WISH, facts([old, B, C, D], {B.id, C.id, D.id})) == [Fence(old)]


def test_growing_adds_one_that_serves_and_shrinking_drains_before_it_releases() -> None:
    two = replace(WISH, amphorae=2, generation=3)
    assert plan(WISH, facts([A, B])) == [Borrow()]
    assert plan(WISH, facts([A, B, C], {A.id, B.id})) == [lead([A, B, C], [])]
    assert plan(two, facts([A, B, C])) == [lead([A, B], [C])]
    assert plan(two, facts([A, B, C], {A.id, B.id})) == [Release(C)]
    assert plan(two, facts([A, B, C], {A.id, C.id})) == [Release(B)]


def test_a_deleted_one_is_led_to_no_more_before_anything_else() -> None:
    gone = replace(WISH, deleted=True)
    assert plan(gone, facts([A, B, C])) == [Lead({}, [])]
    assert plan(gone, facts([A, B, C], set())) == [Release(A), Release(B), Release(C)]


def test_each_has_all_vips_where_no_neighbour_hears_of_them() -> None:
    cidrs = {VIA: "203.0.113.0/24", VIA6: "2001:db8:1::/64", BACK: "10.0.0.0/24"}
    subnets = {
        str(name): Subnet(id=name, name=name, network_id=NetworkId("n"), cidr=cidr, gateway_ip="x")
        for name, cidr in cidrs.items()
    }
    front, front6, back, local = interfaces(WISH, B, facts([A, B]), subnets)
    assert front.addresses == ("203.0.113.11/24",)
    assert [one.is_default for one in (front, front6, back)] == [True, True, False]
    assert [one.peers for one in (front, front6, back)] == [("203.0.113.10",), (), ()]
    assert (local.mac, local.addresses) == (LOCAL, ("192.0.2.7/32", "2001:db8:2::7/128"))
    found = led_to(WISH, [B, A], facts([A, B]))
    assert sorted(found) == ["192.0.2.7/32", "2001:db8:2::7/128"]
    hops = [hop.address for hop in found["192.0.2.7/32"].next_hops]
    assert hops == ["203.0.113.10", "203.0.113.11"]
    assert {route.owner for route in found.values()} == {"lb:lb"}
