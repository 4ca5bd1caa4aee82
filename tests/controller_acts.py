# SPDX-License-Identifier: Apache-2.0
"""What may happen to a control plane, and how it must look afterwards."""

from collections.abc import Awaitable, Callable

from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from tests.world import World

Act = Callable[[World], Awaitable[None]]


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
