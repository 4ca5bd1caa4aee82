# SPDX-License-Identifier: Apache-2.0
"""What the machine itself has: interfaces, addresses, and ports on which its programs listen.

It only looks, in the network namespace of the thread that calls it.
"""

import socket
import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final, TypeAlias

from colonnade.drivers.network.namespaces.physical import Facts, Link
from colonnade.drivers.network.protocol import Forward

OURS: Final = ("clb", "clm")  # how our own interfaces on the machine are called
# A temporary address, one that was found twice, one that ends, one that may not be used yet.
PASSING: Final = 0x01 | 0x08 | 0x20 | 0x40
GLOBAL: Final = 0  # RT_SCOPE_UNIVERSE
FILES: Final = (("tcp", "tcp"), ("tcp", "tcp6"), ("udp", "udp"), ("udp", "udp6"))
LISTENING: Final = {"tcp": "0A", "udp": "07"}  # of UDP: without a peer
Address: TypeAlias = IPv4Address | IPv6Address


def look(route: Any) -> Facts:
    """`route`: a socket of netlink's, in the namespace that is looked at."""
    names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in route.get_links()}
    addresses: dict[int, list[str]] = {}
    for message in route.get_addr():
        if message["scope"] == GLOBAL and not _flags(message) & PASSING:
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            addresses.setdefault(message["index"], []).append(f"{text}/{message['prefixlen']}")
    links = {}
    for link in route.get_links():
        name = names[link["index"]]
        if name == "lo" or name.startswith(OURS):
            continue
        about = link.get_attr("IFLA_LINKINFO")
        links[name] = Link(
            kind=str(about.get_attr("IFLA_INFO_KIND")) if about else "",
            mac=str(link.get_attr("IFLA_ADDRESS") or ""),
            addresses=tuple(addresses.get(link["index"], ())),
        )
    return Facts(links=links, default=next(_defaults(route, names), ""))


def _defaults(route: Any, names: dict[int, str]) -> Iterator[str]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in route.get_default_routes(family=family):
            index = message.get_attr("RTA_OIF")
            if index in names and not names[index].startswith(OURS):
                yield names[index]


def _flags(message: Any) -> int:
    return int(message.get_attr("IFA_FLAGS") or message["flags"])


def listening(address: str) -> Sequence[Forward]:
    """The ports on which a program of the machine listens, at that address or at all."""
    wanted = ip_address(address)
    found = set()
    for transport, name in FILES:
        path = Path("/proc/thread-self/net") / name
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        for line in lines:
            _, place, _, state, *_ = line.split()
            at, _, port = place.partition(":")
            if state == LISTENING[transport] and _meets(_address(at), wanted):
                found.add(Forward(transport, int(port, 16)))
    return sorted(found)


def _meets(listens: Address, wanted: Address) -> bool:
    if listens.is_unspecified:  # of IPv6 mostly for IPv4 too; whether so is not to be seen
        return listens.version == 6 or wanted.version == 4
    mapped = listens.ipv4_mapped if isinstance(listens, IPv6Address) else None
    return (mapped or listens) == wanted


def _address(text: str) -> Address:
    """As the kernel writes it: words in the machine's own order."""
    raw = bytes.fromhex(text)
    count = len(raw) // 4
    packed = struct.pack(f"!{count}I", *struct.unpack(f"={count}I", raw))
    return ip_address(packed)
