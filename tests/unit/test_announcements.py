# SPDX-License-Identifier: Apache-2.0
"""The frames that tell neighbours of an address, against bytes taken from the RFCs' layouts."""

import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from colonnade.protocol.announcements import announcement

MAC = bytes.fromhex("02aabbccddee")


def test_an_ipv4_address_is_announced_by_an_arp_request_for_itself() -> None:
    frame = announcement(MAC, IPv4Address("203.0.113.7"))
    assert frame.hex(" ", 2) == (
        "ffff ffff ffff 02aa bbcc ddee 0806 "
        "0001 0800 0604 0001 02aa bbcc ddee cb00 7107 0000 0000 0000 cb00 7107"
    )


@given(st.ip_addresses(v=6), st.binary(min_size=6, max_size=6))
def test_an_ipv6_advertisement_has_a_checksum_that_adds_up(
    address: IPv6Address, mac: bytes
) -> None:
    frame = announcement(mac, address)
    source, destination, message = frame[22:38], frame[38:54], frame[54:]
    pseudo = source + destination + struct.pack("!II", len(message), 58)
    total = sum(struct.unpack(f"!{len(pseudo + message) // 2}H", pseudo + message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF  # RFC 1071: the sum over a message with its checksum
    assert (message[0], message[4] >> 5) == (136, 1)  # advertisement; only the override flag
    assert message[8:24] == address.packed == source
    assert message[24:] == b"\x02\x01" + mac
