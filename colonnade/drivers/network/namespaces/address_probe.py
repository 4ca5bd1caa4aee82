# SPDX-License-Identifier: Apache-2.0
"""Ask a wire whether somebody has an address already, before a load balancer gets it.

Invariant: it takes no address to ask, so that nobody is disturbed. Who does not answer within
`ANSWER_S` has not got it. It knows no port.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from colonnade.domain.errors import Unavailable
from colonnade.drivers.network.namespaces.cables import Cables
from colonnade.protocol.announcements import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV6,
    announcement,
    holder,
    question,
)

QUESTIONS: Final = 3  # a frame may be lost
BETWEEN_S: Final = 0.12
ANSWER_S: Final = 0.4  # after the last question
FRAME_BYTES: Final = 256


async def holder_of(links: Cables, link: str, text: str) -> str:
    """The MAC address of who has it on that link's wire; "" when nobody has. Raises Unavailable."""
    address = ip_address(text)
    raw = await links.run(_opened, link, address.version)
    try:
        return await _asked(raw, address)
    finally:
        raw.close()


async def tell(links: Cables, link: str, text: str) -> None:
    """The neighbours there, that the machine has the address now. Raises Unavailable."""
    address = ip_address(text)
    raw = await links.run(_opened, link, address.version)
    with raw:
        for _ in range(2):  # a frame may be lost
            _send(raw, announcement(raw.getsockname()[4], address))


def _opened(link: str, version: int) -> socket.socket:
    kind = socket.htons(ETHERTYPE_ARP if version == 4 else ETHERTYPE_IPV6)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, kind)
    raw.setblocking(False)
    raw.bind((link, socket.ntohs(kind)))
    return raw


async def _asked(raw: socket.socket, address: IPv4Address | IPv6Address) -> str:
    own = raw.getsockname()[4]
    hearing = asyncio.create_task(_heard(raw, address, own))
    try:
        for number in range(QUESTIONS):
            _send(raw, question(own, address))
            last = number == QUESTIONS - 1
            await asyncio.wait([hearing], timeout=ANSWER_S if last else BETWEEN_S)
            if hearing.done():
                return hearing.result().hex(":")
        return ""
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])


def _send(raw: socket.socket, frame: bytes) -> None:
    try:
        raw.send(frame)
    except OSError as error:
        reason = f"nothing can be sent on interface {raw.getsockname()[0]}"
        raise Unavailable(reason, detail=str(error)) from error


async def _heard(raw: socket.socket, address: IPv4Address | IPv6Address, own: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        said = holder(await loop.sock_recv(raw, FRAME_BYTES), address)
        if said is not None and said != own:
            return said
