# SPDX-License-Identifier: Apache-2.0
"""haproxy has one power only; its death is told at once; a full disk hurts nothing served."""

import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from colonnade.domain.errors import Rejected
from colonnade.protocol.datagram import Datagram, Edge, Heartbeat, Kind
from tests.agent_bench import Bench, bundle, server, until, until_heard
from tests.agent_site import AMPHORA_IP

HAPROXY = "haproxy.cfg"
NET_BIND_SERVICE = 1 << 10  # linux/capability.h


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    try:
        await made.start()
        await made.web_server(1)
        await made.put(bundle(1, server(1)))
        yield made
    finally:
        await made.end()


def told_running(heard: Datagram, running: bool) -> bool:
    if heard.kind is not Kind.EDGE:
        return False
    return msgspec.msgpack.decode(heard.payload, type=Edge).haproxy_running is running


async def test_haproxy_may_bind_low_ports_and_nothing_else(bench: Bench) -> None:
    await bench.put(bundle(2, server(1), extra="maxconn 99"))  # a reload keeps it so
    found = [bench.site.capabilities(pid) for pid in bench.site.processes(HAPROXY)]
    assert len(found) >= 2
    assert set(found) == {NET_BIND_SERVICE}
    assert await bench.get() == (200, "1")  # on port 80


@pytest.mark.timed
@pytest.mark.parametrize("which", [0, -1], ids=["master", "worker"])
async def test_a_dead_haproxy_is_told_and_back_within_a_second(bench: Bench, which: int) -> None:
    async def is_up() -> bool:
        return await bench.states() == {"s1": "UP"}

    await until(is_up)
    bench.heard.clear()
    killed_at = time.monotonic()
    bench.site.kill(bench.site.processes(HAPROXY)[which], signal.SIGKILL)
    await until_heard(bench, lambda heard: told_running(heard, False))
    told_s = time.monotonic() - killed_at
    await until_heard(bench, lambda heard: told_running(heard, True))
    back_s = time.monotonic() - killed_at
    assert told_s < 1.0
    assert back_s < 1.0
    sys.stdout.write(f"told after {told_s * 1000:.0f} ms, back after {back_s * 1000:.0f} ms\n")
    assert await bench.get() == (200, "1")


async def test_a_full_disk_refuses_changes_and_hurts_nothing_else(bench: Bench) -> None:
    bench.site.fill_disk()
    for wanted in (
        bundle(2, server(1), extra="option forwardfor"),  # by a reload
        bundle(2, server(1, weight=5)),  # over the runtime socket
        msgspec.structs.replace(bundle(2, server(1)), files={"page": "x" * 5000}),
    ):
        with pytest.raises(Rejected) as refused:
            await bench.put(wanted)
        assert "No space left" in refused.value.detail
        assert await bench.get() == (200, "1")
    assert (await bench.client.info(AMPHORA_IP, bench.amphora_id)).generation == 1
    bench.heard.clear()
    bench.site.kill(bench.site.processes(HAPROXY)[0], signal.SIGKILL)
    await until_heard(bench, lambda heard: told_running(heard, True))
    assert await bench.get() == (200, "1")
    # A new agent, too, finds everything and speaks.
    bench.site.kill(bench.site.processes("colonnade.agent")[0], signal.SIGKILL)
    bench.heard.clear()
    await bench.ready()
    beat = await until_heard(bench, lambda heard: heard.kind is Kind.HEARTBEAT)
    assert beat.generation == 1
    assert msgspec.msgpack.decode(beat.payload, type=Heartbeat).haproxy_running
    bench.site.fill_disk(free_again=True)
    assert await bench.put(bundle(2, server(1, weight=5))) == "runtime"
    assert await bench.put(bundle(3, server(1), extra="option forwardfor")) == "reload"


async def test_a_log_that_is_stuck_holds_up_neither_changes_nor_heartbeats(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    try:
        await made.start(mute=True)
        await made.web_server(1)
        for generation in range(1, 6):  # each writes lines
            await made.put(bundle(generation, server(1, weight=generation)))
        assert await made.get() == (200, "1")
        made.heard.clear()
        made.site.kill(made.site.processes(HAPROXY)[0], signal.SIGKILL)
        await until_heard(made, lambda heard: told_running(heard, True))
        beat = await until_heard(made, lambda heard: heard.kind is Kind.HEARTBEAT)
        assert beat.generation == 5
        agent = made.site.processes("colonnade.agent")[0]
        made.site.kill(agent, signal.SIGTERM)  # and it ends when it is told to

        async def is_gone() -> bool:
            return agent not in made.site.processes("colonnade.agent")

        await until(is_gone)
    finally:
        await made.end()
