# SPDX-License-Identifier: Apache-2.0
"""Allowed clients pass and others do not, seen with packets between namespaces, also meanwhile."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from colonnade.domain.errors import Rejected
from colonnade.protocol.bundle import Access, Bundle
from colonnade.protocol.messages import Drain
from tests.agent_bench import Bench, bundle, server, until
from tests.agent_site import AMPHORA_IP, VIP, VIP6
from tests.environments import needs_nft

pytestmark = needs_nft

ONE, OTHER, ONE6, OTHER6 = "203.0.113.1", "203.0.113.12", "2001:db8:1::1", "2001:db8:1::2"
PATIENCE_S = 0.25  # far more than a handshake between two namespaces takes, less than a repetition


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    try:
        await made.start()
        await made.web_server(1)
        yield made
    finally:
        await made.end()


def limited(wanted: Bundle, *allowed: str, port: int = 80) -> Bundle:
    rules = [Access(address=vip, port=port, allowed=allowed) for vip in (VIP, VIP6)]
    return msgspec.structs.replace(wanted, access=tuple(rules))


async def connected(
    bench: Bench, source: str, port: int = 80, within_s: float = PATIENCE_S
) -> socket.socket | None:
    """A connection to the VIP from this address, None when nobody answers."""
    six = ":" in source
    asking = bench.site.new_socket(socket.AF_INET6 if six else socket.AF_INET)
    asking.setblocking(False)
    asking.bind((source, 0))
    try:
        async with asyncio.timeout(within_s):
            where = (VIP6 if six else VIP, port)
            await asyncio.get_running_loop().sock_connect(asking, where)
    except (TimeoutError, OSError):
        asking.close()
        return None
    return asking


async def let_in(bench: Bench, port: int = 80) -> set[str]:
    found = set()
    for source in (ONE, OTHER, ONE6, OTHER6):
        connection = await connected(bench, source, port)
        if connection is not None:
            connection.close()
            found.add(source)
    return found


async def test_only_allowed_clients_pass_and_who_is_in_stays_in(bench: Bench) -> None:
    assert await bench.put(limited(bundle(1, server(1)), f"{ONE}/32", f"{ONE6}/128")) == "reload"
    assert await let_in(bench) == {ONE, ONE6}
    workers = bench.site.processes("haproxy.cfg")
    reader, writer = await bench.ask("/slow")
    await reader.readuntil(b"\r\n\r\n1")
    # Another list: no reload, at once; the connection that is open goes on.
    assert await bench.put(limited(bundle(2, server(1)), f"{OTHER}/32", "2001:db8:1::2/128")) == (
        "runtime"
    )
    assert await let_in(bench) == {OTHER, OTHER6}
    assert await reader.read() == b" finished"
    writer.close()
    assert await bench.put(limited(bundle(3, server(1)), "203.0.113.0/24")) == "runtime"
    assert await let_in(bench) == {ONE, OTHER}
    assert await bench.put(bundle(4, server(1))) == "runtime"
    assert await let_in(bench) == {ONE, OTHER, ONE6, OTHER6}
    assert bench.site.processes("haproxy.cfg") == workers


async def test_who_is_in_may_finish_while_nobody_else_comes_in_for_a_moment(bench: Bench) -> None:
    await bench.put(limited(bundle(1, server(1)), f"{ONE}/32"))
    reader, writer = await bench.ask("/slow")
    await reader.readuntil(b"\r\n\r\n1")
    asked = Drain(within_ms=100, closed_s=3)
    assert (await bench.client.drain(AMPHORA_IP, bench.amphora_id, asked)).open_connections == 1
    assert await let_in(bench) == set()
    assert await reader.read() == b" finished"
    writer.close()
    late = await connected(bench, ONE, within_s=20)  # by a SYN that is repeated
    assert late is not None
    late.close()
    assert await let_in(bench) == {ONE}
    asked = Drain(within_ms=10_000, closed_s=1)
    began = time.monotonic()
    assert (await bench.client.drain(AMPHORA_IP, bench.amphora_id, asked)).open_connections == 0
    assert time.monotonic() - began < 5, "nothing was open"


async def test_nobody_slips_in_while_a_port_changes_hands(bench: Bench) -> None:
    """The rules of a port change together with what answers there, by a reload each time."""
    await bench.put(limited(bundle(1, server(1)), f"{ONE}/32"))
    over = asyncio.Event()
    slipped: list[str] = []

    async def knock() -> None:
        while not over.is_set():
            connection = await connected(bench, OTHER, within_s=0.01)
            if connection is not None:
                slipped.append(OTHER)
                connection.close()

    knocking = [asyncio.create_task(knock()) for _ in range(4)]
    # Closed to this client by port 80's rule before, and by there being no port 80 after.
    elsewhere = f"bind {VIP}:81"
    for generation in range(2, 7):
        text = bundle(generation, server(1), extra=elsewhere if generation % 2 else "")
        if generation % 2:
            moved = text.config.replace(f"bind {VIP}:80\n", "").replace(f"bind {VIP6}:80\n", "")
            text = msgspec.structs.replace(text, config=moved, frame=moved)
            await bench.put(limited(text, f"{ONE}/32", port=81))
        else:
            await bench.put(limited(text, f"{ONE}/32"))
    over.set()
    await asyncio.gather(*knocking)
    assert slipped == []
    assert await let_in(bench) == {ONE}


async def test_a_refused_bundle_leaves_the_rules_and_repair_sets_them_again(bench: Bench) -> None:
    await bench.put(limited(bundle(1, server(1)), f"{ONE}/32"))
    with pytest.raises(Rejected):
        await bench.put(limited(bundle(2, server(1), extra="nonsense"), f"{OTHER}/32"))
    with pytest.raises(Rejected):
        unbindable = bundle(2, server(1), extra="bind 203.0.113.99:80")
        await bench.put(limited(unbindable, f"{OTHER}/32"))
    assert await let_in(bench) == {ONE}
    with pytest.raises(Rejected) as refused:
        await bench.put(limited(bundle(2, server(1)), "nowhere"))
    assert "nowhere" in refused.value.detail
    assert await let_in(bench) == {ONE}
    # Somebody removes them: the next look at the controllers sets them again.
    await asyncio.to_thread(bench.site.forget_rules)
    assert await let_in(bench) == {ONE, OTHER, ONE6, OTHER6}
    bench.client.notify(AMPHORA_IP, bench.amphora_id, bench.key)

    async def again() -> bool:
        return await let_in(bench) == {ONE}

    await until(again)
