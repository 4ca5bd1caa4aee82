# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a run, and when: all of it from the seed, and over after `TROUBLE_S`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from colonnade.domain.errors import ColonnadeError
from colonnade.domain.lifecycle import State
from colonnade.store.fleet import amphora_rows, seats
from tests.chaos.machines import Machine
from tests.chaos.users import Users
from tests.chaos.world import World

TROUBLE_S: Final = 25.0
AT_MOST: Final = 5  # troubles in a run
Trouble = Callable[[World, Users], Awaitable[None]]


async def _kill(world: World, _users: Users) -> None:
    power_cut(world, _some(world))


async def _kill_serving_and_spares(world: World, _users: Users) -> None:
    """A host is gone: all that ran on it."""
    power_cut(world, world.compute.running())


async def _kill_spares(world: World, _users: Users) -> None:
    serving = world.agents.serving
    power_cut(world, [m for m in world.compute.running() if m.id not in serving])


async def _freeze(world: World, _users: Users) -> None:
    for machine in _some(world):
        together = world.compute.beside(machine)
        troubles = [world.history.touch(one.id, "is frozen") for one in together]
        for one in together:
            one.freeze()
        await for_a_while(world, 30)
        world.say(f"{machine.process.name} goes on")
        for one in together:
            one.go_on()
        for trouble in troubles:
            world.history.over(trouble)


async def _cut_off(world: World, _users: Users) -> None:
    """It serves, and no control plane reaches it."""
    for machine in _some(world):
        trouble = world.history.touch(machine.id, "is cut off")
        world.agents.cut_off.add(machine.id)
        await for_a_while(world, 30)
        world.say(f"{machine.process.name} is reached again")
        world.agents.cut_off.discard(machine.id)
        world.history.over(trouble)


async def _deafen(world: World, _users: Users) -> None:
    """Its datagrams are lost; it is reached."""
    for machine in _some(world):
        trouble = world.history.touch(machine.id, "is not heard")
        world.deaf.add(machine.id)
        await for_a_while(world, 15)
        world.deaf.discard(machine.id)
        world.history.over(trouble)


async def _forget(world: World, _users: Users) -> None:
    """Its agent begins anew, with an empty folder. No reason to replace it."""
    for machine in _some(world):
        world.say(f"the agent of {machine.process.name} forgets")
        world.agents.forget(machine.id)


async def _kill_controller(world: World, _users: Users) -> None:
    place = world.random.randrange(2)
    world.say(f"controller {place + 1} is killed")
    world.kill_controller(place)
    await for_a_while(world, 10)
    world.say(f"controller {place + 1} begins again")
    world.restart_controller(place)


async def _stop_controller(world: World, _users: Users) -> None:
    one = world.controllers[world.random.randrange(2)]
    world.say(f"{one.process.name} is stopped")
    one.process.stop()
    await for_a_while(world, 40)
    world.say(f"{one.process.name} goes on")
    world.resume(one)


async def _kill_receiver(world: World, _users: Users) -> None:
    for place in world.random.choice(((0,), (1,), (0, 1))):
        world.say(f"receiver {place + 1} is killed")
        world.kill_receiver(place)
        await for_a_while(world, 10)
        world.restart_receiver(place)


async def _stop_receivers(world: World, _users: Users) -> None:
    some = world.random.choice((world.receivers[:1], world.receivers[1:], world.receivers[:]))
    for one in some:
        world.say(f"{one.process.name} is stopped")
        one.process.stop()
    await for_a_while(world, 30)
    for one in some:
        world.say(f"{one.process.name} goes on")
        world.resume(one)


async def _database_away(world: World, _users: Users) -> None:
    world.say("the database is away")
    world.store.reachable = False
    await for_a_while(world, 15)
    world.say("the database is back")
    world.store.reachable = True


async def _slow_database(world: World, _users: Users) -> None:
    """Between a look and the act that follows from it much may happen."""
    world.store.slow = world.random.choice((0.1, 0.3, 0.6))
    world.say(f"the database is slow {world.store.slow}")
    await for_a_while(world, 25)
    world.say("the database is as fast as ever")
    world.store.slow = 0.0


async def _no_database_for_one(world: World, users: Users) -> None:
    """One process does not reach the database; the others do."""
    one = world.random.choice(world.daemons())
    world.say(f"{one.process.name} does not reach the database")
    one.database.reachable = False
    await for_a_while(world, 20)
    one.database.reachable = True


async def _service_away(world: World, _users: Users) -> None:
    service = world.random.choice(("compute", "network"))
    world.say(f"the {service} service is away")
    world.weather.away.add(service)
    await for_a_while(world, 20)
    world.say(f"the {service} service is back")
    world.weather.away.discard(service)


async def _no_address(world: World, _users: Users) -> None:
    world.say("no subnet has a free address")
    world.network.is_full = True
    await for_a_while(world, 20)
    world.network.is_full = False


async def _bad_wires(world: World, _users: Users) -> None:
    weather, random = world.weather, world.random
    shares = {
        name: random.choice((0.0, 0.05, 0.2))
        for name in ("refused", "lost", "unanswered", "late", "repeated")
    }
    world.say(f"bad wires: {', '.join(f'{n} {s}' for n, s in shares.items() if s)}")
    for name, share in shares.items():
        setattr(weather, name, share)
    world.datagrams_lost = random.choice((0.0, 0.1, 0.3))
    world.store.loss = random.choice((0.0, 0.02, 0.1))
    await for_a_while(world, 20)
    weather.clear()
    world.datagrams_lost = world.store.loss = 0.0
    world.say("good wires again")


async def _create(_world: World, users: Users) -> None:
    await users.create()


async def _write(world: World, users: Users) -> None:
    for _ in range(3):
        for wish in users.there():
            await users.add_member(wish)
            if world.random.random() < 0.3:
                await users.drop_member(wish)
        await asyncio.sleep(world.random.uniform(0, 2))


async def _delete(world: World, users: Users) -> None:
    if there := users.there():
        await users.delete(world.random.choice(there))


async def _fail_over(world: World, users: Users) -> None:
    if there := users.there():
        await users.fail_over(world.random.choice(there))


async def _resize(world: World, users: Users) -> None:
    if there := users.there():
        await users.resize(world.layouts.choice(there))


async def _empty(world: World, _users: Users) -> None:
    """An operator has an amphora replaced that carries seats."""
    async with world.store.turn() as connection:
        rows = await amphora_rows.everyone(connection)
    carrying = [a for a in rows if a.state is State.CARRYING]
    if carrying:
        chosen = world.layouts.choice(sorted(carrying, key=lambda a: a.id))
        for one in world.compute.beside(world.compute.machines[chosen.id]):
            world.history.leave(one.id)
        with contextlib.suppress(ColonnadeError):
            async with world.store.transaction() as connection:
                await seats.ask_to_leave(connection, chosen)


TROUBLES: Final[Mapping[Trouble, int]] = {
    _kill: 4,
    _kill_serving_and_spares: 1,
    _kill_spares: 1,
    _freeze: 3,
    _cut_off: 3,
    _deafen: 1,
    _forget: 1,
    _kill_controller: 3,
    _stop_controller: 3,
    _kill_receiver: 1,
    _stop_receivers: 2,
    _database_away: 2,
    _no_database_for_one: 2,
    _slow_database: 3,
    _service_away: 2,
    _no_address: 1,
    _bad_wires: 3,
    _create: 2,
    _write: 3,
    _delete: 1,
    _fail_over: 3,
}


async def trouble(world: World, users: Users) -> None:
    """Returns when all of it is over."""
    random = world.random
    kinds, weights = list(TROUBLES), list(TROUBLES.values())
    chosen = random.choices(kinds, weights, k=random.randint(1, AT_MOST))
    tasks = []
    for begins in sorted(random.uniform(0, TROUBLE_S / 2) for _ in chosen):
        one = chosen.pop()
        tasks.append(asyncio.create_task(_later(begins, one, world, users)))
    if world.manner.layouts:
        for _ in range(world.layouts.randint(0, 2)):
            begins = world.layouts.uniform(0, TROUBLE_S)
            tasks.append(asyncio.create_task(_later(begins, _resize, world, users)))
        if world.layouts.random() < 0.3:
            begins = world.layouts.uniform(0, TROUBLE_S)
            tasks.append(asyncio.create_task(_later(begins, _empty, world, users)))
    await asyncio.gather(*tasks)


async def _later(begins: float, one: Trouble, world: World, users: Users) -> None:
    await asyncio.sleep(begins)
    await one(world, users)


async def for_a_while(world: World, at_most_s: float) -> None:
    await asyncio.sleep(world.random.uniform(0.05, at_most_s))


def _some(world: World) -> list[Machine]:
    """One that runs, mostly one that serves."""
    running = world.compute.running()
    serving = [m for m in running if m.id in world.agents.serving]
    chosen = serving if serving and world.random.random() < 0.8 else running
    return [world.random.choice(chosen)] if chosen else []


def power_cut(world: World, machines: Sequence[Machine]) -> None:
    for machine in machines:
        for one in world.compute.beside(machine):
            world.history.touch(one.id, "loses its power")
        world.compute.power_cut(machine.id)
