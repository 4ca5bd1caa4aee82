# SPDX-License-Identifier: Apache-2.0
"""The packet filter of the machine, as far as load balancers are on its own networks: one table of
nftables.

Invariant: the table is replaced as a whole, in one transaction, and what is open goes on. Who comes
out of an amphora reaches nothing of the machine's own, of other amphorae or of the link, but what a
VIP says; and nobody reaches an amphora but by a VIP. Pure: text in the words of nft(8).
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Final

import msgspec

from colonnade.drivers.network.namespaces.address_book import TRANSIT
from colonnade.drivers.network.protocol import Forward

CABLE: Final = "clb"  # how the machine's ends of cables to amphorae begin
LEG: Final = "clm"  # and its own legs on networks where amphorae have a macvlan
FAMILIES: Final[Sequence[tuple[int, str, str]]] = ((4, "ip", "ipv4"), (6, "ip6", "ipv6"))
TRANSIT_OF: Final[dict[int, str]] = {
    ip_address(c.partition("/")[0]).version: c for c in TRANSIT.cidrs
}
# Where no member is: the link itself, with what clouds tell their machines there, and multicast.
NEVER: Final[dict[int, str]] = {
    4: "169.254.0.0/16, 224.0.0.0/4, 127.0.0.0/8",
    6: "fe80::/10, ff00::/8, ::1",
}
ND: Final = "{ nd-neighbor-solicit, nd-neighbor-advert }"


class Led(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A port of an address of the machine, and the address in the transit where it leads."""

    address: str
    forward: Forward
    to: str


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """`ranges`: addresses that amphorae have on wires which the machine is on as well, "a-b".
    `closed`: IP versions of which the machine forwarded nothing before we asked it to."""

    led: Sequence[Led] = ()
    ranges: Sequence[tuple[str, str]] = ()
    bridged: bool = False  # some of them on bridges of the machine
    closed: Sequence[int] = ()


def removal(name: str, family: str = "inet") -> str:
    """It may be there or not."""
    return f"table {family} {name}\ndelete table {family} {name}\n"


def table_text(name: str, what: Contents) -> str:
    """For `nft --file`."""
    text = _table("inet", name, _lines(what))
    return text + (_table("bridge", name, _bridge(what)) if what.bridged else "")


def _table(family: str, name: str, lines: Iterator[str]) -> str:
    inside = "\n".join(f"  {line}" for line in lines)
    return f"{removal(name, family)}table {family} {name} {{\n{inside}\n}}\n"


def closes(text: str, version: int) -> bool:
    """Whether the table, as nft lists it, keeps the machine from forwarding others' packets."""
    kind = next(kind for number, _, kind in FAMILIES if number == version)
    return f"meta nfproto {kind} iifname !=" in text


def _lines(what: Contents) -> Iterator[str]:
    for version, _, kind in FAMILIES:
        yield f"map to{version} {{"
        yield f"  type {kind}_addr . inet_proto . inet_service : {kind}_addr"
        led = [one for one in what.led if ip_address(one.address).version == version]
        if led:
            places = ", ".join(
                f"{o.address} . {o.forward.transport} . {o.forward.port} : {o.to}" for o in led
            )
            yield f"  elements = {{ {places} }}"
        yield "}"
    for hook in ("prerouting", "output"):  # of others, and of the machine itself
        yield f"chain {hook} {{"
        yield f"  type nat hook {hook} priority -100"
        for version, family, _ in FAMILIES:
            place = f"{family} daddr . meta l4proto . th dport"
            yield f"  dnat {family} to {place} map @to{version}"
        yield "}"
    yield from _postrouting()
    yield from _own_addresses_only()
    yield from _input(what)
    yield from _forward(what)


def _postrouting() -> Iterator[str]:
    yield "chain postrouting {"
    yield "  type nat hook postrouting priority 100"
    for version, family, _ in FAMILIES:
        transit = TRANSIT_OF[version]
        # Members see the machine; an amphora sees its neighbour, for the machine has its own VIP.
        yield f'  {family} saddr {transit} oifname != "{CABLE}*" masquerade'
        yield f'  {family} daddr {transit} oifname "{CABLE}*" fib saddr type local masquerade'
    yield "}"
    yield "chain leaving {"
    yield "  type filter hook postrouting priority 0"
    for version, family, _ in FAMILIES:  # while no amphora has the VIP
        yield f'  {family} daddr {TRANSIT_OF[version]} oifname != "{CABLE}*" drop'
    yield "}"


def _own_addresses_only() -> Iterator[str]:
    yield "chain arriving {"
    yield "  type filter hook prerouting priority -300"
    yield f"  icmpv6 type {ND} accept"
    yield f'  iifname "{CABLE}*" fib saddr . iif oif missing drop'
    yield "}"


def _input(what: Contents) -> Iterator[str]:
    yield "chain from_amphorae {"
    yield "  ct state established,related accept"
    yield f"  icmpv6 type {ND} accept"
    yield "  drop"
    yield "}"
    yield "chain input {"
    yield "  type filter hook input priority 0"
    yield f'  iifname {{ "{CABLE}*", "{LEG}*" }} jump from_amphorae'
    for version, family, _ in FAMILIES:
        if ranges := _ranges(what, version):
            yield f'  iifname != "lo" {family} saddr {{ {ranges} }} jump from_amphorae'
    yield "}"


def _bridge(what: Contents) -> Iterator[str]:
    """On a bridge amphorae are known by their cables: they send as what load balancers may have."""
    own, own_6 = _ranges(what, 4) or "255.255.255.255", _ranges(what, 6) or "::1"  # nobody's
    cable = f'iifname "{CABLE}*"'
    yield "chain arriving {"
    yield "  type filter hook prerouting priority -300"
    yield f"  {cable} arp saddr ip != {{ 0.0.0.0, {own} }} drop"
    yield f"  {cable} ip saddr != {{ {own} }} drop"
    yield f"  {cable} ip6 saddr {{ fe80::/10, :: }} icmpv6 type {ND} accept"
    yield f"  {cable} ip6 saddr {{ fe80::/10, :: }} icmpv6 type mld2-listener-report accept"
    yield f"  {cable} ip6 saddr != {{ {own_6} }} drop"
    yield "}"


def _ranges(what: Contents, version: int) -> str:
    return ", ".join(
        f"{first}-{last}" if first != last else first
        for first, last in what.ranges
        if ip_address(first).version == version
    )


def _forward(what: Contents) -> Iterator[str]:
    yield "chain forward {"
    yield "  type filter hook forward priority 0"
    for version, family, kind in FAMILIES:
        transit = TRANSIT_OF[version]
        yield f'  iifname "{CABLE}*" {family} daddr {{ {NEVER[version]} }} drop'
        yield f"  {family} daddr {transit} ct state new ct status & dnat != dnat drop"
        if version in what.closed:
            cables = f'iifname != "{CABLE}*" oifname != "{CABLE}*"'
            yield f"  meta nfproto {kind} {cables} drop"
    yield "}"
