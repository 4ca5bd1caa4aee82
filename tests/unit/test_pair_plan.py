# SPDX-License-Identifier: Apache-2.0
"""What the plan of a pair promises, whatever is wished and whatever is there."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.controller.pairs import interfaces, own_subnets, pair, plan, speaks, told
from colonnade.controller.planning import (
    Borrow,
    Deploy,
    Facts,
    Fence,
    GiveBack,
    HandOver,
    Join,
    Lead,
    Make,
    Plug,
    Release,
    Settle,
    StandDown,
    Step,
    own_port_id,
)
from colonnade.controller.routed import floating_ports
from colonnade.domain.fleet import Amphora, Cluster, Role, Topology
from colonnade.domain.ids import AmphoraId, NetworkId, PortId, SubnetId
from colonnade.domain.lifecycle import State
from colonnade.drivers.network.protocol import Port, Subnet
from tests.unit.test_plan import (
    BACK,
    BALANCER,
    FRONT,
    NAMES,
    VIP,
    VIP6,
    WEB,
    some_amphorae,
    some_wishes,
)

SUBNETS = (FRONT, SubnetId("front6"), BACK)
CIDRS = ("203.0.113.0/24", "2001:db8:1::/64", "10.0.0.0/24")
amphorae = some_amphorae(
    role=st.sampled_from([None, *Role]),
    peer_id=st.sampled_from([None, *NAMES]),
    vrrp_priority=st.sampled_from([240, 250]),
)
wishes = some_wishes(Topology.ACTIVE_STANDBY)
plugged = st.booleans()


def port(port_id: PortId, into: AmphoraId | None, number: int = 9) -> Port:
    return Port(
        id=port_id,
        network_id=NetworkId("n"),
        subnet_id=FRONT,
        address=f"203.0.113.{number}",
        mac=f"02:00:00:00:00:{number:02}",
        plugged_into=into,
    )


def facts(present: Sequence[Amphora], *, wired: bool = True, **more: object) -> Facts:
    ports = {name: port(name, None) for name in (VIP, VIP6)}
    for number, amphora in enumerate(present if wired else ()):
        for subnet in SUBNETS:
            name = own_port_id(amphora.id, subnet)
            ports[name] = port(name, amphora.id, 10 + number)
    return Facts(amphorae=present, ports=ports, **more)  # type: ignore[arg-type]


def every(steps: Sequence[Step]) -> Sequence[Step]:
    """Also those that are taken when there is no spare."""
    return [one for s in steps for one in (s, *(s.otherwise if isinstance(s, Borrow) else ()))]


def kinds(steps: Sequence[Step]) -> set[type[Step]]:
    return {type(step) for step in steps}


@given(wishes, amphorae, plugged)
def test_nothing_is_done_beside_an_unfenced_half(
    wanted: Cluster, present: list[Amphora], wired: bool
) -> None:
    steps = plan(wanted, facts(present, wired=wired))
    failed = [a for a in present if a.state is State.FAILED]
    fenced = [step.amphora for step in steps if isinstance(step, Fence)]
    assert [amphora for amphora in fenced if amphora.state is State.FAILED] == failed
    if failed:
        assert kinds(steps) <= {Fence, Release}


@given(wishes, amphorae, plugged)
def test_no_vip_is_plugged_and_no_more_are_borrowed_than_two(
    wanted: Cluster, present: list[Amphora], wired: bool
) -> None:
    steps = plan(wanted, facts(present, wired=wired))
    assert not kinds(steps) & {Plug, HandOver}
    serving = sum(a.state is State.SERVING for a in present)
    borrowed = sum(isinstance(step, Borrow) for step in steps)
    assert borrowed == 0 or serving + borrowed == 2


@given(wishes, amphorae)
def test_whoever_holds_the_vips_is_fenced_only_when_it_failed_or_stood_down(
    wanted: Cluster, present: list[Amphora]
) -> None:
    steps = plan(wanted, facts(present))
    others = [a for a in present if a.state is State.SERVING and a.role is Role.MASTER]
    for step in steps:
        if isinstance(step, Fence) and step.amphora.state is State.LEAVING and not wanted.deleted:
            masters = [a for a in present if a.role is Role.MASTER and a.state is State.LEAVING]
            assert step.amphora.role is not Role.MASTER or others or step.amphora != masters[0]


@given(wishes, amphorae)
def test_one_stands_down_only_for_one_that_serves_all_and_listens_to_it(
    wanted: Cluster, present: list[Amphora]
) -> None:
    for step in plan(wanted, facts(present)):
        if isinstance(step, StandDown):
            (other,) = [a for a in pair(facts(present)) if a.id != step.amphora.id]
            assert step.amphora.state is State.LEAVING
            assert other.applied >= wanted.generation
            assert other.peer_id == step.amphora.id


@given(wishes, amphorae)
def test_one_that_is_new_speaks_only_when_the_other_was_told_of_it(
    wanted: Cluster, present: list[Amphora]
) -> None:
    seen = facts(present)
    halves = pair(seen)
    for step in every(plan(wanted, seen)):
        if isinstance(step, Deploy) and step.amphora.role is None and step.amphora.applied == 0:
            for other in halves:
                alike = other.role is None and other.applied == 0
                assert other.id == step.amphora.id or alike or other.peer_id == step.amphora.id


@given(wishes, amphorae)
def test_settled_means_that_both_serve_the_wish_and_know_each_other(
    wanted: Cluster, present: list[Amphora]
) -> None:
    steps = plan(wanted, facts(present))
    if Settle not in kinds(steps) or wanted.deleted:
        return
    assert steps == [Settle()]
    one, other = [a for a in present if a.state is State.SERVING]
    assert (one.peer_id, other.peer_id) == (other.id, one.id)
    assert min(one.applied, other.applied) >= wanted.generation
    assert not any(a.state is State.LEAVING for a in present)


@given(wishes, amphorae)
def test_the_vips_are_given_back_only_when_nobody_can_answer_for_them(
    wanted: Cluster, present: list[Amphora]
) -> None:
    steps = plan(wanted, facts(present))
    if GiveBack in kinds(steps):
        assert wanted.deleted
        assert not present


WISH = Cluster(id=WEB, generation=3, topology=Topology.ACTIVE_STANDBY, load_balancers=(BALANCER,))
A = Amphora(
    id=NAMES[0],
    cluster_id=WEB,
    state=State.SERVING,
    applied=3,
    role=Role.MASTER,
    peer_id=NAMES[1],
    vrrp_priority=250,
)
B = replace(A, id=NAMES[1], role=Role.BACKUP, peer_id=NAMES[0], vrrp_priority=240)
C = Amphora(id=NAMES[2], cluster_id=WEB, state=State.SERVING, vrrp_priority=250)
D = replace(C, id=NAMES[3], vrrp_priority=240)


def test_a_change_goes_to_the_standby_first() -> None:
    changed = replace(WISH, generation=4)
    ready = replace(B, applied=4)
    assert plan(changed, facts([A, B])) == [Deploy(B)]
    assert plan(changed, facts([A, ready])) == [Deploy(A)]
    assert plan(changed, facts([replace(A, applied=4), ready])) == [Settle()]


def test_a_standby_that_does_not_answer_keeps_no_change_from_the_active_one() -> None:
    seen = facts([A, B], unreached=frozenset([B.id]))
    assert plan(replace(WISH, generation=4), seen) == [Deploy(A), Deploy(B)]


def test_a_new_pair_is_told_at_once() -> None:
    assert plan(WISH, facts([])) == [Borrow(), Borrow()]
    assert plan(WISH, facts([C, D])) == [Deploy(C), Deploy(D)]


def test_where_there_is_one_spare_only_it_serves_and_is_told_of_the_other_first() -> None:
    assert plan(WISH, facts([C])) == [Borrow((Deploy(C),))]
    alone = replace(C, applied=3, role=Role.MASTER)
    assert plan(WISH, facts([alone])) == [Borrow()]
    assert plan(replace(WISH, generation=4), facts([alone])) == [Borrow((Deploy(alone),))]
    assert plan(WISH, facts([alone, D])) == [Deploy(alone)]
    assert plan(WISH, facts([replace(alone, peer_id=D.id), D])) == [Deploy(D)]


def test_a_lost_half_is_replaced_and_the_one_left_is_told_of_the_next_first() -> None:
    lost = replace(B, state=State.FAILED)
    assert plan(WISH, facts([A, lost])) == [Fence(lost)]
    assert plan(WISH, facts([A])) == [Borrow((Deploy(A),))]
    assert kinds(plan(WISH, facts([A, C], wired=False))) == {Join}
    assert plan(WISH, facts([A, C])) == [Deploy(A)]
    assert plan(WISH, facts([replace(A, peer_id=C.id), C])) == [Deploy(C)]


def test_one_that_stays_alone_forgets_the_half_that_is_gone() -> None:
    assert plan(WISH, facts([A])) == [Borrow((Deploy(A),))]
    alone = replace(A, peer_id=None)
    assert plan(WISH, facts([alone])) == [Borrow()]
    found = speaks(WISH, alone, facts([alone]))
    assert (found.own, found.peer) == ("203.0.113.10", "")


def test_a_standby_that_leaves_goes_when_a_spare_is_there() -> None:
    old = replace(B, state=State.LEAVING)
    assert plan(WISH, facts([A, old])) == [Borrow()]
    assert plan(WISH, facts([A, old, C])) == [Fence(old)]
    assert plan(WISH, facts([A, C])) == [Deploy(A)]


def test_the_active_one_that_leaves_stands_down_when_a_spare_is_there() -> None:
    old = replace(A, state=State.LEAVING)
    assert plan(WISH, facts([old, B])) == [Borrow()]
    assert plan(WISH, facts([old, B, C])) == [StandDown(old)]
    taken = replace(B, role=Role.MASTER)
    assert plan(WISH, facts([taken, C])) == [Deploy(taken)]


def test_both_halves_that_leave_do_so_one_after_the_other() -> None:
    one, other = replace(A, state=State.LEAVING), replace(B, state=State.LEAVING)
    assert plan(WISH, facts([one, other])) == [Borrow(), Borrow()]
    # A spare that comes alone is told to none of them while the other still listens to it.
    assert plan(WISH, facts([one, other, C])) == [Borrow((Fence(other),))]
    assert plan(WISH, facts([one, other, C, D])) == [Fence(other)]
    assert plan(WISH, facts([one, C, D])) == [Deploy(one)]
    one = replace(one, peer_id=C.id)
    assert plan(WISH, facts([one, C, D])) == [Deploy(C)]
    ready = replace(C, applied=3, role=Role.BACKUP, peer_id=one.id)
    assert plan(WISH, facts([one, ready, D])) == [StandDown(one)]
    taken = replace(ready, role=Role.MASTER)
    assert plan(WISH, facts([taken, D])) == [Deploy(taken)]
    assert plan(WISH, facts([replace(taken, peer_id=D.id), D])) == [Deploy(D)]


def test_a_routed_pair_leads_its_vips_to_one_address_before_it_serves() -> None:
    via = replace(BALANCER, vip=replace(BALANCER.vip, via_subnet_id=FRONT), additional_vips=())
    wish = replace(WISH, load_balancers=(via,))
    (floating,) = floating_ports(wish)
    seen = facts([A, B])
    assert plan(wish, seen) == [Make(floating)]
    ports = {**seen.ports, floating.id: replace(port(floating.id, None), address="203.0.113.99")}
    made = replace(seen, ports=ports)
    (step,) = plan(wish, made)
    assert isinstance(step, Lead)
    (route,) = step.routes.values()
    assert [hop.address for hop in route.next_hops] == ["203.0.113.99"]
    led = replace(made, routes=step.routes)
    assert plan(wish, led) == [Settle()]
    assert plan(replace(wish, deleted=True), led) == [Lead({})]


def test_each_half_has_addresses_of_its_own_and_the_vips_float() -> None:
    seen = facts([A, B])
    subnets = {
        str(name): Subnet(id=name, name=name, network_id=NetworkId("n"), cidr=cidr, gateway_ip=None)
        for name, cidr in zip(SUBNETS, CIDRS, strict=True)
    }
    assert own_subnets(WISH) == list(SUBNETS)
    front, front6, back = interfaces(WISH, B, seen.ports, subnets)
    assert front.addresses == ("203.0.113.11/24",)
    assert front.floating == ("203.0.113.7/24",)
    assert front6.floating == ("2001:db8:1::7/64",)
    assert (front.is_default, back.is_default, back.floating) == (True, False, ())
    found = speaks(WISH, B, seen)
    assert (found.own, found.peer, found.priority) == ("203.0.113.11", "203.0.113.10", 240)
    assert told(WISH, B, seen)[0] == A.id
