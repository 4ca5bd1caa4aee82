# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of routes and neighbours, as an agent reads it."""

from pathlib import Path

from msgspec.structs import replace

from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.keepalived.process import Keepalived
from colonnade.agent.own_troubles import Troubles, answers, gateways
from colonnade.protocol.bundle import Bundle, Pair
from colonnade.protocol.messages import StatusReport, Trouble, TroubleKind

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


def test_haproxy_is_missed_only_where_there_is_something_to_serve(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    keepalived = Keepalived("keepalived", folder, tmp_path)
    troubles = Troubles(folder, Haproxy("haproxy", folder, tmp_path), keepalived)
    serving = Bundle(generation=1, config="frontend web", frame="")
    nothing = Bundle(generation=1, config="", frame="")
    down = StatusReport(generation=1, haproxy_running=False)
    up = StatusReport(generation=1, haproxy_running=True)
    assert troubles.look(serving, down) == (Trouble(kind=TroubleKind.HAPROXY),)
    assert troubles.look(serving, up) == ()
    assert troubles.look(nothing, down) == ()
    assert troubles.look(None, down) == ()
    half = replace(serving, pair=Pair(own="203.0.113.5", priority=250))
    assert troubles.look(half, up) == (Trouble(kind=TroubleKind.KEEPALIVED),)
