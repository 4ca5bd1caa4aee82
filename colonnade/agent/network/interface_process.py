# SPDX-License-Identifier: Apache-2.0
"""A short-lived process: make the interfaces of the namespace it runs in as they are wanted.

Reads a JSON list of `protocol.bundle.Interface` from standard input, changes what differs, writes
the names of those interfaces by MAC address and ends; run again it changes nothing. Exit code 3 and
the MAC addresses on standard output: those interfaces are not there (yet). One that is there and is
not wanted keeps its addresses until it is unplugged, for requests to members behind it are still
under way. A process of its own, because netlink needs memory that an idle agent should not hold and
the namespace is entered with `nsenter`. It knows no haproxy.
"""

import ipaddress
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec

from colonnade.protocol.announcements import announcement
from colonnade.protocol.bundle import LOCAL, Interface

if __name__ == "__main__":
    # The package's own __init__ loads the whole library, a tenth of a second on the way to every
    # first request and every failover. This process needs one module of it.
    _found = find_spec("pyroute2")
    assert _found is not None
    sys.modules["pyroute2"] = _package = ModuleType("pyroute2")
    _package.__path__ = list(_found.submodule_search_locations or ())

from pyroute2.iproute import IPRoute

APPEAR_S_MAX: Final = 4.0
ON_LINK: Final = 4  # RTNH_F_ONLINK
LINK: Final = 253  # RT_SCOPE_LINK
ANNOUNCEMENTS: Final = 2  # a frame may be lost
MISSING: Final = 3
NO_DUPLICATE_DETECTION: Final = 0x02  # IFA_F_NODAD, linux/if_addr.h
TABLE_FIRST: Final = 1000  # policy tables: this and the link's index
RULE_PRIORITY: Final = 1000
MAIN_TABLE: Final = 254
OPTIONS: Final = Path("/proc/sys/net/ipv4/conf/all")
# Answer for addresses of the interface that is asked, and ask with one of those that ask.
OWN_ADDRESSES_ONLY: Final = {"arp_ignore": "1", "arp_announce": "2"}
FAMILIES: Final = (int(socket.AF_INET), int(socket.AF_INET6))


def main() -> None:
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Interface, ...])
    with IPRoute() as netlink:
        links = _links_when_there({w.mac.lower() for w in wanted}, netlink)
        missing = [w.mac for w in wanted if w.mac.lower() not in links]
        if missing:
            sys.stdout.write(" ".join(missing))
            sys.exit(MISSING)
        names = {w.mac: links[w.mac.lower()].get_attr("IFLA_IFNAME") for w in wanted}
        arrange(wanted, links, netlink)
    sys.stdout.buffer.write(msgspec.json.encode(names))


def arrange(wanted: Sequence[Interface], links: dict[str, Any], netlink: IPRoute) -> None:
    by_mac = {w.mac.lower(): w for w in wanted}
    local = by_mac.pop(LOCAL, Interface(mac=LOCAL, addresses=()))
    if local.addresses or any(interface.floating for interface in wanted):
        _tell_interfaces_apart()
    _set_local(links.pop(LOCAL), local, netlink)
    routes: set[_Route] = set()
    rules: set[_Rule] = set()
    fresh: dict[str, set[_Address]] = {}
    leaving = {link["index"] for mac, link in links.items() if mac not in by_mac}
    for mac, interface in by_mac.items():
        link = links[mac]
        index = link["index"]
        if interface.addresses:
            _bring_up(link, netlink)
        fresh[mac] = _drop_addresses(index, interface, netlink)
        for gateway in interface.gateways:
            family, table = _family(gateway), TABLE_FIRST + index
            routes.add(_Route(family, table, index, gateway=gateway))
            if interface.is_default:
                routes.add(_Route(family, MAIN_TABLE, index, gateway=gateway))
            for address in (*interface.addresses, *interface.floating):
                if _family(address) == family:
                    there = str(ipaddress.ip_interface(address).network)
                    routes.add(_Route(family, table, index, there=there))
                    rules.add((family, address.partition("/")[0], table))
    _set_routes(routes, leaving, netlink)
    _set_rules(rules, leaving, netlink)
    # Last: whoever comes to a VIP is led on to members by then.
    for mac, addresses in fresh.items():
        _add_addresses(links[mac]["index"], addresses, netlink)
        _announce(links[mac], addresses)


_Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class _Route(NamedTuple):
    """To all others by a gateway, or to those who are `there` on the link itself."""

    family: int
    table: int
    link: int  # its index
    gateway: str | None = None
    there: str = "default"


_Rule = tuple[int, str, int]  # family, source address, table


def _links_when_there(macs: set[str], netlink: IPRoute) -> dict[str, Any]:
    """All links by MAC address, the loopback as `LOCAL`; waits a little for those named."""
    deadline = time.monotonic() + APPEAR_S_MAX
    while True:
        links = {_link_key(link): link for link in netlink.get_links()}
        if macs <= links.keys() or time.monotonic() > deadline:
            return links
        time.sleep(0.02)


def _link_key(link: Any) -> str:
    name = link.get_attr("IFLA_IFNAME")
    return LOCAL if name == "lo" else str(link.get_attr("IFLA_ADDRESS") or name).lower()


def _bring_up(link: Any, netlink: IPRoute) -> None:
    if link["state"] != "up":
        netlink.link("set", index=link["index"], state="up")


def _tell_interfaces_apart() -> None:
    """For IPv4 an interface answers for addresses of others too, unless it is told not to; for IPv6
    it never does. Neither may neighbours hear of a VIP that is routed, nor packets for one half of
    a pair come by another interface than it listens on, where several are on one network."""
    for option, value in OWN_ADDRESSES_ONLY.items():
        (OPTIONS / option).write_text(value)


def _set_local(loopback: Any, wanted: Interface, netlink: IPRoute) -> None:
    """VIPs that are routed here, on the loopback interface: no further one for each of them."""
    _bring_up(loopback, netlink)
    index = loopback["index"]
    _add_addresses(index, _drop_addresses(index, wanted, netlink), netlink)


def _announce(link: Any, fresh: Iterable[_Address]) -> None:
    """Tell the neighbours of addresses that have just come here: a VIP that moved is found."""
    mac = bytes.fromhex(str(link.get_attr("IFLA_ADDRESS")).replace(":", ""))
    for address in fresh:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((link.get_attr("IFLA_IFNAME"), 0))
            for _ in range(ANNOUNCEMENTS):
                raw.send(announcement(mac, address.ip))


def _drop_addresses(index: int, wanted: Interface, netlink: IPRoute) -> set[_Address]:
    """Leave the link no address but those wanted, and those that float where they are there; the
    answer is those that it lacks."""
    present = _present(index, netlink)
    desired = {ipaddress.ip_interface(address) for address in wanted.addresses}
    floating = {ipaddress.ip_interface(address) for address in wanted.floating}
    for address in present - desired - floating:
        if address in present:
            netlink.addr("del", index=index, address=str(address.ip), prefixlen=_length(address))
            present = _present(index, netlink)  # the first of a subnet takes the others along
    return desired - present


def _present(index: int, netlink: IPRoute) -> set[_Address]:
    found = set()
    for message in netlink.get_addr(index=index):
        address = ipaddress.ip_interface(
            f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
        )
        if not address.is_link_local and not address.is_loopback:
            found.add(address)
    return found


def _add_addresses(index: int, fresh: Iterable[_Address], netlink: IPRoute) -> None:
    for address in fresh:
        # A VIP that moves must answer at once; only one amphora holds it, so nothing to detect.
        flags = {"IFA_FLAGS": NO_DUPLICATE_DETECTION} if address.version == 6 else {}
        netlink.addr(
            "add", index=index, address=str(address.ip), prefixlen=_length(address), **flags
        )


def _set_routes(desired: set[_Route], leaving: set[int], netlink: IPRoute) -> None:
    present = set(_present_routes(leaving, netlink))
    for action, routes in (("del", present - desired), ("add", desired - present)):
        for family, table, link, gateway, there in routes:
            words: dict[str, Any] = {"scope": LINK} if gateway is None else {"gateway": gateway}
            if action == "add" and gateway is not None:
                words["flags"] = ON_LINK  # whatever addresses say: those come afterwards
            netlink.route(action, family=family, dst=there, oif=link, table=table, **words)


def _present_routes(leaving: set[int], netlink: IPRoute) -> Iterator[_Route]:
    """Those that are ours: all of our tables, and the default routes of the main one."""
    for family in FAMILIES:
        for message in netlink.get_routes(family=family):
            table = message.get_attr("RTA_TABLE") or message["table"]
            gateway, index = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_OIF")
            length = message["dst_len"]
            there = f"{message.get_attr('RTA_DST')}/{length}" if length else "default"
            of_ours = table >= TABLE_FIRST and table - TABLE_FIRST not in leaving
            if of_ours or (table == MAIN_TABLE and length == 0 and gateway is not None):
                yield _Route(family, table, index, gateway, there)


def _set_rules(desired: set[_Rule], leaving: set[int], netlink: IPRoute) -> None:
    present = set()
    for family in FAMILIES:
        for message in netlink.get_rules(family=family):
            table = message.get_attr("FRA_TABLE") or message["table"]
            source = message.get_attr("FRA_SRC")
            stays = table - TABLE_FIRST in leaving
            if table >= TABLE_FIRST and not stays and source is not None:
                present.add((family, source, table))
    for action, rules in (("del", present - desired), ("add", desired - present)):
        for family, source, table in rules:
            netlink.rule(
                action,
                family=family,
                src=source,
                src_len=32 if family == socket.AF_INET else 128,
                table=table,
                priority=RULE_PRIORITY,
            )


def _length(address: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> int:
    return address.network.prefixlen


def _family(address: str) -> int:
    return int(socket.AF_INET6 if ":" in address else socket.AF_INET)


if __name__ == "__main__":
    main()
