# SPDX-License-Identifier: Apache-2.0
"""The frames that tell neighbours of an address, against bytes taken from the RFCs' layouts."""

import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from colonnade.protocol.announcements import announcement, holder, question

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


@given(st.ip_addresses(), st.binary(min_size=6, max_size=6), st.binary(min_size=6, max_size=6))
def test_who_has_an_address_is_heard_and_who_has_another_is_not(
    address: IPv4Address | IPv6Address, mac: bytes, other: bytes
) -> None:
    assert holder(announcement(mac, address), address) == mac
    assert holder(question(other, address), address) == other  # who wants it, too
    elsewhere = type(address)(int(address) ^ 1)
    if int(address) and int(elsewhere):  # the sender of a question has no address
        assert holder(announcement(mac, elsewhere), address) is None
        assert holder(question(mac, elsewhere), address) is None
    assert holder(b"", address) is None


def test_a_question_is_asked_without_an_address_of_ones_own() -> None:
    frame = question(MAC, IPv4Address("203.0.113.7"))
    assert frame.hex(" ", 2).endswith("02aa bbcc ddee 0000 0000 0000 0000 0000 cb00 7107")
    asked = question(MAC, IPv6Address("2001:db8::1:2:3"))
    assert asked[:6].hex() == "3333ff020003"
    assert asked[22:38] == bytes(16)
    assert IPv6Address(asked[38:54]) == IPv6Address("ff02::1:ff02:3")
