# SPDX-License-Identifier: Apache-2.0
"""Failover is reconcile: each death on the way is tried by its name, with two controllers.

| What dies, and when | Test |
| --- | --- |
| a controller, at any of its calls | `test_controller_faults.py`, all of it |
| the amphora that serves, with two VIPs | `test_it_is_survived[serving]` |
| a controller that is stopped while it fails over, and goes on later | `[stopped_controller]` |
| both controllers, while they fail over | `[both_controllers]` |
| the spare, as the VIP comes to it | `[spare_at_hand_over]` |
| all spares before, so that there is none | `[no_spare]` |
| the amphora and all spares at once, so all of a host | `[whole_host]` |
| addresses: none is left for a new amphora | `[no_address]` |
| compute, for a while from then on | `[compute_away]` |
| the network service, for a while from then on | `[network_away]` |
| the amphora that has just been lent for a create | `[during_create]` |
| the amphora, as a member goes (a drain is its agent's: the next has none) | `[during_drop]` |
| the amphora that an operator has replaced, before another is ready | `[old_while_replaced]` |
| the one that takes its place, as the VIP comes to it | `[new_while_replaced]` |
| spares, so that an operator's wish must wait | `[replaced_without_spare]` |
| the database, for longer than a silence that counts | `[database_away]` |
| all receivers, for longer than a silence that counts | `[receivers_stopped]` |

Afterwards all is as wished, and on the way no rule of `tests/chaos/history.py` was broken.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.chaos.database import CLOCK, Line
from tests.chaos.faults import power_cut
from tests.chaos.machines import Machine
from tests.chaos.runs import Script, run
from tests.chaos.users import Users
from tests.chaos.world import INBOXES, Manner, World
from tests.database import Databases

SETTLED_S = 8.0
LONG_S = 20.0
SILENT_S = 6.2  # until liveness has noticed


@pytest.fixture(scope="module")
def line(databases: Databases) -> Iterator[Line]:
    worlds = Databases(databases.server, "failover", CLOCK)
    with worlds.fresh() as url, closing(Line(url)) as line:
        yield line


async def serving(world: World, users: Users) -> None:
    power_cut(world, await _served(world, users))


async def stopped_controller(world: World, users: Users) -> None:
    power_cut(world, await _served(world, users))
    await asyncio.sleep(SILENT_S)
    world.controllers[0].process.stop()
    await asyncio.sleep(2 * LONG_S)
    world.resume(world.controllers[0])


async def both_controllers(world: World, users: Users) -> None:
    power_cut(world, await _served(world, users))
    await asyncio.sleep(SILENT_S)
    for place in (0, 1):
        world.kill_controller(place)
    await asyncio.sleep(LONG_S)
    for place in (0, 1):
        world.restart_controller(place)


async def spare_at_hand_over(world: World, users: Users) -> None:
    (old,) = await _served(world, users)
    power_cut(world, [old])
    power_cut(world, await _next(world, users, old))


async def no_spare(world: World, users: Users) -> None:
    served = await _served(world, users)
    power_cut(world, [m for m in world.compute.running() if m not in served])
    power_cut(world, served)


async def whole_host(world: World, users: Users) -> None:
    await _served(world, users)
    power_cut(world, world.compute.running())


async def no_address(world: World, users: Users) -> None:
    world.network.is_full = False
    await _served(world, users)
    world.network.is_full = True
    power_cut(world, world.compute.running())
    await asyncio.sleep(LONG_S)
    world.network.is_full = False


async def compute_away(world: World, users: Users) -> None:
    await _away(world, users, "compute")


async def network_away(world: World, users: Users) -> None:
    await _away(world, users, "network")


async def during_create(world: World, users: Users) -> None:
    await asyncio.sleep(SETTLED_S)
    await users.create()
    await _until(lambda: bool(_holders(world, users)))
    power_cut(world, _holders(world, users))


async def during_drop(world: World, users: Users) -> None:
    served = await _served(world, users)
    await users.drop_member(users.wishes[0])
    power_cut(world, served)


async def old_while_replaced(world: World, users: Users) -> None:
    served = await _served(world, users)
    await users.fail_over(users.wishes[0])
    power_cut(world, served)


async def new_while_replaced(world: World, users: Users) -> None:
    (old,) = await _served(world, users)
    await users.fail_over(users.wishes[0])
    power_cut(world, await _next(world, users, old))


async def replaced_without_spare(world: World, users: Users) -> None:
    (old,) = await _served(world, users)
    world.weather.away.add("compute")
    power_cut(world, [m for m in world.compute.running() if m is not old])
    await asyncio.sleep(LONG_S)
    await users.fail_over(users.wishes[0])
    await asyncio.sleep(LONG_S)
    assert _holders(world, users) == [old], "it serves until another does"
    world.weather.away.clear()


async def database_away(world: World, users: Users) -> None:
    await _served(world, users)
    world.store.reachable = False
    await asyncio.sleep(LONG_S)
    world.store.reachable = True


async def receivers_stopped(world: World, users: Users) -> None:
    await _served(world, users)
    for receiver in world.receivers:
        receiver.process.stop()
    await asyncio.sleep(LONG_S)
    for receiver in world.receivers:
        world.resume(receiver)


SCRIPTS: list[Script] = [
    serving,
    stopped_controller,
    both_controllers,
    spare_at_hand_over,
    no_spare,
    whole_host,
    no_address,
    compute_away,
    network_away,
    during_create,
    during_drop,
    old_while_replaced,
    new_while_replaced,
    replaced_without_spare,
    database_away,
    receivers_stopped,
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_it_is_survived(line: Line, script: Script) -> None:
    outcome = run(line, 1, script)
    assert not outcome.wrong, outcome.story


async def _served(world: World, users: Users) -> list[Machine]:
    """A load balancer with two VIPs, and what serves it."""
    await asyncio.sleep(SETTLED_S)
    await users.create(vips=2)
    await asyncio.sleep(SETTLED_S)
    found = _holders(world, users)
    assert len(found) == 1
    return found


async def _next(world: World, users: Users, old: Machine) -> list[Machine]:
    """As soon as the VIPs are another's."""
    await _until(lambda: bool(_holders(world, users)) and old not in _holders(world, users))
    return _holders(world, users)


async def _away(world: World, users: Users, service: str) -> None:
    served = await _served(world, users)
    world.weather.away.add(service)
    power_cut(world, served)
    await asyncio.sleep(LONG_S)
    world.weather.away.clear()


def _holders(world: World, users: Users) -> list[Machine]:
    ports = {port.id: port for port in world.network.held()}
    names = {ports[name].plugged_into for wish in users.wishes for name in wish.ports}
    return [m for m in world.compute.running() if m.id in names]


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10 * LONG_S):
        while not holds():  # noqa: ASYNC110 - of the world's time, which costs none
            await asyncio.sleep(0.01)


MANNERS = [
    Manner(in_turn=in_turn, inbox=inbox, safe_mode=False)
    for in_turn in (False, True)
    for inbox in INBOXES
]


@pytest.mark.parametrize("script", [receivers_stopped, database_away], ids=lambda s: s.__name__)
@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_silence_while_nobody_listened_counts_for_nothing(
    line: Line, script: Script, manner: Manner
) -> None:
    """Also without safe mode, which would hold back what was judged wrongly."""
    outcome = run(line, 1, script, manner)
    assert not outcome.wrong, outcome.story
