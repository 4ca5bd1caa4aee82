# SPDX-License-Identifier: Apache-2.0
"""The control plane converges, whatever fails on the way.

The calls of a run without faults are counted, and then each of them is made to fail, to lose its
answer, and to be where the controller is killed. Afterwards the right amphora answers, one VIP
had one owner at every moment, and nothing is left over.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from colonnade.runtime.config import Config
from colonnade.store.database import Database
from tests.world import Fault, World

Act = Callable[[World], Awaitable[None]]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=1)


async def create(world: World) -> None:
    await world.create()


async def add_member(world: World) -> None:
    await world.add_member(2)


async def silence(world: World) -> None:
    world.cut_off()


async def kill(world: World) -> None:
    world.kill()


async def delete(world: World) -> None:
    await world.delete()


async def begun(database: Database, config: Config, act: Act) -> World:
    """A world in which the act is the next thing to happen."""
    world = await World.begin(database, config)
    await world.settle()
    if act is not create:
        await world.create()
        await world.settle()
    return world


async def assert_right(world: World, act: Act) -> None:
    if act is delete:
        await world.assert_gone()
    else:
        await world.assert_served()
    await world.assert_nothing_leaked()


ACTS = [create, add_member, silence, kill, delete]


@pytest.mark.parametrize("act", ACTS)
async def test_it_settles(database: Database, config: Config, act: Act) -> None:
    world = await begun(database, config, act)
    await act(world)
    await world.settle()
    await assert_right(world, act)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("act", ACTS)
async def test_a_fault_at_any_call_is_repaired_by_a_later_pass(
    database: Database, config: Config, act: Act, fault: Fault
) -> None:
    world = await begun(database, config, act)
    before = world.faults.calls
    await act(world)
    await world.settle()
    names = world.faults.names[before:]
    assert len(names) > 3
    for at in range(1, len(names) + 1):
        world = await begun(database, config, act)
        await act(world)
        world.faults.plan(at, fault)
        await world.settle()
        assert world.faults.struck == 1, f"call {at} of {names} was never made"
        try:
            await assert_right(world, act)
        except AssertionError as error:
            raise AssertionError(f"{fault.value}: call {at} of {names}") from error
