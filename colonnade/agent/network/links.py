# SPDX-License-Identifier: Apache-2.0
"""Interfaces of the agent's own network namespace: what the kernel says of one, and giving it away.

Asked by ioctl, for /sys may show another namespace's; told by one message of rtnetlink(7), for the
library of the short-lived processes needs memory that an idle agent should not hold.
"""

import errno
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

_GET_ADDRESS, _GET_MAC = 0x8915, 0x8927  # SIOCGIFADDR, SIOCGIFHWADDR
_REQUEST: Final = struct.Struct("16s240x")
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK: Final = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type; what follows is padded to 4 bytes
_RTM_SETLINK, _REQUEST_WITH_ANSWER = 19, 5  # NLM_F_REQUEST | NLM_F_ACK
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28


def address_of(name: str) -> str:
    """Its first of IPv4; "" when there is none."""
    answer = _asked(name, _GET_ADDRESS)
    return "" if answer is None else socket.inet_ntoa(answer[20:24])


def mac_of(name: str) -> str:
    """ "" when there is no such interface."""
    answer = _asked(name, _GET_MAC)
    return "" if answer is None else ":".join(f"{byte:02x}" for byte in answer[18:24])


def give_away(index: int, namespace: Path, name: str) -> None:
    """Into another network namespace, where it is down and has that name. Raises OSError."""
    with namespace.open("rb") as target:
        wanted = _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        wanted += _attribute(_IFLA_NET_NS_FD, struct.pack("=I", target.fileno()))
        body = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + wanted
        length = _HEADER.size + len(body)
        head = _HEADER.pack(length, _RTM_SETLINK, _REQUEST_WITH_ANSWER, 1, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as kernel:
            kernel.sendall(head + body)
            answer = kernel.recv(4096)
    (error,) = struct.unpack_from("=i", answer, _HEADER.size)
    if error:
        raise OSError(-error, f"{errno.errorcode.get(-error, error)}: {os.strerror(-error)}")


def _attribute(kind: int, value: bytes) -> bytes:
    text = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    return text + bytes(-len(text) % 4)


def _asked(name: str, question: int) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            return fcntl.ioctl(probe, question, _REQUEST.pack(name.encode()))
        except OSError:
            return None
