# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of routes and neighbours, as an agent reads it."""

from colonnade.agent.troubles import answers, gateways

ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
vip0\t00000000\t017100CB\t0003\t0\t0\t0\t00000000\t0\t0\t0
down0\t00000000\t027100CB\t0002\t0\t0\t0\t00000000\t0\t0\t0
vip0\t007100CB\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
NONE = "0" * 32
IPV6_ROUTE = f"""\
20010db8000100000000000000000000 40 {NONE} 00 {NONE} 00000100 00000001 00000000 00000001 vip0
{NONE} 00 {NONE} 00 20010db8000100000000000000000001 00000400 00000003 00000000 00000003 vip0
"""
ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
203.0.113.1      0x1         0x2         02:fc:00:00:00:05     *        vip0
203.0.113.9      0x1         0x0         00:00:00:00:00:00     *        vip0
"""


def test_gateways_of_default_routes_are_read() -> None:
    assert gateways(ROUTE.splitlines(), IPV6_ROUTE.splitlines()) == {
        "203.0.113.1",
        "2001:db8:1::1",
    }
    assert gateways([], []) == set()


def test_who_answered_is_told_from_who_did_not() -> None:
    assert answers(ARP.splitlines()) == {"203.0.113.1": True, "203.0.113.9": False}
    assert answers([]) == {}
