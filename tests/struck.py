# SPDX-License-Identifier: Apache-2.0
"""Of the calls by which a control plane in memory does something, one fails, again and again.

Each time another one, until there are no more; whatever failed, all must be right afterwards.
"""

from collections.abc import Awaitable, Callable

from tests.fakes.faults import Fault
from tests.world import World


async def strike_in_turn(
    world: World,
    calls: range,
    fault: Fault,
    act: Callable[[World], Awaitable[None]],
    check: Callable[[World], Awaitable[object]],
    *,
    more_than: int,
) -> None:
    """`calls`: those that are struck, by their number in an act. `more_than`: an act has more."""
    for at in calls:
        await act(world)
        world.faults.plan(at, fault)
        await world.settle()
        names = world.faults.names
        if world.faults.struck == 0:  # there are no more calls than these
            assert at > more_than
            return
        try:
            await check(world)
        except AssertionError as error:
            raise AssertionError(f"{fault.value}: {names[at - 1]}, call {at} of {names}") from error
    raise AssertionError(f"more than {calls.stop} calls")
