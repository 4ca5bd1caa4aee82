# SPDX-License-Identifier: Apache-2.0
"""The interface on the LB network: wait for it, and give it its address if nobody else has.

Looks through ioctls and /proc, because a bind to an address tells nothing where
`ip_nonlocal_bind` is set, and /sys may show another namespace's links.
"""

import asyncio
import fcntl
import ipaddress
import socket
import struct
import time
from pathlib import Path
from typing import Final

from colonnade.agent.network import interfaces
from colonnade.protocol.bundle import Interface
from colonnade.protocol.messages import AgentConfig

LB_ADDRESS_S_MAX: Final = 30.0
_GET_ADDRESS, _GET_MAC = 0x8915, 0x8927  # SIOCGIFADDR, SIOCGIFHWADDR
_REQUEST: Final = struct.Struct("16s240x")


async def have_lb_address(config: AgentConfig) -> None:
    """Return when the amphora has its address. Raises NotThere or Failed."""
    deadline = time.monotonic() + LB_ADDRESS_S_MAX
    while not _has(config.lb_interface, config.lb_network_ip):
        mac = _mac_of(config.lb_interface)
        if mac:
            address = f"{config.lb_network_ip}/{config.lb_prefix_length}"
            await interfaces.arrange((Interface(mac=mac, addresses=(address,)),), None)
        if time.monotonic() > deadline:
            raise interfaces.NotThere(f"{config.lb_interface} has no {config.lb_network_ip}")
        await asyncio.sleep(0.02)


def _has(name: str, address: str) -> bool:
    if ":" in address:
        written = ipaddress.IPv6Address(address).packed.hex()
        return written in Path("/proc/net/if_inet6").read_text()
    answer = _asked(name, _GET_ADDRESS)
    return answer is not None and socket.inet_ntoa(answer[20:24]) == address


def _mac_of(name: str) -> str:
    answer = _asked(name, _GET_MAC)
    return "" if answer is None else ":".join(f"{byte:02x}" for byte in answer[18:24])


def _asked(name: str, question: int) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            return fcntl.ioctl(probe, question, _REQUEST.pack(name.encode()))
        except OSError:
            return None
