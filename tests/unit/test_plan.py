# SPDX-License-Identifier: Apache-2.0
"""What the plan of a cluster promises, whatever is wished and whatever is there."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.controller.planning import (
    Borrow,
    Deploy,
    Facts,
    Fence,
    GiveBack,
    HandOver,
    Join,
    Plug,
    Release,
    Settle,
    Step,
    interfaces,
    own_port_id,
    plan,
)
from colonnade.domain.fleet import Amphora, Cluster, Topology
from colonnade.domain.ids import (
    AmphoraId,
    ClusterId,
    LoadBalancerId,
    MemberId,
    NetworkId,
    PoolId,
    PortId,
    ProjectId,
    SubnetId,
)
from colonnade.domain.lifecycle import State
from colonnade.domain.pools import Member, Pool
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import Algorithm, PoolProtocol
from colonnade.drivers.network.protocol import Port, Subnet

WEB = ClusterId("web")
VIP, VIP6 = PortId("vip"), PortId("vip6")
FRONT, BACK = SubnetId("front"), SubnetId("back")

BALANCER = LoadBalancer(
    id=LoadBalancerId("lb"),
    project_id=ProjectId("p"),
    cluster_id=WEB,
    provider="amphora",
    vip=Vip(address="203.0.113.7", port_id=VIP, subnet_id=FRONT, network_id=NetworkId("n")),
    additional_vips=(
        Vip(
            address="2001:db8:1::7",
            port_id=VIP6,
            subnet_id=SubnetId("front6"),
            network_id=NetworkId("n"),
        ),
    ),
    pools=(
        Pool(
            id=PoolId("pool"),
            protocol=PoolProtocol.TCP,
            lb_algorithm=Algorithm.ROUND_ROBIN,
            members=(
                Member(id=MemberId("m"), address="10.0.0.5", protocol_port=80, subnet_id=BACK),
            ),
        ),
    ),
)

NAMES = [AmphoraId(f"amphora-{n}") for n in range(4)]
names = st.sampled_from(NAMES)


def some_amphorae(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Amphora]]:
    """Up to four of the cluster, in any state; `more`: what each may have besides."""
    one = st.builds(
        Amphora,
        id=names,
        cluster_id=st.just(WEB),
        state=st.sampled_from([State.SERVING, State.LEAVING, State.FAILED, State.RETIRING]),
        applied=st.integers(0, 4),
        **more,
    )
    return st.lists(one, max_size=4, unique_by=lambda amphora: amphora.id)


def some_wishes(topology: Topology) -> st.SearchStrategy[Cluster]:
    return st.builds(
        Cluster,
        id=st.just(WEB),
        generation=st.integers(1, 4),
        topology=st.just(topology),
        deleted=st.booleans(),
        load_balancers=st.just((BALANCER,)),
    )


amphorae = some_amphorae()
wishes = some_wishes(Topology.SINGLE)
plugs = st.dictionaries(
    st.sampled_from([VIP, VIP6, *(own_port_id(name, BACK) for name in NAMES)]),
    st.none() | names,
)


def port(port_id: PortId, plugged_into: AmphoraId | None) -> Port:
    return Port(
        id=port_id,
        network_id=NetworkId("n"),
        subnet_id=FRONT if port_id == VIP else BACK,
        address="203.0.113.7",
        mac="02:00:00:00:00:01",
        plugged_into=plugged_into,
    )


def facts(present: Sequence[Amphora], plugged: Mapping[PortId, AmphoraId | None]) -> Facts:
    return Facts(
        amphorae=present, ports={name: port(name, owner) for name, owner in plugged.items()}
    )


def kinds(steps: Sequence[Step]) -> set[type[Step]]:
    return {type(step) for step in steps}


@given(wishes, amphorae, plugs)
def test_nothing_takes_the_place_of_an_unfenced_amphora(
    wanted: Cluster, present: list[Amphora], plugged: dict[PortId, AmphoraId | None]
) -> None:
    steps = plan(wanted, facts(present, plugged))
    failed = [a for a in present if a.state is State.FAILED]
    fenced = [step.amphora for step in steps if isinstance(step, Fence)]
    assert [amphora for amphora in fenced if amphora.state is State.FAILED] == failed
    if failed:
        assert kinds(steps) <= {Fence, Release}


@given(wishes, amphorae, plugs)
def test_one_that_leaves_is_fenced_only_when_it_has_no_vip_any_more(
    wanted: Cluster, present: list[Amphora], plugged: dict[PortId, AmphoraId | None]
) -> None:
    steps = plan(wanted, facts(present, plugged))
    fenced = [step.amphora for step in steps if isinstance(step, Fence)]
    leaving = {amphora.id for amphora in fenced if amphora.state is State.LEAVING}
    if leaving and not wanted.deleted:
        assert leaving.isdisjoint({plugged[VIP], plugged[VIP6]})


@given(wishes, amphorae, plugs)
def test_no_more_amphorae_are_borrowed_than_the_topology_needs(
    wanted: Cluster, present: list[Amphora], plugged: dict[PortId, AmphoraId | None]
) -> None:
    steps = plan(wanted, facts(present, plugged))
    serving = sum(a.state is State.SERVING for a in present)
    borrowed = sum(isinstance(step, Borrow) for step in steps)
    assert borrowed == 0 or serving + borrowed == wanted.size


@given(wishes, amphorae, plugs)
def test_only_serving_amphorae_are_wired_and_deployed_to(
    wanted: Cluster, present: list[Amphora], plugged: dict[PortId, AmphoraId | None]
) -> None:
    for step in plan(wanted, facts(present, plugged)):
        if isinstance(step, Plug | Join | Deploy):
            assert step.amphora.state is State.SERVING
            assert not wanted.deleted
        if isinstance(step, Deploy):
            assert step.amphora.applied < wanted.generation


@given(wishes, amphorae, plugs)
def test_a_vip_is_given_back_only_when_nobody_can_answer_for_it(
    wanted: Cluster, present: list[Amphora], plugged: dict[PortId, AmphoraId | None]
) -> None:
    steps = plan(wanted, facts(present, plugged))
    if GiveBack in kinds(steps):
        assert wanted.deleted
        assert not present


@given(wishes, amphorae, plugs)
def test_settled_means_that_all_serve_the_wish(
    wanted: Cluster, present: list[Amphora], plugged: dict[PortId, AmphoraId | None]
) -> None:
    steps = plan(wanted, facts(present, plugged))
    if Settle not in kinds(steps):
        return
    assert steps == [Settle()]
    serving = [a for a in present if a.state is State.SERVING]
    if wanted.deleted:
        assert not present
        assert not {VIP, VIP6} & plugged.keys()
        return
    assert len(serving) == wanted.size
    assert all(a.applied >= wanted.generation for a in serving)
    assert plugged[VIP] == plugged[VIP6] == serving[0].id
    for amphora in serving:
        assert plugged[own_port_id(amphora.id, BACK)] == amphora.id


@given(wishes, amphorae, plugs)
def test_a_plan_without_steps_waits_for_burials_only(
    wanted: Cluster, present: list[Amphora], plugged: dict[PortId, AmphoraId | None]
) -> None:
    if not plan(wanted, facts(present, plugged)):
        assert wanted.deleted
        assert {a.state for a in present} == {State.RETIRING}


OLD = Amphora(id=AmphoraId("old"), cluster_id=WEB, state=State.LEAVING, applied=3)
NEW = Amphora(id=AmphoraId("new"), cluster_id=WEB, state=State.SERVING)
WISH = Cluster(id=WEB, generation=3, load_balancers=(BALANCER,))


def test_one_that_is_replaced_keeps_its_vips_until_the_next_is_ready() -> None:
    vips: dict[PortId, AmphoraId | None] = {VIP: OLD.id, VIP6: OLD.id}
    joined = vips | {own_port_id(NEW.id, BACK): NEW.id}
    ready = replace(NEW, applied=3)
    moved = dict.fromkeys(joined, NEW.id)
    assert plan(WISH, facts([OLD], vips)) == [Borrow()]
    assert plan(WISH, facts([OLD, NEW], vips)) == [Join(NEW, BACK)]
    assert plan(WISH, facts([OLD, NEW], joined)) == [Deploy(NEW)]
    assert plan(WISH, facts([OLD, ready], joined)) == [HandOver(ready, [VIP, VIP6])]
    assert plan(WISH, facts([OLD, NEW], moved)) == [Deploy(NEW)]
    assert plan(WISH, facts([OLD, ready], moved)) == [Fence(OLD)]


def test_one_that_is_replaced_and_falls_silent_is_fenced_before_anything_else() -> None:
    silent = replace(OLD, state=State.FAILED)
    plugged: dict[PortId, AmphoraId | None] = {VIP: OLD.id, VIP6: OLD.id}
    assert plan(WISH, facts([silent, NEW], plugged)) == [Fence(silent)]


def test_a_vip_half_handed_over_is_handed_over_whole() -> None:
    ready = replace(NEW, applied=3)
    plugged: dict[PortId, AmphoraId | None] = {VIP: None, VIP6: OLD.id}
    plugged[own_port_id(NEW.id, BACK)] = NEW.id
    assert plan(WISH, facts([OLD, ready], plugged)) == [Plug(ready, VIP)]


def test_an_amphora_sets_up_only_the_vips_that_it_has() -> None:
    own = own_port_id(NEW.id, BACK)
    ports = {VIP: port(VIP, OLD.id), VIP6: port(VIP6, None), own: port(own, NEW.id)}
    subnet = Subnet(
        id=BACK, name="b", network_id=NetworkId("n"), cidr="10.0.0.0/8", gateway_ip=None
    )
    (found,) = interfaces(WISH, NEW, ports, {str(BACK): subnet, str(FRONT): subnet})
    assert not found.is_default


def test_the_first_vip_of_each_version_has_the_default_route() -> None:
    first = Amphora(id=AmphoraId("amphora-0"), cluster_id=WEB, state=State.SERVING)
    own = own_port_id(first.id, BACK)
    ports = {name: port(name, first.id) for name in (VIP, VIP6, own)}
    ports[VIP6] = replace(ports[VIP6], address="2001:db8:1::7", subnet_id=SubnetId("front6"))
    subnets = {
        name: Subnet(id=name, name=name, network_id=NetworkId("n"), cidr=cidr, gateway_ip=None)
        for name, cidr in (
            (FRONT, "203.0.113.0/24"),
            (SubnetId("front6"), "2001:db8:1::/64"),
            (BACK, "10.0.0.0/24"),
        )
    }
    wanted = Cluster(id=WEB, generation=1, load_balancers=(BALANCER,))
    found = interfaces(wanted, first, ports, {str(name): one for name, one in subnets.items()})
    assert [(x.addresses, x.is_default) for x in found] == [
        (("203.0.113.7/24",), True),
        (("2001:db8:1::7/64",), True),
        (("203.0.113.7/24",), False),
    ]


def test_one_that_leaves_takes_changes_while_nothing_takes_its_place() -> None:
    vips: dict[PortId, AmphoraId | None] = {VIP: OLD.id, VIP6: OLD.id}
    joined = vips | {own_port_id(OLD.id, BACK): OLD.id}
    behind = replace(OLD, applied=2)
    assert plan(WISH, facts([behind], vips)) == [Borrow((Join(behind, BACK),))]
    assert plan(WISH, facts([behind], joined)) == [Borrow((Deploy(behind),))]
    assert plan(WISH, facts([replace(behind, applied=3)], joined)) == [Borrow()]
    assert plan(WISH, facts([behind], dict.fromkeys(joined, NEW.id))) == [Borrow()]
