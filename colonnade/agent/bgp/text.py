# SPDX-License-Identifier: Apache-2.0
"""The file of BIRD, from a bundle. Pure.

It has a session with each router that is to hear, on the interface that is on its network, and
tells it the VIPs of this amphora and nothing else; from no router is anything taken. Every word in
it is a number, or an address that was read as one.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from typing import Final

from colonnade.protocol.bundle import LOCAL, Bundle, Hearer, Interface

VERSIONS: Final = (4, 6)
ASNS: Final = range(1, 2**32 - 1)
BFD_MS: Final = range(10, 10_001)
HOLD_S: Final = 9
FILE: Final = """\
# Made by Colonnade. Changes here are lost.
log stderr {{ info, warning, error, fatal, bug }};
router id {router_id};
protocol device {{
    scan time 10;
}}
{bfd}{vips}{sessions}"""
BFD: Final = """\
protocol bfd {{
    strict bind yes;
    interface "*" {{
        interval {ms} ms;
        idle tx interval 1 s;
        multiplier 3;
    }};
}}
"""
VIPS: Final = """\
protocol static vips{version} {{
    ipv{version};
{routes}}}
"""
SESSION: Final = """\
protocol bgp router{number} {{
    local {own} as {own_asn};
    neighbor {address} as {asn};
    strict bind yes;
    direct;
    bfd {bfd};
    hold time {hold};
    connect delay time 1;
    connect retry time 2;
    error wait time 1, 5;
    ipv{version} {{
        import none;
        export where proto = "vips{version}";
        next hop self;
    }};
}}
"""


def hearers(bundle: Bundle) -> Sequence[tuple[Interface, Hearer]]:
    """Those that are to hear of its VIPs, each with the interface on its network."""
    return [(one, hearer) for one in bundle.interfaces for hearer in one.hearers]


def text(bundle: Bundle, *, announces: bool) -> str:
    """`announces`: else the sessions stay, and the VIPs are taken back. Raises ValueError for what
    cannot be said."""
    found = hearers(bundle)
    intervals = {hearer.bfd_ms for _, hearer in found if hearer.bfd_ms}
    if not intervals <= set(BFD_MS):
        raise ValueError(f"BFD each {min(intervals)} ms")
    vips = list(_vips(bundle)) if announces else []
    return FILE.format(
        router_id=_router_id(_own(found[0][0], found[0][1])),
        bfd=BFD.format(ms=min(intervals)) if intervals else "",
        vips="".join(_static(version, vips) for version in VERSIONS),
        sessions="".join(
            _session(number, interface, hearer) for number, (interface, hearer) in enumerate(found)
        ),
    )


def versions(bundle: Bundle) -> dict[str, int]:
    """The sessions by name, and of which IP version each is."""
    return {
        f"router{number}": ip_address(hearer.address).version
        for number, (_, hearer) in enumerate(hearers(bundle))
    }


def _vips(bundle: Bundle) -> Iterator[str]:
    for interface in bundle.interfaces:
        if interface.mac == LOCAL:
            yield from interface.addresses


def _static(version: int, vips: Sequence[str]) -> str:
    networks = [network for one in vips if (network := ip_network(one)).version == version]
    lines = [f"    route {network} blackhole;\n" for network in networks]
    return VIPS.format(version=version, routes="".join(lines))


def _session(number: int, interface: Interface, hearer: Hearer) -> str:
    if hearer.asn not in ASNS or hearer.own_asn not in ASNS:
        raise ValueError(f"autonomous systems {hearer.own_asn} and {hearer.asn}")
    address = ip_address(hearer.address)
    return SESSION.format(
        number=number,
        own=_own(interface, hearer),
        own_asn=hearer.own_asn,
        address=address,
        asn=hearer.asn,
        bfd="yes" if hearer.bfd_ms else "no",
        hold=HOLD_S,
        version=address.version,
    )


def _own(interface: Interface, hearer: Hearer) -> IPv4Address | IPv6Address:
    """The amphora's address on the router's network."""
    router = ip_address(hearer.address)
    for one in map(ip_interface, interface.addresses):
        if router in one.network:
            return one.ip
    raise ValueError(f"no interface is on the network of the router {router}")


def _router_id(own: IPv4Address | IPv6Address) -> IPv4Address:
    """Unique where the address is, as far as 32 bits can be (RFC 4271 section 1.1)."""
    if isinstance(own, IPv4Address):
        return own
    return IPv4Address(int.from_bytes(sha256(own.packed).digest()[:4]) | 1)
