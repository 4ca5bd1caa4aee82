# SPDX-License-Identifier: Apache-2.0
"""Reloads are few, bounded and affordable, with real haproxy; and no wish is lost by that."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from colonnade.domain.errors import Broken, Rejected
from tests.agent_bench import Bench, bundle, server, until
from tests.agent_site import AMPHORA_IP

HAPROXY = "haproxy.cfg"
Opened = Callable[..., Any]


@pytest.fixture
async def benches(tmp_path: Path) -> AsyncIterator[Opened]:
    made = Bench(tmp_path)

    @asynccontextmanager
    async def opened(**config: Any) -> AsyncIterator[Bench]:
        try:
            await made.start(config=config)
            await made.web_server(1)
            await made.put(bundle(1, server(1)))
            yield made
        finally:
            await made.end()

    yield opened


def reloading(generation: int) -> Any:
    return bundle(generation, server(1), extra=f"maxconn {1000 + generation}")


@pytest.mark.timed
async def test_many_wishes_are_served_by_one_reload_a_second(benches: Opened) -> None:
    async with benches() as bench:
        began = time.monotonic()
        assert await bench.put(reloading(2)) == "reload"
        assert time.monotonic() - began < 0.8  # the first after a quiet time does not wait
        wishes = [
            bench.client.put_bundle(AMPHORA_IP, bench.amphora_id, reloading(generation))
            for generation in range(3, 13)
        ]
        answers = await asyncio.gather(*wishes)
        assert {(one.generation, one.means) for one in answers} == {(12, "reload")}
        assert 0.9 < time.monotonic() - began < 2.5
        assert await bench.put(reloading(12)) == "nothing"
        # What needs no reload does not wait for the turn of one.
        began = time.monotonic()
        later = bundle(13, server(1, weight=9), extra="maxconn 1012")
        assert await bench.put(later) == "runtime"
        assert time.monotonic() - began < 0.5


async def test_a_bad_newest_wish_does_not_take_the_good_one_before_with_it(
    benches: Opened,
) -> None:
    async with benches() as bench:
        assert await bench.put(reloading(2)) == "reload"
        good = asyncio.create_task(bench.put(reloading(3)))
        bad = asyncio.create_task(bench.put(bundle(4, server(1), extra="nonsense")))
        with pytest.raises(Rejected):
            await bad
        assert await good == "reload"
        assert (await bench.client.info(AMPHORA_IP, bench.amphora_id)).generation == 3


async def test_old_workers_are_bounded_and_the_oldest_ends_first(benches: Opened) -> None:
    async with benches(old_workers_max=2, reload_pause_s=0.0) as bench:
        held = []
        for generation in range(2, 7):
            # Each worker gets a connection that does not end.
            reader, writer = await bench.ask("/held")
            await reader.readuntil(b"\r\n\r\n1")
            held.append((reader, writer))
            assert await bench.put(reloading(generation)) == "reload"

        async def bounded() -> bool:
            return len(bench.site.processes(HAPROXY)) == 1 + 1 + 2  # master, newest, two old

        await until(bounded)
        async with asyncio.timeout(6):
            assert [await reader.read() for reader, _ in held[:3]] == [b""] * 3
        assert not any(reader.at_eof() for reader, _ in held[3:])
        assert await bench.get() == (200, "1")
        for _, writer in held:
            writer.close()


async def test_idle_clients_cost_no_connection_that_is_in_use(benches: Opened) -> None:
    keeping = (
        "option idle-close-on-response\n"
        '  http-request return status 200 content-type text/plain string "1" if { path /idle }'
    )
    async with benches(old_workers_max=2, reload_pause_s=0.0) as bench:
        used, writer = await bench.ask("/held")
        await used.readuntil(b"\r\n\r\n1")
        idle = []
        for generation in range(2, 7):
            assert await bench.put(bundle(generation, server(1), extra=keeping)) == "reload"
            keeping += " "  # another file, for the next reload
            # Each worker after the first gets a client that has asked, and will ask again.
            idle.append(await bench.ask("/idle", keep=True))
            await idle[-1][0].readuntil(b"\r\n\r\n1")

        async def bounded() -> bool:
            return len(bench.site.processes(HAPROXY)) == 1 + 1 + 2  # master, newest, two old

        await until(bounded)
        async with asyncio.timeout(2):
            assert await idle[0][0].read() == b""
        assert not used.at_eof()
        for _, one in (*idle, (used, writer)):
            one.close()


async def test_a_reload_that_does_not_fit_is_refused_and_said(benches: Opened) -> None:
    async with benches(memory_reserve_mib=2**30) as bench:
        workers = bench.site.processes(HAPROXY)
        with pytest.raises(Broken, match=r"too little memory: a reload needs about [1-9]\d* MiB"):
            await bench.put(reloading(2))
        assert bench.site.processes(HAPROXY) == workers
        assert await bench.get() == (200, "1")
        # What needs no memory goes on.
        assert await bench.put(bundle(3, server(1, weight=7))) == "runtime"
