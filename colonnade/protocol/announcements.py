# SPDX-License-Identifier: Apache-2.0
"""The frames that tell neighbours where an address lives now, and that ask whose one is, as bytes.

Neighbours remember the MAC address of an IP address for up to a minute; one that has just come to
an amphora says so itself: a gratuitous ARP request (RFC 5227 section 3) or an unsolicited neighbour
advertisement (RFC 4861 section 7.2.6). The kernel does so only when a link comes up. Whoever wants
an address asks before (RFC 5227 section 2.1, RFC 4862 section 5.4). No sockets.
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

BROADCAST: Final = b"\xff" * 6
ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_IPV6: Final = 0x86DD
ARP_REQUEST: Final = 1
NEIGHBOUR_SOLICITATION: Final = 135
ICMPV6: Final = 58
NEIGHBOUR_ADVERTISEMENT: Final = 136
OVERRIDE: Final = 0x2000_0000  # take this instead of what you remember
TARGET_LINK_LAYER_ADDRESS: Final = 2
ALL_NODES: Final = IPv6Address("ff02::1")
SOLICITED: Final = IPv6Address("ff02::1:ff00:0")
HOP_LIMIT: Final = 255  # any other is ignored by receivers


def announcement(mac: bytes, address: IPv4Address | IPv6Address) -> bytes:
    """The Ethernet frame by which `mac` says that it has `address`."""
    if isinstance(address, IPv4Address):
        return _gratuitous_arp(mac, address)
    return _neighbour_advertisement(mac, address)


def question(mac: bytes, address: IPv4Address | IPv6Address) -> bytes:
    """The frame by which `mac` asks whether anybody has `address`, and says that it has none."""
    if isinstance(address, IPv6Address):
        return _neighbour_solicitation(mac, address)
    frame = struct.pack("!6s6sH", BROADCAST, mac, ETHERTYPE_ARP)
    kinds = struct.pack("!HHBBH", 1, 0x0800, 6, 4, ARP_REQUEST)
    return frame + kinds + mac + bytes(4) + bytes(6) + address.packed


def holder(frame: bytes, address: IPv4Address | IPv6Address) -> bytes | None:
    """The MAC address of whoever says in that frame that it has, or wants, `address`."""
    _, mac, kind = struct.unpack_from("!6s6sH", frame) if len(frame) >= 14 else (b"", b"", 0)
    if isinstance(address, IPv4Address):
        says = kind == ETHERTYPE_ARP and len(frame) >= 42
        wants = frame[28:32] == bytes(4) and frame[38:42] == address.packed
        return frame[22:28] if says and (wants or frame[28:32] == address.packed) else None
    says = kind == ETHERTYPE_IPV6 and len(frame) >= 78 and frame[20] == ICMPV6
    is_none = frame[22:38] == bytes(16)  # who asks for itself
    of_kind = frame[54:55] == bytes([NEIGHBOUR_ADVERTISEMENT]) or (
        frame[54:55] == bytes([NEIGHBOUR_SOLICITATION]) and is_none
    )
    return mac if says and of_kind and frame[62:78] == address.packed else None


def _gratuitous_arp(mac: bytes, address: IPv4Address) -> bytes:
    frame = struct.pack("!6s6sH", BROADCAST, mac, ETHERTYPE_ARP)
    kinds = struct.pack("!HHBBH", 1, 0x0800, 6, 4, ARP_REQUEST)
    return frame + kinds + mac + address.packed + bytes(6) + address.packed


def _neighbour_advertisement(mac: bytes, address: IPv6Address) -> bytes:
    option = struct.pack("!BB6s", TARGET_LINK_LAYER_ADDRESS, 1, mac)
    body = struct.pack("!I16s", OVERRIDE, address.packed) + option
    between = address, ALL_NODES
    return _frame(mac, between, _with_checksum(NEIGHBOUR_ADVERTISEMENT, body, between))


def _neighbour_solicitation(mac: bytes, address: IPv6Address) -> bytes:
    asked = IPv6Address(SOLICITED.packed[:13] + address.packed[13:])
    between = IPv6Address(0), asked
    body = struct.pack("!I16s", 0, address.packed)
    return _frame(mac, between, _with_checksum(NEIGHBOUR_SOLICITATION, body, between))


def _frame(mac: bytes, between: tuple[IPv6Address, IPv6Address], message: bytes) -> bytes:
    source, destination = between
    header = struct.pack("!IHBB", 0x6000_0000, len(message), ICMPV6, HOP_LIMIT)
    group = b"\x33\x33" + destination.packed[-4:]
    frame = struct.pack("!6s6sH", group, mac, ETHERTYPE_IPV6)
    return frame + header + source.packed + destination.packed + message


def _with_checksum(kind: int, body: bytes, between: tuple[IPv6Address, IPv6Address]) -> bytes:
    """The ICMPv6 message; its checksum covers a pseudo-header too (RFC 8200 section 8.1)."""
    length = 4 + len(body)
    pseudo = between[0].packed + between[1].packed + struct.pack("!II", length, ICMPV6)
    start = struct.pack("!BBH", kind, 0, 0)
    total = sum(struct.unpack(f"!{(len(pseudo) + length) // 2}H", pseudo + start + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body
