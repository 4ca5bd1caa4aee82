# SPDX-License-Identifier: Apache-2.0
"""The frames that tell neighbours where an address lives now, as bytes.

Neighbours remember the MAC address of an IP address for up to a minute; one that has just come to
an amphora says so itself: a gratuitous ARP request (RFC 5227 section 3) or an unsolicited neighbour
advertisement (RFC 4861 section 7.2.6). The kernel does so only when a link comes up. No sockets.
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

BROADCAST: Final = b"\xff" * 6
ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_IPV6: Final = 0x86DD
ARP_REQUEST: Final = 1
ICMPV6: Final = 58
NEIGHBOUR_ADVERTISEMENT: Final = 136
OVERRIDE: Final = 0x2000_0000  # take this instead of what you remember
TARGET_LINK_LAYER_ADDRESS: Final = 2
ALL_NODES: Final = IPv6Address("ff02::1")
HOP_LIMIT: Final = 255  # any other is ignored by receivers


def announcement(mac: bytes, address: IPv4Address | IPv6Address) -> bytes:
    """The Ethernet frame by which `mac` says that it has `address`."""
    if isinstance(address, IPv4Address):
        return _gratuitous_arp(mac, address)
    return _neighbour_advertisement(mac, address)


def _gratuitous_arp(mac: bytes, address: IPv4Address) -> bytes:
    frame = struct.pack("!6s6sH", BROADCAST, mac, ETHERTYPE_ARP)
    kinds = struct.pack("!HHBBH", 1, 0x0800, 6, 4, ARP_REQUEST)
    return frame + kinds + mac + address.packed + bytes(6) + address.packed


def _neighbour_advertisement(mac: bytes, address: IPv6Address) -> bytes:
    option = struct.pack("!BB6s", TARGET_LINK_LAYER_ADDRESS, 1, mac)
    body = struct.pack("!I16s", OVERRIDE, address.packed) + option
    message = _with_checksum(body, address)
    header = struct.pack("!IHBB", 0x6000_0000, len(message), ICMPV6, HOP_LIMIT)
    group = b"\x33\x33" + ALL_NODES.packed[-4:]
    frame = struct.pack("!6s6sH", group, mac, ETHERTYPE_IPV6)
    return frame + header + address.packed + ALL_NODES.packed + message


def _with_checksum(body: bytes, source: IPv6Address) -> bytes:
    """The ICMPv6 message; its checksum covers a pseudo-header too (RFC 8200 section 8.1)."""
    length = 4 + len(body)
    pseudo = source.packed + ALL_NODES.packed + struct.pack("!II", length, ICMPV6)
    start = struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, 0)
    total = sum(struct.unpack(f"!{(len(pseudo) + length) // 2}H", pseudo + start + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, ~total & 0xFFFF) + body
