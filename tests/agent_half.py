# SPDX-License-Identifier: Apache-2.0
"""One half of a pair on the agent's bench, of which the other half is whoever uses this.

What the half says is heard as packets of VRRPv3 (RFC 5798), and what it holds is seen in its
status.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from colonnade.protocol.bundle import LOCAL, PAIR, ROUTED, Access, Bundle, Interface, Pair
from colonnade.protocol.messages import Role, StatusReport
from tests.agent_bench import Bench, bundle, server, until
from tests.agent_site import AMPHORA_IP, VIP, VIP6, VIP_MAC

ROUTED_VIP = "192.0.2.7"
OWN, PEER = "203.0.113.5", "203.0.113.11"
VRRP = 112


@contextlib.asynccontextmanager
async def waiting_bench(folder: Path) -> AsyncIterator[Bench]:
    """A bench with one web server, whose haproxy listens on VIPs before it has them."""
    made = Bench(folder)
    try:
        await made.start()
        made.site.let_listen_early()
        await made.web_server(1)
        yield made
    finally:
        await made.end()


def half(generation: int, **changes: Any) -> Bundle:
    """The bench's bundle for one half of a pair whose other half has `PEER`."""
    pair = msgspec.structs.replace(Pair(own=OWN, peer=PEER, priority=250), **changes)
    interface = Interface(
        mac=VIP_MAC,
        addresses=(f"{OWN}/24", "2001:db8:1::5/64"),
        gateways=("203.0.113.1", "2001:db8:1::1"),
        is_default=True,
        floating=(f"{VIP}/24", f"{VIP6}/64"),
    )
    peers = (pair.peer,) if pair.peer else ()
    return msgspec.structs.replace(
        bundle(generation, server(1)),
        interfaces=(interface,),
        access=(Access(address=OWN, port=0, allowed=peers, protocol="vrrp"),),
        pair=pair,
        needs=(PAIR,),
    )


class Peer:
    """The other half's ears and mouth, or a stranger's."""

    def __init__(self, bench: Bench, address: str = PEER) -> None:
        self._socket = bench.site.new_socket(socket.AF_INET, socket.SOCK_RAW, VRRP)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        self._socket.bind((address, 0))
        self._address = address

    async def advert(self, within_s: float = 5.0) -> tuple[int, int]:
        """The next that comes: priority, and hundredths of a second to the one after."""
        async with asyncio.timeout(within_s):
            packet = await asyncio.get_running_loop().sock_recv(self._socket, 512)
        kind, router, priority, _, interval = struct.unpack_from("!BBBBH", packet[20:])
        assert (kind, router) == (0x31, 1)
        return priority, interval & 0xFFF

    def forget(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(512)

    def say(self, priority: int) -> None:
        head = struct.pack("!BBBBHH4s", 0x31, 1, priority, 1, 10, 0, socket.inet_aton(VIP))
        ends = socket.inet_aton(self._address) + socket.inet_aton(OWN)
        checked = ends + struct.pack("!BBH", 0, VRRP, len(head)) + head
        total = sum(struct.unpack(f"!{len(checked) // 2}H", checked))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        said = head[:6] + struct.pack("!H", ~total & 0xFFFF) + head[8:]
        self._socket.sendto(said, (OWN, 0))

    @contextlib.asynccontextmanager
    async def saying(self, priority: int) -> AsyncIterator[None]:
        """Every 50 ms while inside."""

        async def repeat() -> None:
            while True:
                self.say(priority)
                await asyncio.sleep(0.05)

        task = asyncio.create_task(repeat())
        try:
            yield
        finally:
            task.cancel()

    def close(self) -> None:
        self._socket.close()


async def status(bench: Bench) -> StatusReport:
    return await bench.client.status(AMPHORA_IP, bench.amphora_id)


async def role(bench: Bench, wanted: Role | str) -> None:
    async def has() -> bool:
        return (await status(bench)).role == wanted

    await until(has)


def led_to(wanted: Bundle, *, vips: Sequence[str] = (ROUTED_VIP,)) -> Bundle:
    """The bundle with VIPs that a router leads to the amphora."""
    local = Interface(mac=LOCAL, addresses=tuple(f"{vip}/32" for vip in vips))
    (interface,) = wanted.interfaces
    binds = "\n  ".join(f"bind {vip}:80" for vip in vips)
    frame, config = (
        text.replace(f"bind {VIP}:80", binds) for text in (wanted.frame, wanted.config)
    )
    return msgspec.structs.replace(
        wanted,
        config=config,
        frame=frame,
        interfaces=(interface, local),
        needs=(*wanted.needs, ROUTED),
    )
