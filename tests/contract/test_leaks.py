# SPDX-License-Identifier: Apache-2.0
"""What nobody knows of is cleared away after a while, and nothing else ever is."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from colonnade.controller.leaks import DOUBTED_FROM, Leaks
from colonnade.domain.ids import AmphoraId, PortId, new_id
from colonnade.domain.lifecycle import State
from colonnade.drivers.compute.protocol import Boot, ComputeDriver, Instance
from colonnade.drivers.network.protocol import Port, PortWish
from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from tests.controller_acts import add_member, begun
from tests.fakes.network import PUBLIC_SUBNET
from tests.world import World


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=3)


async def port(world: World, owner: str) -> Port:
    wish = PortWish(id=PortId(new_id()), owner=owner, subnet_id=PUBLIC_SUBNET)
    return await world.network.create_port(wish)


async def instance(world: World) -> AmphoraId:
    amphora_id = AmphoraId(new_id())
    lb_port = await port(world, f"amphora:{amphora_id}")
    boot = Boot(amphora_id=amphora_id, lb_port_id=lb_port.id, config_drive={})
    await world.compute.create(boot)
    return amphora_id


async def things(world: World) -> set[str]:
    ports = {one.id for one in await world.network.ports()}
    return ports | {one.amphora_id for one in await world.compute.instances()}


async def test_what_we_made_and_no_row_knows_goes(database: Database, config: Config) -> None:
    world = await begun(database, config, add_member)
    before = await things(world)
    await instance(world)
    await port(world, f"lb:{new_id()}")
    await world.pass_once("leaks:%")
    assert await things(world) == before


async def test_it_stays_for_as_long_as_its_row_may_be_still_to_come(
    database: Database, config: Config
) -> None:
    world = await begun(database, config, add_member)
    patient = Leaks(database, world.network, world.compute)
    await instance(world)
    before = await things(world)
    for _ in range(3):
        await patient.reconcile("all")
    assert await things(world) == before


@pytest.mark.parametrize(
    "owner", ["user", "host:h", "compute:nova", "amphora", "amphora:x", "lb", "lb:x", "lb:", ""]
)
async def test_what_others_made_is_never_touched(
    database: Database, config: Config, owner: str
) -> None:
    world = await begun(database, config, add_member)
    theirs = await port(world, owner)
    for _ in range(2):
        await world.pass_once("leaks:%")
    assert theirs.id in await things(world)
    await world.delete()
    await world.settle()
    assert theirs.id in await things(world), "also not when all of ours goes"


async def test_what_rows_know_is_never_touched(database: Database, config: Config) -> None:
    world = await begun(database, config, add_member)
    before = await things(world)
    for _ in range(2):
        await world.pass_once("leaks:%")
    assert await things(world) == before
    await world.assert_served()


async def test_a_port_for_members_goes_with_the_last_of_them_and_comes_again(
    database: Database, config: Config
) -> None:
    world = await begun(database, config, add_member)
    at_first = await things(world)
    await world.drop_members()
    await world.pass_once("cluster:%")
    patient = Leaks(database, world.network, world.compute)
    await patient.reconcile("all")
    assert await things(world) == at_first, "requests may be under way"
    await world.pass_once("leaks:%")
    assert len(at_first - await things(world)) == 1
    async with database.read() as connection:
        cursor = await connection.execute("SELECT key FROM work WHERE key LIKE 'cluster:%'")
        assert await cursor.fetchall() == [(f"cluster:{world.cluster_id}",)]
    await world.settle()
    await world.add_member()
    await world.settle()
    assert await things(world) == at_first


async def test_where_most_is_unknown_the_database_is_doubted_and_nothing_goes(
    database: Database, config: Config
) -> None:
    """As with the connection string of another system."""
    world = await begun(database, config, add_member)
    before = await things(world)
    assert len(before) > DOUBTED_FROM
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM amphorae")
        await connection.execute("DELETE FROM load_balancers")
    with capture_logs() as logs:
        await world.pass_once("leaks:%")
    assert before <= await things(world)
    assert [one["log_level"] for one in logs if "right one" in one["event"]] == ["error"]


class Slow:
    """A compute service whose answer is old when it comes: the instance was made meanwhile, and
    the amphora is a spare by now."""

    def __init__(self, world: World, made: AmphoraId) -> None:
        self._world, self._made = world, made

    async def instances(self) -> Sequence[Instance]:
        found = await self._world.compute.instances()
        return [one for one in found if one.amphora_id != self._made]

    async def instance(self, amphora_id: AmphoraId) -> Instance | None:
        if amphora_id != self._made:
            return await self._world.compute.instance(amphora_id)
        await _is(self._world, amphora_id, "SPARE")
        return None


async def _is(world: World, amphora_id: AmphoraId, state: str) -> None:
    async with world.database.transaction() as connection:
        await connection.execute(
            "UPDATE amphorae SET state = %s, state_since = now() WHERE id = %s", [state, amphora_id]
        )


async def test_one_that_was_booting_at_the_look_is_not_given_up(
    database: Database, config: Config
) -> None:
    world = await begun(database, config, add_member)
    spare = next(one for one in await world.rows() if one.state is State.SPARE)
    await _is(world, spare.id, "BOOTING")
    compute = cast(ComputeDriver, Slow(world, spare.id))
    await Leaks(database, world.network, compute).reconcile("all")
    states = {one.id: one.state for one in await world.rows()}
    assert states[spare.id] is State.SPARE
    async with database.read() as connection:
        cursor = await connection.execute("SELECT key FROM work WHERE key LIKE 'amphora:%'")
        assert (f"amphora:{spare.id}",) in await cursor.fetchall(), "it is looked at again"
