# SPDX-License-Identifier: Apache-2.0
"""One half of a pair: the real agent, keepalived and haproxy; the test is the other half.

What the half says is heard as packets of VRRPv3 (RFC 5798), and what it holds is seen in its status
and through the VIP.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonnade.domain.errors import Rejected
from colonnade.protocol.messages import Role
from tests.agent_bench import Bench, bundle, server, until
from tests.agent_half import OWN, ROUTED_VIP, Peer, half, led_to, role, status, waiting_bench
from tests.agent_site import VIP6
from tests.environments import needs_keepalived

pytestmark = needs_keepalived

STRANGER, ARP = "203.0.113.12", 0x0806
NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
HAPROXY, KEEPALIVED, AGENT = "haproxy.cfg", "keepalived.conf", "colonnade.agent"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with waiting_bench(tmp_path) as made:
        yield made


@pytest.fixture
def peer(bench: Bench) -> Any:
    made = Peer(bench)
    yield made
    made.close()


async def gives_away(peer: Peer) -> None:
    """Priority 0: RFC 5798 section 5.2.4."""
    async with asyncio.timeout(5):
        while (await peer.advert())[0] != 0:
            pass


def ended(bench: Bench, *pids: int) -> Callable[[], Awaitable[bool]]:
    async def none_is_left() -> bool:
        return not set(pids) & set(bench.site.processes(KEEPALIVED))

    return none_is_left


async def test_it_takes_the_vips_of_both_versions_and_says_so_to_the_other_half_alone(
    bench: Bench, peer: Peer
) -> None:
    assert (await status(bench)).role == ""
    await bench.put(half(1, advert_ms=50))
    assert await peer.advert() == (250, 5)
    await role(bench, Role.MASTER)
    assert await bench.get() == (200, "1")
    assert await bench.get(vip=VIP6) == (200, "1")
    for pid in bench.site.processes(KEEPALIVED):
        assert bench.site.capabilities(pid) & ~(NET_ADMIN | NET_RAW) == 0
    peer.forget()
    await bench.put(half(1, stands_down=True))
    await gives_away(peer)
    await role(bench, Role.BACKUP)
    await bench.put(half(1))
    await role(bench, Role.MASTER)


@pytest.mark.timed  # the other half is missed when its adverts come late
async def test_it_does_not_preempt_and_heeds_the_other_half_and_no_stranger(
    bench: Bench, peer: Peer
) -> None:
    async with peer.saying(240):
        await bench.put(half(1))
        await role(bench, Role.BACKUP)
        heard = time.monotonic()

        async def has_waited() -> bool:
            return time.monotonic() > heard + 0.8

        await until(has_waited)  # more than twice the time after which a silent half is missed
        assert (await status(bench)).role == Role.BACKUP
    assert (await peer.advert())[0] == 250
    await role(bench, Role.MASTER)
    stranger = Peer(bench, STRANGER)
    async with stranger.saying(254):
        for _ in range(20):
            await peer.advert()  # it goes on
        assert (await status(bench)).role == Role.MASTER
    stranger.close()
    async with peer.saying(254):  # two held the VIPs, and the higher priority keeps them
        await role(bench, Role.BACKUP)


async def test_it_gives_the_vips_away_at_once_when_haproxy_does_not_serve(
    bench: Bench, peer: Peer
) -> None:
    await bench.put(half(1))
    for number in (signal.SIGSTOP, signal.SIGKILL):
        await role(bench, Role.MASTER)
        peer.forget()
        for pid in bench.site.processes(HAPROXY):
            bench.site.kill(pid, number)
        await gives_away(peer)
        async with peer.saying(240):
            await role(bench, Role.BACKUP)

            async def serves() -> bool:
                return (await status(bench)).haproxy_running

            await until(serves)  # haproxy is back, and the VIPs stay where they are
            assert (await status(bench)).role == Role.BACKUP


async def test_a_change_does_not_drop_the_vips(bench: Bench, peer: Peer) -> None:
    await bench.put(half(1))
    await role(bench, Role.MASTER)
    async with bench.load() as answers:
        await bench.put(half(2, advert_ms=200))

        async def slower() -> bool:
            return await peer.advert() == (250, 20)

        await until(slower)
        more = half(3, peer=STRANGER)
        (interface,) = more.interfaces
        wider = msgspec.structs.replace(interface, floating=(*interface.floating, "203.0.113.8/24"))
        await bench.put(msgspec.structs.replace(more, interfaces=(wider,)))
        other = Peer(bench, STRANGER)
        assert (await other.advert())[0] == 250
        other.close()

        async def answers_more() -> bool:
            return len(answers) > 100

        await until(answers_more)
    assert set(answers) == {"1"}


async def test_fifty_vips_move_in_one_go(bench: Bench, peer: Peer) -> None:
    """Each is announced to the neighbours, in one burst: both are timed, and printed with -s."""
    vips = [f"203.0.113.{number}/24" for number in range(100, 150)]
    wanted = half(1)
    (interface,) = wanted.interfaces
    wide = msgspec.structs.replace(interface, floating=(*interface.floating, *vips))
    everything = bench.site.new_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
    everything.setblocking(False)
    async with peer.saying(240):
        await bench.put(msgspec.structs.replace(wanted, interfaces=(wide,)))
        await role(bench, Role.BACKUP)
    silent = time.monotonic()
    left = {socket.inet_aton(vip.partition("/")[0]) for vip in vips}
    heard: list[float] = []
    async with asyncio.timeout(10):
        while left:
            frame = await asyncio.get_running_loop().sock_recv(everything, 2048)
            sender, target = frame[28:32], frame[38:42]
            if sender == target and sender in left:
                left.discard(sender)
                heard.append(time.monotonic() - silent)
    everything.close()
    print(f"50 VIPs announced {heard[0]:.3f} to {heard[-1]:.3f} s after silence")  # noqa: T201
    await role(bench, Role.MASTER)


async def test_it_outlives_its_agent_and_comes_back_when_keepalived_ends_or_hangs(
    bench: Bench, peer: Peer
) -> None:
    await bench.put(half(1))
    await role(bench, Role.MASTER)
    before = bench.site.processes(KEEPALIVED)
    (agent,) = bench.site.processes(AGENT)
    peer.forget()
    bench.site.kill(agent, signal.SIGKILL)
    await peer.advert(1.0)
    await bench.ready()
    await role(bench, Role.MASTER)
    assert bench.site.processes(KEEPALIVED) == before
    assert await bench.get() == (200, "1")
    for pid in before:
        bench.site.kill(pid, signal.SIGKILL)
    await until(ended(bench, *before))
    peer.forget()
    assert (await peer.advert())[0] == 250
    await role(bench, Role.MASTER)
    before = bench.site.processes(KEEPALIVED)
    for pid in before:
        bench.site.kill(pid, signal.SIGSTOP)
    await until(ended(bench, *before))
    await role(bench, Role.MASTER)
    await bench.put(half(1, stands_down=True))
    await role(bench, Role.BACKUP)
    (agent,) = bench.site.processes(AGENT)
    bench.site.kill(agent, signal.SIGKILL)
    await bench.ready()
    await bench.put(half(1))
    await role(bench, Role.MASTER)


async def answers(bench: Bench) -> bool:
    """Whether it serves the VIP that is led to it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            return await bench.get(vip=ROUTED_VIP) == (200, "1")
    return False


@pytest.mark.timed  # the other half is missed when its adverts come late
async def test_a_routed_half_is_fenced_while_another_has_the_floating_address(
    bench: Bench, peer: Peer
) -> None:
    """Also while its agent does nothing."""

    async def is_fenced() -> bool:
        return not await answers(bench)

    bench.site.lead(ROUTED_VIP, via=OWN)  # to it, whatever it is
    wanted = led_to(half(1))
    async with peer.saying(240):
        await bench.put(wanted)
        await role(bench, Role.BACKUP)
        assert await is_fenced()
    await role(bench, Role.MASTER)
    await until(lambda: answers(bench))
    (agent,) = bench.site.processes(AGENT)
    bench.site.kill(agent, signal.SIGSTOP)
    async with peer.saying(254):
        await until(is_fenced)
    await until(lambda: answers(bench))
    bench.site.kill(agent, signal.SIGCONT)
    await bench.put(led_to(bundle(2, server(1))))
    await until(lambda: answers(bench))


async def test_one_that_serves_alone_again_runs_no_keepalived(bench: Bench) -> None:
    await bench.put(half(1, peer=""))
    await role(bench, Role.MASTER)
    before = bench.site.processes(KEEPALIVED)
    with pytest.raises(Rejected, match="no interface has the address"):
        await bench.put(half(2, own="203.0.113.99"))
    assert await bench.get() == (200, "1")
    assert (await status(bench)).generation == 1
    await bench.put(bundle(2, server(1)))
    await until(ended(bench, *before))
    assert await bench.get() == (200, "1")


async def test_what_is_ended_is_not_started_again_meanwhile(bench: Bench) -> None:
    """A look at a keepalived that is being ended finds none."""
    wanted = led_to(bundle(1, server(1)))
    for generation in (1, 3, 5):
        await bench.put(led_to(half(generation, peer="")))
        await role(bench, Role.MASTER)
        await bench.put(msgspec.structs.replace(wanted, generation=generation + 1))
        assert bench.site.processes(KEEPALIVED) == []
        await role(bench, "")
