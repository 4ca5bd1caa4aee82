# SPDX-License-Identifier: Apache-2.0
"""What a transition takes, and whose turn it is."""

import asyncio

import msgspec

from colonnade.agent.apply.queue import ApplyQueue, TooMany
from colonnade.agent.apply.transition import Transition
from colonnade.protocol.bundle import Backend, Bundle, Pair, Server


def bundle(generation: int, *servers: Server, config: str = "global") -> Bundle:
    backends = (Backend(name="web", servers=servers),)
    return Bundle(generation=generation, config=config, frame=config, backends=backends)


def server(number: int, address: str = "10.0.0.1:80") -> Server:
    return Server(name=f"s{number}", address=address, options="check", weight=1)


def test_a_transition_takes_no_more_than_what_differs() -> None:
    calm = Transition(bundle(1, server(1)), bundle(2, server(1), server(2)))
    assert calm.change.touches_servers
    assert not calm.change.reload
    assert calm.keeps_config
    assert not calm.is_same
    assert calm.kept_servers == {("web", "s1")}


def test_where_nothing_is_known_of_what_runs_it_is_a_reload() -> None:
    served = bundle(1, server(1))
    assert not Transition(served, served).change.reload
    assert Transition(served, served, force_reload=True).change.reload
    assert Transition(None, served).change.reload


def test_a_half_that_only_stands_up_or_down_is_told_from_one_that_serves_something_else() -> None:
    pair = Pair(own="203.0.113.5", peer="203.0.113.6", priority=250)
    up = msgspec.structs.replace(bundle(1, server(1)), pair=pair)
    down = msgspec.structs.replace(up, pair=msgspec.structs.replace(pair, stands_down=True))
    assert Transition(down, up).only_stands
    assert Transition(up, down).only_stands
    assert not Transition(down, up, force_reload=True).only_stands
    assert not Transition(bundle(1, server(1)), up).only_stands
    more = msgspec.structs.replace(bundle(2, server(1), server(2)), pair=pair)
    assert not Transition(down, more).only_stands


def test_a_server_that_moved_is_not_kept() -> None:
    moved = Transition(bundle(1, server(1)), bundle(2, server(1, "10.0.0.2:80")))
    assert moved.kept_servers == frozenset()
    assert Transition(bundle(1), bundle(2, config="global" * 2)).growth == 2


async def test_the_newest_of_those_that_wait_is_next_and_one_at_a_time() -> None:
    lock = asyncio.Lock()
    queue = ApplyQueue(lock)
    taken: list[int] = []

    async def wait(generation: int) -> None:
        async with queue.turn(generation, lambda is_newest: 0.0 if is_newest else None):
            assert lock.locked()
            taken.append(generation)

    async with lock:  # until all of them wait, which takes each of them one step
        waiting = [asyncio.create_task(wait(generation)) for generation in (2, 4, 3)]
        await asyncio.sleep(0)
        assert taken == []
    await asyncio.gather(*waiting)
    assert taken == [4, 3, 2]


async def test_no_more_than_a_few_wait() -> None:
    lock = asyncio.Lock()
    queue = ApplyQueue(lock)

    async def wait(generation: int) -> bool:
        try:
            async with queue.turn(generation, lambda _: 0.0):
                return True
        except TooMany:
            return False

    async with lock:
        waiting = [asyncio.create_task(wait(generation)) for generation in range(20)]
        await asyncio.sleep(0)
        assert sum(one.done() for one in waiting) == 4
    assert sum(await asyncio.gather(*waiting)) == 16
