# SPDX-License-Identifier: Apache-2.0
"""A removed server with a time to drain keeps its clients for that time, and no longer."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from colonnade.protocol.bundle import Server
from tests.agent_bench import Bench, bundle, server, until

DRAINS_S = 3


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    try:
        await made.start()
        for number in (1, 2):
            await made.web_server(number)
        yield made
    finally:
        await made.end()


def draining(number: int) -> Server:
    return server(number, drain_seconds=DRAINS_S)


async def test_a_server_that_left_serves_what_it_had_until_its_time_is_over(bench: Bench) -> None:
    await bench.put(bundle(1, draining(1)))
    await until(lambda: up(bench, "s1"))
    reader, writer = await bench.ask("/held")
    begun = time.monotonic()
    assert await bench.put(bundle(2, draining(2))) == "runtime"
    await until(lambda: up(bench, "s2"))
    assert await bench.get() == (200, "2")
    assert set(await bench.states()) == {"s2"}
    while await reader.read(65536):
        pass
    writer.close()
    assert DRAINS_S - 0.5 < time.monotonic() - begun < DRAINS_S + 5
    # It is gone: the same name comes back at another place, with no reload.
    assert await bench.put(bundle(3, draining(2), server(1, weight=2))) == "runtime"


async def up(bench: Bench, name: str) -> bool:
    return (await bench.states()).get(name) == "UP"
