# SPDX-License-Identifier: Apache-2.0
"""The control plane does what is wished, and says why when it cannot.

What it does when any call on the way fails is in `tests/integration/test_controller_faults.py`.
"""

import asyncio
from pathlib import Path

import msgspec
import pytest

from colonnade.domain.ids import AmphoraId, PortId, SubnetId, derived_id, new_id
from colonnade.domain.lifecycle import State
from colonnade.drivers.compute.protocol import Boot
from colonnade.drivers.network.protocol import PortWish
from colonnade.protocol.messages import AgentConfig
from colonnade.runtime.config import Config, Reloads
from colonnade.store.postgres.database import Database
from tests.controller_acts import ACTS, Act, add_member, assert_right, begun, create, silence
from tests.world import World


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=1)


@pytest.mark.parametrize("act", ACTS)
async def test_it_settles(database: Database, config: Config, act: Act) -> None:
    world = await begun(database, config, act)
    await act(world)
    await world.settle()
    await assert_right(world, act)


async def test_a_rejected_wish_is_told_and_the_old_one_keeps_serving(
    database: Database, config: Config
) -> None:
    world = await begun(database, config, add_member)
    (amphora_id,) = world.answering()
    world.amphorae.hated_ports = {80}
    await world.add_member()
    await world.pass_once()
    assert world.answering() == {amphora_id}
    assert await world.failure() == (2, "Rejected", "cannot bind port 80")
    world.amphorae.hated_ports = set()
    await world.settle()
    assert await world.failure() is None
    await assert_right(world, add_member)


async def test_a_wish_that_no_driver_can_meet_is_told_by_its_reason(
    database: Database, config: Config
) -> None:
    world = await begun(database, config, add_member)
    await world.add_member(subnet_id=SubnetId("00000000-0000-0000-0000-000000000001"))
    await world.pass_once()
    failure = await world.failure()
    assert failure is not None
    assert failure[:2] == (2, "NotFound")


async def test_without_a_spare_a_cluster_waits_and_one_is_made(
    database: Database, config: Config
) -> None:
    world = await World.begin(database, msgspec.structs.replace(config, spares=0))
    await world.settle()
    assert await world.rows() == []
    await world.create()
    await world.settle()
    await assert_right(world, create)


async def test_a_dead_spare_is_passed_over(database: Database, config: Config) -> None:
    world = await World.begin(database, msgspec.structs.replace(config, spares=2))
    await world.settle()
    dead = (await world.rows())[0].id  # the oldest is lent first
    world.power_cut(dead)
    await world.create()
    await world.pass_once("cluster:%")
    assert len(world.answering()) == 1
    assert dead not in world.answering()
    await world.settle()
    await assert_right(world, create)


async def test_a_spare_that_never_answers_is_given_up_after_some_tries(
    database: Database, config: Config
) -> None:
    world = await World.begin(database, msgspec.structs.replace(config, spares=2))
    await world.settle()
    mute = (await world.rows())[0].id
    world.amphorae.cut_off.add(mute)
    await world.create()
    for _ in range(3):
        assert world.answering() == set()
        await world.pass_once("cluster:%")
    assert len(world.answering()) == 1
    await world.settle()
    await assert_right(world, create)


async def test_a_failover_takes_one_pass(database: Database, config: Config) -> None:
    world = await begun(database, config, silence)
    old = world.cut_off()
    await world.beat()
    await world.pass_once("cluster:%")
    assert world.answering()
    assert old not in world.answering()
    assert old not in world.network.amphorae


async def test_where_amphorae_run_is_known_and_why_one_was_replaced_is_kept(
    database: Database, config: Config
) -> None:
    world = await begun(database, config, silence)
    old = world.kill()
    await world.pass_once("leaks:all")
    async with database.read() as connection:
        cursor = await connection.execute("SELECT amphora_id, host, cause FROM failovers")
        assert await cursor.fetchall() == [(old, "fake", "not_running")]
    await world.settle()


async def test_an_amphora_that_freezes_while_it_is_told_is_fenced_without_waiting_for_it(
    database: Database, config: Config
) -> None:
    world = await begun(database, config, silence)
    frozen = world.cut_off()
    world.amphorae.frozen.add(frozen)
    await world.add_member()
    telling = asyncio.create_task(world.pass_once("cluster:%"))
    await world.amphorae.holding.wait()
    await world.beat()  # a receiver misses it meanwhile
    async with asyncio.timeout(5):
        await telling
    await world.pass_once("cluster:%")
    assert len(world.answering()) == 1
    assert frozen not in world.network.amphorae
    await world.settle()
    await assert_right(world, silence)


async def test_an_amphora_that_could_not_be_told_is_notified(
    database: Database, config: Config
) -> None:
    world = await begun(database, config, add_member)
    deaf = world.cut_off()
    await world.add_member()
    await world.pass_once("cluster:%")
    assert world.amphorae.notified == [deaf]
    world.amphorae.cut_off.clear()
    await world.settle()
    assert world.answering() == {deaf}
    await assert_right(world, add_member)


async def test_a_port_that_the_user_brought_outlives_the_load_balancer(
    database: Database, config: Config
) -> None:
    world = await World.begin(database, config)
    await world.create(owned=False)
    await world.settle()
    await world.delete()
    await world.settle()
    (port,) = [p for p in await world.network.ports() if p.owner == "user"]
    assert port.plugged_into is None
    await world.assert_nothing_leaked()


async def test_what_nobody_knows_is_removed(database: Database, config: Config) -> None:
    world = await begun(database, config, add_member)
    stranger = AmphoraId(new_id())
    lb_subnet = await world.network.lb_subnet()
    port_id = PortId(new_id())
    for owner, name in ((f"amphora:{stranger}", port_id), (f"lb:{new_id()}", PortId(new_id()))):
        wish = PortWish(id=name, owner=owner, subnet_id=lb_subnet.id)
        await world.network.create_port(wish)
    await world.compute.create(Boot(amphora_id=stranger, lb_port_id=port_id, config_drive={}))
    await world.settle()
    await assert_right(world, add_member)
    owners = {p.owner for p in await world.network.ports()}
    assert f"amphora:{stranger}" not in owners
    assert {o for o in owners if o.startswith("lb:")} == {f"lb:{world.load_balancer_id}"}


async def test_a_subnet_without_members_is_left(database: Database, config: Config) -> None:
    world = await begun(database, config, add_member)
    await world.drop_members()
    await world.settle()
    (serving,) = [a for a in await world.rows() if a.state is State.SERVING]
    own = [p for p in await world.network.ports() if p.owner == f"amphora:{serving.id}"]
    assert [p.id for p in own] == [derived_id(serving.id, "lb")]
    assert len(world.amphorae.interfaces[serving.id]) == 1


async def test_an_amphora_is_born_with_the_operators_limits(
    database: Database, tmp_path: Path
) -> None:
    wish = Reloads(pause_s=7.0, old_workers_max=3, memory_reserve_mib=99)
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=1, reloads=wish)
    world = await World.begin(database, config)
    await world.settle()
    (boot,) = world.compute.boots.values()
    born = msgspec.json.decode(boot.config_drive["agent.json"], type=AgentConfig)
    assert (born.reload_pause_s, born.old_workers_max, born.memory_reserve_mib) == (7.0, 3, 99)
