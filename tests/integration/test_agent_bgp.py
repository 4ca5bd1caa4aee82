# SPDX-License-Identifier: Apache-2.0
"""An amphora that announces its VIPs: the real agent, BIRD and haproxy, and a real router."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from colonnade.domain.errors import Rejected
from colonnade.protocol.bundle import BGP, Access, Bundle, Hearer
from colonnade.protocol.messages import PORT_BFD, PORT_BGP, Drain, StatusReport
from tests.agent_bench import Bench, bundle, server, until
from tests.agent_half import ROUTED_VIP, led_to, waiting_bench
from tests.agent_site import AMPHORA_IP
from tests.bgp_router import AMPHORAE_AS, OWN_AS, BgpRouter
from tests.environments import needs_bird, needs_nft

pytestmark = [needs_bird, needs_nft]

OWN, OWN6 = "203.0.113.5", "2001:db8:1::5"
ROUTER, ROUTER6 = "203.0.113.11", "2001:db8:1::2"
VIPS = ("192.0.2.0/24", "2001:db8:2::/64")
VIP6 = "2001:db8:2::7"
STRANGER = "203.0.113.12"
POWERS = 1 << 10 | 1 << 12 | 1 << 13  # CAP_NET_BIND_SERVICE, _NET_ADMIN, _NET_RAW
HAPROXY, BIRD, AGENT = "haproxy.cfg", "bird.conf", "colonnade.agent"


def heard(generation: int, *, asn: int = OWN_AS) -> Bundle:
    """The bench's bundle, announced to the router over IPv4 and IPv6."""
    front, local = led_to(bundle(generation, server(1))).interfaces
    hearers = tuple(
        Hearer(address=one, asn=asn, own_asn=AMPHORAE_AS, bfd_ms=100) for one in (ROUTER, ROUTER6)
    )
    front = msgspec.structs.replace(front, addresses=(f"{OWN}/24", f"{OWN6}/64"), hearers=hearers)
    local = msgspec.structs.replace(local, addresses=(*local.addresses, f"{VIP6}/128"))
    access = tuple(
        Access(address=address, port=port, allowed=(router,), protocol=protocol)
        for address, router in ((OWN, ROUTER), (OWN6, ROUTER6))
        for port, protocol in ((PORT_BGP, "tcp"), (PORT_BFD, "udp"))
    )
    wanted = led_to(bundle(generation, server(1)))
    return msgspec.structs.replace(
        wanted, interfaces=(front, local), access=access, needs=(*wanted.needs, BGP)
    )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with waiting_bench(tmp_path) as made:
        yield made


@pytest.fixture
def router(bench: Bench, tmp_path: Path) -> BgpRouter:
    ranges = ("203.0.113.0/24", "2001:db8:1::/64")
    made = BgpRouter(tmp_path, (ROUTER, ROUTER6), ranges, VIPS)
    bench.site.run(*made.argv)
    return made


async def status(bench: Bench) -> StatusReport:
    return await bench.client.status(AMPHORA_IP, bench.amphora_id)


async def leads(router: BgpRouter, *, there: bool = True) -> None:
    async def is_so() -> bool:
        led = [await router.led_to(ROUTED_VIP), await router.led_to(VIP6)]
        return led == ([{OWN}, {OWN6}] if there else [set(), set()])

    await until(is_so)


async def test_the_vips_are_announced_and_served_while_haproxy_serves(
    bench: Bench, router: BgpRouter
) -> None:
    assert not (await status(bench)).is_heard
    await bench.put(heard(1))
    await leads(router)

    async def is_heard() -> bool:
        return (await status(bench)).is_heard

    await until(is_heard)
    assert await bench.get(vip=ROUTED_VIP) == (200, "1")
    for pid in bench.site.processes(BIRD):
        assert bench.site.capabilities(pid) & ~POWERS == 0
    assert not await _is_let_in(bench, STRANGER)
    for pid in bench.site.processes(HAPROXY):
        bench.site.kill(pid, signal.SIGSTOP)
    await leads(router, there=False)  # it is ended, and another takes its place
    await leads(router)
    assert await bench.get(vip=ROUTED_VIP) == (200, "1")


async def _is_let_in(bench: Bench, source: str) -> bool:
    """Whether somebody may open a session with it from there."""
    with bench.site.new_socket(socket.AF_INET) as made:
        made.setblocking(False)
        made.bind((source, 0))
        try:
            async with asyncio.timeout(0.3):
                await asyncio.get_running_loop().sock_connect(made, (OWN, PORT_BGP))
        except TimeoutError:
            return False
        return True


async def test_one_that_drains_is_led_to_no_more_and_again_when_it_serves_something_else(
    bench: Bench, router: BgpRouter
) -> None:
    await bench.put(heard(1))
    await leads(router)
    await bench.client.drain(AMPHORA_IP, bench.amphora_id, Drain(within_ms=100, closed_s=2))
    assert await router.led_to(ROUTED_VIP) == set()
    await bench.put(msgspec.structs.replace(heard(2), access=()))
    await leads(router)


async def test_it_goes_on_without_its_agent_and_the_next_agent_takes_over(
    bench: Bench, router: BgpRouter
) -> None:
    await bench.put(heard(1))
    await leads(router)
    (bird,) = bench.site.processes(BIRD)
    (agent,) = bench.site.processes(AGENT)
    bench.site.kill(agent, signal.SIGKILL)
    await bench.ready()
    assert bench.site.processes(BIRD) == [bird]
    assert await router.led_to(ROUTED_VIP) == {OWN}
    bench.site.kill(bird, signal.SIGKILL)

    async def is_another() -> bool:
        return bench.site.processes(BIRD) not in ([], [bird])

    await until(is_another)
    await leads(router)


async def test_what_cannot_be_announced_is_refused_and_one_that_announces_nothing_runs_no_bird(
    bench: Bench, router: BgpRouter
) -> None:
    with pytest.raises(Rejected, match="autonomous systems"):
        await bench.put(heard(1, asn=0))
    assert bench.site.processes(BIRD) == []
    await bench.put(heard(2))
    await leads(router)
    await bench.put(led_to(bundle(3, server(1))))
    await leads(router, there=False)
    assert bench.site.processes(BIRD) == []
