# SPDX-License-Identifier: Apache-2.0
"""The interface on the LB network: wait for it, give it its address if nobody else has, and further
ones for the seats that the amphora carries.

Looks through ioctls and /proc, because a bind to an address tells nothing where
`ip_nonlocal_bind` is set.
"""

import asyncio
import contextlib
import fcntl
import ipaddress
import socket
import struct
import time
from pathlib import Path
from typing import Final

from colonnade.agent.network import interfaces
from colonnade.agent.network.links import address_of, mac_of
from colonnade.protocol.announcements import announcement
from colonnade.protocol.bundle import Interface
from colonnade.protocol.messages import AgentConfig

LB_ADDRESS_S_MAX: Final = 30.0
ANNOUNCEMENTS: Final = 2  # a frame may be lost
_SET_ADDRESS, _SET_MASK, _SET_FLAGS = 0x8916, 0x891C, 0x8914  # SIOCSIFADDR, -NETMASK, -FLAGS
_DROP_ADDRESS: Final = 0x8936  # SIOCDIFADDR, of IPv6 alone
_ADDRESS: Final = struct.Struct("16sHH4s232x")  # struct ifreq with a sockaddr_in
_FLAGS: Final = struct.Struct("16sh238x")
_IPV6: Final = struct.Struct("=16sIi")  # struct in6_ifreq


async def have_lb_address(config: AgentConfig) -> None:
    """Return when the amphora has its address. Raises NotThere or Failed."""
    deadline = time.monotonic() + LB_ADDRESS_S_MAX
    while not _has(config.lb_interface, config.lb_network_ip):
        mac = mac_of(config.lb_interface)
        if mac:
            address = f"{config.lb_network_ip}/{config.lb_prefix_length}"
            await interfaces.arrange((Interface(mac=mac, addresses=(address,)),), None)
        if time.monotonic() > deadline:
            raise interfaces.NotThere(f"{config.lb_interface} has no {config.lb_network_ip}")
        await asyncio.sleep(0.02)


def add(config: AgentConfig) -> None:
    """One more address, beside the amphora's own; neighbours may know it of another amphora, and
    are told. There already: nothing to do. Raises OSError."""
    if ":" in config.lb_network_ip:
        if not _has(config.lb_interface, config.lb_network_ip):
            _change_ipv6(_SET_ADDRESS, config)
    else:
        mask = ipaddress.ip_network(f"0.0.0.0/{config.lb_prefix_length}").netmask
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            for call, address in ((_SET_ADDRESS, config.lb_network_ip), (_SET_MASK, str(mask))):
                packed = socket.inet_aton(address)
                fcntl.ioctl(asker, call, _ADDRESS.pack(_label(config), socket.AF_INET, 0, packed))
    mac = bytes.fromhex(mac_of(config.lb_interface).replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((config.lb_interface, 0))
        for _ in range(ANNOUNCEMENTS):
            raw.send(announcement(mac, ipaddress.ip_address(config.lb_network_ip)))


def remove(config: AgentConfig) -> None:
    """That address is gone. Not there: nothing to do."""
    with contextlib.suppress(OSError):
        if ":" in config.lb_network_ip:
            _change_ipv6(_DROP_ADDRESS, config)
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            fcntl.ioctl(asker, _SET_FLAGS, _FLAGS.pack(_label(config), 0))


def _label(config: AgentConfig) -> bytes:
    """A name for the address, by which it is found again."""
    return f"{config.lb_interface}:{config.amphora_id[-8:]}".encode()


def _change_ipv6(call: int, config: AgentConfig) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asker:
        index = socket.if_nametoindex(config.lb_interface)
        packed = ipaddress.IPv6Address(config.lb_network_ip).packed
        fcntl.ioctl(asker, call, _IPV6.pack(packed, config.lb_prefix_length, index))


def _has(name: str, address: str) -> bool:
    if ":" in address:
        written = ipaddress.IPv6Address(address).packed.hex()
        return written in Path("/proc/net/if_inet6").read_text()
    return address_of(name) == address
