# SPDX-License-Identifier: Apache-2.0
"""The control plane converges, whatever fails on the way.

The calls of a run without faults are counted, and then each of them is made to fail, to lose its
answer, and to be where the controller is killed. Afterwards the right amphora answers, one VIP
had one owner at every moment, and nothing is left over.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from colonnade.runtime.config import Config
from colonnade.store.database import Database
from tests.world import Fault, World

CALLS_MAX = 200

Act = Callable[[World], Awaitable[None]]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=1)


async def create(world: World) -> None:
    await world.create()


async def add_member(world: World) -> None:
    await world.add_member()


async def silence(world: World) -> None:
    world.cut_off()


async def kill(world: World) -> None:
    world.kill()


async def delete(world: World) -> None:
    await world.delete()


async def undo(world: World, act: Act) -> None:
    """Back to where the act may be done again."""
    if act in (create, delete):
        await (delete if act is create else create)(world)
        await world.settle()


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
    # By default each call meets one of the faults; all of them take a minute.
    step = 1 if os.environ.get("EVERY_FAULT") else len(Fault)
    for at in range(1 + list(Fault).index(fault) % step, CALLS_MAX, step):
        await act(world)
        world.faults.plan(at, fault)
        await world.settle()
        names = world.faults.names
        if world.faults.struck == 0:  # there are no more calls than these
            assert at > 10
            return
        try:
            await assert_right(world, act)
        except AssertionError as error:
            raise AssertionError(f"{fault.value}: {names[at - 1]}, call {at} of {names}") from error
        await undo(world, act)
    raise AssertionError(f"more than {CALLS_MAX} calls")
