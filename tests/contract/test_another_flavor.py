# SPDX-License-Identifier: Apache-2.0
"""A load balancer gets another flavor in place: what is refused, what is kept, what amphorae do."""

from pathlib import Path
from typing import Any

import pytest

from colonnade.domain.catalogue import NO_ID, Sizing
from colonnade.domain.errors import OutOfCapacity
from colonnade.domain.fleet import FrontEnd, Topology
from colonnade.domain.ids import LoadBalancerId, PortId, new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.drivers.network.protocol import PortWish
from colonnade.providers.enabled import Ours, enabled_providers
from colonnade.providers.provider import VipWish
from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from tests.contract import test_many_active as many_active
from tests.contract import test_routed_pairs as routed_pairs
from tests.contract.api_client import ALL, Api, api, serving
from tests.contract.test_catalogue import flavor, profile
from tests.contract.test_pairs import halves
from tests.fakes.faults import Fault
from tests.fakes.network import PUBLIC_SUBNET, FakeNetwork
from tests.world import World

__all__ = ["api"]

NOBODY = "11111111-2222-3333-4444-555555555555"
PAIR = Sizing(topology=Topology.ACTIVE_STANDBY, advert_ms=50)
ALONE = Sizing()
ONE_LED_TO = Sizing(front_end=FrontEnd.ROUTED)
OTHERS = Sizing(flavor=NOBODY)  # of other machines


async def _flavor(api: Api, provider: str = "noop", **data: Any) -> str:
    made = await profile(api, data=data, provider_name=provider)
    return str((await flavor(api, flavor_profile_id=made["id"]))["id"])


async def _put(api: Api, root: Any, flavor_id: Any, status: int = 200, more: str = "") -> Any:
    body = {"loadbalancer": {"flavor_id": flavor_id}}
    answer = await api.put(f"loadbalancers/{root['id']}{more}", body, status)
    return answer["faultstring"] if status >= 400 else answer


async def _cluster(database: Database, root: Any) -> tuple[Any, ...]:
    async with database.read() as connection:
        cursor = await connection.execute(
            """SELECT topology, advert_ms, flavor FROM clusters c
            JOIN load_balancers b ON b.cluster_id = c.id WHERE b.id = %s""",
            [root["id"]],
        )
        row = await cursor.fetchone()
    assert row is not None
    return tuple(row)


async def test_it_is_changed_shown_told_and_taken_back(api: Api, database: Database) -> None:
    pair = await _flavor(api, loadbalancer_topology="ACTIVE_STANDBY", vrrp_advert_ms=50)
    own = await _flavor(api, spare_pool_size=1)
    root = await api.load_balancer("noop")
    changed = (await _put(api, root, pair))["loadbalancer"]
    assert (changed["flavor_id"], changed["topology"]) == (pair, "ACTIVE_STANDBY")
    assert changed["vip_address"] == root["vip_address"]
    assert await _cluster(database, root) == ("ACTIVE_STANDBY", 50, "default")
    await _put(api, root, own)
    assert await _cluster(database, root) == ("SINGLE", 100, own)
    history = (await api.get(f"loadbalancers/{root['id']}/history"))["history"]
    (change,) = history[0]["changes"]
    assert (change["before"], change["after"]) == ({"flavor_id": pair}, {"flavor_id": own})
    await api.delete(f"flavors/{own}", 409)
    await api.delete(f"flavors/{pair}")  # nobody has it any more
    back = (await _put(api, root, NO_ID))["loadbalancer"]
    assert (back["flavor_id"], back["topology"]) == (None, "SINGLE")
    await _put(api, root, NO_ID)
    assert len((await api.get(f"loadbalancers/{root['id']}/history"))["history"]) == 4


async def test_a_tree_that_is_put_may_name_another_and_one_that_names_none_keeps_it(
    api: Api, database: Database
) -> None:
    pair = await _flavor(api, loadbalancer_topology="ACTIVE_STANDBY")
    root = await api.load_balancer("noop")
    path = f"loadbalancers/{root['id']}/tree"
    await api.put(path, {"loadbalancer": {"flavor_id": pair}})
    assert (await _cluster(database, root))[0] == "ACTIVE_STANDBY"
    document = await api.get(path)
    assert document["loadbalancer"]["flavor_id"] == pair
    await api.put(f"flavors/{pair}", {"flavor": {"enabled": False}})
    await api.put(path, document)  # which changes nothing, so nobody is asked for it
    await api.put(path, {"loadbalancer": {"name": "x"}})
    assert (await _cluster(database, root))[0] == "ACTIVE_STANDBY"
    rolled = await api.post(f"loadbalancers/{root['id']}/rollback", {"generation": 1}, 200)
    assert rolled["loadbalancer"]["flavor_id"] == pair


async def test_a_dry_run_says_what_would_be_replaced_and_changes_nothing(
    api: Api, database: Database
) -> None:
    own = await _flavor(api, "amphora", spare_pool_size=0)
    root = await api.load_balancer("amphora", vip_subnet_id=PUBLIC_SUBNET)
    tried = (await _put(api, root, own, more="?dry_run=true"))["dry_run"]
    assert tried["changes"][0]["after"] == {"flavor_id": own}
    assert tried["configuration"]["action"] == "replace"
    assert (await _cluster(database, root))[2] == "default"


async def test_what_cannot_be_is_refused_and_changes_nothing(api: Api, database: Database) -> None:
    root = await api.load_balancer("amphora", vip_subnet_id=PUBLIC_SUBNET)
    limited = await _flavor(api, "amphora", connection_limit_max=10)
    other = await _flavor(api)
    many = await _flavor(api, "amphora", loadbalancer_topology="ACTIVE_ACTIVE")
    closed = await _flavor(api, "amphora")
    await api.put(f"flavors/{closed}", {"flavor": {"enabled": False}})
    await api.listener(root)
    before = await _cluster(database, root)
    for flavor_id, said in (
        (NOBODY, f"Flavor {NOBODY} not found."),
        (other, f"Flavor '{other}' is not compatible with provider 'amphora'"),
        (closed, f"The selected flavor is not allowed in this deployment: {closed}"),
        (limited, "connection_limit must be given and at most 10, as the flavor says"),
        (many, "the flavor's front end is routed: choose a subnet that a router leads"),
        (None, "Unknown attribute for argument loadbalancer: flavor_id"),
    ):
        assert said in await _put(api, root, flavor_id, 400)
    shown = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert shown["flavor_id"] is None
    assert await _cluster(database, root) == before
    history = (await api.get(f"loadbalancers/{root['id']}/history"))["history"]
    assert len(history) == 2  # it, and its listener


async def test_a_pair_needs_room_beside_the_vip() -> None:
    network = FakeNetwork()
    subnet_id = network.add("small", "172.30.0.0/29")
    providers = enabled_providers(
        ALL, default="amphora", network=network, ours=Ours(serves_pairs=True)
    )
    provider = providers.get("amphora")
    wish = VipWish(load_balancer_id=LoadBalancerId(new_id()), subnet_id=subnet_id)
    vip = await provider.allocate_vip(wish)
    await provider.check_size([vip], PAIR)
    while await network.free_addresses(subnet_id) > 1:
        await network.create_port(PortWish(id=PortId(new_id()), owner="u", subnet_id=subnet_id))
    with pytest.raises(OutOfCapacity, match="each of 2 amphorae takes one"):
        await provider.check_size([vip], PAIR)
    await provider.check_size([vip], ALONE)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=2)


@pytest.fixture
async def world(database: Database, config: Config) -> World:
    """One amphora that serves, and two spares."""
    return await World.that_serves(database, config)


async def test_one_becomes_a_pair_and_one_again_and_at_no_moment_do_two_answer(
    world: World,
) -> None:
    (first,) = world.answering()
    await world.resize(PAIR)
    await world.settle()
    assert world.network.doubled == []
    active, standby = await halves(world)
    assert first not in {a.id for a in await world.rows()}
    assert world.amphorae.drained == [first]
    assert not world.answering(), "no VIP of a pair is plugged"
    await world.assert_nothing_leaked()
    await world.resize(ALONE)
    await world.settle()
    await world.assert_served()
    assert {active.id, standby.id}.isdisjoint(a.id for a in await world.rows())
    await world.assert_nothing_leaked()


async def test_other_machines_take_the_place_of_those_that_do_not_fit(world: World) -> None:
    (first,) = world.answering()
    await world.resize(OTHERS)
    await world.settle()
    (amphora,) = [a for a in await world.rows() if a.state is State.SERVING]
    assert (amphora.flavor, amphora.id != first) == (NOBODY, True)
    await world.assert_served()


async def test_without_spares_what_is_there_serves_and_takes_changes(world: World) -> None:
    world.compute.before = _refused
    for _ in range(2):  # the two spares are lost, and no other is born
        spare = next(a for a in await world.rows() if a.state is State.SPARE)
        world.power_cut(spare.id)
        await world.beat()
        await world.pass_once()
    (first,) = world.answering()
    await world.resize(PAIR)
    await world.pass_once("cluster:%")
    await world.add_member()
    await world.pass_once("cluster:%")
    assert world.answering() == {first}
    assert world.amphorae.serving[first].generation == 3
    world.compute.before = lambda _: None
    await world.settle()
    await halves(world)


async def test_a_pair_without_spares_goes_on_as_one_and_takes_changes(world: World) -> None:
    await world.resize(PAIR)
    await world.settle()
    active, standby = await halves(world)
    world.compute.before = _refused
    for _ in range(2):
        spare = next(a for a in await world.rows() if a.state is State.SPARE)
        world.power_cut(spare.id)
        await world.beat()
        await world.pass_once()
    await world.resize(ALONE)
    await world.pass_once("cluster:%")
    await world.add_member()
    await world.pass_once("cluster:%")
    assert world.network.holding() == [active.id]
    for half in (active, standby):
        assert world.amphorae.serving[half.id].generation == 4
    world.compute.before = lambda _: None
    await world.settle()
    await world.assert_served()
    await world.assert_nothing_leaked()


async def _routed(database: Database, tmp_path: Path, size: Sizing) -> World:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=3)
    return await World.that_serves(database, config, size, vips=("192.0.2.0/24",))


async def test_on_a_routed_front_end_a_pair_becomes_many_and_a_pair_and_is_always_led_to(
    database: Database, tmp_path: Path
) -> None:
    world = await _routed(database, tmp_path, routed_pairs.SIZE)
    before = {half.id for half in await routed_pairs.halves(world)}
    calls: list[str] = []
    world.network.before = calls.append
    await world.resize(many_active.SIZE)
    await world.settle()
    rows = await many_active.serve(world)
    assert len(rows) == 3
    assert before.isdisjoint(a.id for a in rows)
    assert set(world.amphorae.drained) == before
    await world.resize(routed_pairs.SIZE)
    await world.settle()
    await routed_pairs.halves(world)
    assert {a.id for a in rows}.isdisjoint(a.id for a in await world.rows())
    assert "network.delete_route" not in calls
    await world.delete()
    await world.settle()
    await world.assert_gone()
    assert list(await world.network.routes()) == []


async def test_on_a_routed_front_end_one_grows_to_many_stays_among_them_and_is_one_again(
    database: Database, tmp_path: Path
) -> None:
    world = await _routed(database, tmp_path, ONE_LED_TO)
    (first,) = await many_active.serve(world)
    calls: list[str] = []
    world.network.before = calls.append
    await world.resize(many_active.SIZE)
    await world.settle()
    rows = await many_active.serve(world)
    assert (len(rows), first.id in {a.id for a in rows}) == (3, True)
    assert world.amphorae.drained == []
    await world.resize(ONE_LED_TO)
    await world.settle()
    assert len(await many_active.serve(world)) == 1
    await world.resize(routed_pairs.SIZE)
    await world.settle()
    await routed_pairs.halves(world)
    await world.resize(ONE_LED_TO)
    await world.settle()
    assert len(await many_active.serve(world)) == 1
    assert "network.delete_route" not in calls
    await world.delete()
    await world.settle()
    await world.assert_gone()


async def test_one_led_to_is_replaced_as_one_of_many(database: Database, tmp_path: Path) -> None:
    world = await _routed(database, tmp_path, ONE_LED_TO)
    (first,) = await many_active.serve(world)
    world.power_cut(first.id)
    await world.settle()
    (second,) = await many_active.serve(world)
    await many_active.advance(world, second, Event.ASKED_TO_LEAVE)
    await world.settle()
    assert len(await many_active.serve(world)) == 1
    assert world.amphorae.drained == [second.id]


async def test_a_vip_stays_where_it_is_so_another_front_end_is_refused(
    database: Database,
) -> None:
    network = FakeNetwork()
    vips = network.add("vips", "192.0.2.0/24", via="public")
    async with serving(database, network) as api:
        one = await many_active.flavor(api, '{"front_end": "routed"}')
        many = await many_active.flavor(api, '{"loadbalancer_topology": "ACTIVE_ACTIVE"}')
        body = {"vip_subnet_id": vips, "flavor_id": one}
        root = (await api.post("loadbalancers", {"loadbalancer": body}))["loadbalancer"]
        assert (root["topology"], root["flavor_id"]) == ("SINGLE", one)
        assert (await _put(api, root, many))["loadbalancer"]["topology"] == "ACTIVE_ACTIVE"
        for more in ("", "?dry_run=true"):
            said = await _put(api, root, NO_ID, 400, more)
            assert "A VIP stays on its subnet" in said
            assert f"Nobody is on subnet {vips}" in said
        assert (await _cluster(database, root))[0] == "ACTIVE_ACTIVE"
        body = {"vip_subnet_id": PUBLIC_SUBNET}
        beside = (await api.post("loadbalancers", {"loadbalancer": body}))["loadbalancer"]
        for flavor_id in (one, many):
            said = await _put(api, beside, flavor_id, 400)
            assert f"A VIP stays on its subnet. Subnet {PUBLIC_SUBNET}" in said


def _refused(call: str) -> None:
    if call == "compute.create":
        raise OutOfCapacity("no host")


@pytest.mark.parametrize("passes", range(8))
@pytest.mark.parametrize("last", [PAIR, ALONE])
async def test_a_change_that_is_changed_on_its_way_ends_as_it_was_wished_last(
    world: World, passes: int, last: Sizing
) -> None:
    if last is PAIR:
        await world.resize(PAIR)
        await world.settle()
    await world.resize(PAIR if last is ALONE else ALONE)
    world.faults.plan(10 + 6 * passes, Fault.KILLED)
    await world.pass_once("cluster:%")
    await world.resize(last)
    await world.settle()
    assert world.network.doubled == []
    assert world.amphorae.vrrp.doubled == []
    if last is PAIR:
        await halves(world)
    else:
        await world.assert_served()
    await world.assert_nothing_leaked()
