# SPDX-License-Identifier: Apache-2.0
"""BIRD's file against golden text; nothing that is not a number or an address gets into it.

To take a change over into the golden text: `GOLDEN=write pytest` on this file, and read the
difference before it is committed.
"""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from colonnade.agent.bgp.text import text, versions
from colonnade.protocol.bundle import LOCAL, Bundle, Hearer, Interface

GOLDEN = Path(__file__).parent / "golden"
ONE = Hearer(address="203.0.113.250", asn=64600, own_asn=64512, bfd_ms=100)
OTHER = replace(ONE, address="203.0.113.251", bfd_ms=50)
SIX = Hearer(address="2001:db8:1::fa", asn=4200000001, own_asn=64512)
FRONT = Interface(mac="02:00:00:00:00:05", addresses=("203.0.113.5/24",), hearers=(ONE, OTHER))
FRONT6 = Interface(mac="02:00:00:00:00:06", addresses=("2001:db8:1::5/64",), hearers=(SIX,))
VIPS = Interface(mac=LOCAL, addresses=("192.0.2.7/32", "2001:db8:2::7/128"))


def bundle(*interfaces: Interface) -> Bundle:
    return Bundle(generation=1, config="x", frame="x", interfaces=interfaces)


@pytest.mark.parametrize(
    ("name", "interfaces", "announces"),
    [
        ("both-versions", (FRONT, FRONT6, VIPS), True),
        ("taken-back", (FRONT, FRONT6, VIPS), False),
        ("ipv6", (FRONT6, replace(VIPS, addresses=VIPS.addresses[1:])), True),
    ],
)
def test_each_is_its_golden_text(
    name: str, interfaces: tuple[Interface, ...], announces: bool
) -> None:
    golden = GOLDEN / f"bird-{name}.conf"
    said = text(bundle(*interfaces), announces=announces)
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(said)
    assert said == golden.read_text()


def test_the_sessions_are_known_by_name() -> None:
    assert versions(bundle(FRONT, FRONT6, VIPS)) == {"router0": 4, "router1": 4, "router2": 6}


@pytest.mark.parametrize(
    ("hearer", "vips", "why"),
    [
        (replace(ONE, address="203.0.113.250; }"), VIPS, "does not appear to be"),
        (replace(ONE, address="198.51.100.1"), VIPS, "no interface is on the network of"),
        (replace(ONE, asn=0), VIPS, "autonomous systems 64512 and 0"),
        (replace(ONE, bfd_ms=1), VIPS, "BFD each 1 ms"),
        (ONE, replace(VIPS, addresses=("192.0.2.7/32 via x",)), "does not appear to be"),
    ],
)
def test_what_is_no_number_or_address_is_refused(hearer: Hearer, vips: Interface, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        text(bundle(replace(FRONT, hearers=(hearer,)), vips), announces=True)
