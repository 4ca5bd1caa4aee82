# SPDX-License-Identifier: Apache-2.0
"""The file of keepalived, from a bundle. Pure.

One instance of VRRPv3 speaks with the other half alone and moves every VIP, of both IP versions and
on all interfaces, at once. Neither half takes the VIPs from the other that serves: both begin as
BACKUP and do not preempt. Every word in it is a number, an address that was read as one, or a name
that the kernel gave.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Final, NamedTuple

from colonnade.protocol.bundle import Interface, Pair

ROUTER_ID: Final = 1  # the halves speak with each other alone, so it need not be unique
INTERVAL_MS: Final = range(10, 40_951)  # RFC 5798 section 5.2.7: 12 bits of hundredths
PRIORITIES: Final = range(1, 255)
FILE: Final = """\
# Made by Colonnade. Changes here are lost.
global_defs {{
    router_id colonnade
    vrrp_version 3
    vrrp_check_unicast_src
    vrrp_skip_check_adv_addr
    vrrp_garp_master_delay 1
    vrrp_garp_master_repeat 3
    vrrp_garp_lower_prio_repeat 3
    vrrp_higher_prio_send_advert true
    max_auto_priority -1
{told}}}
track_file unfit {{
    file "{unfit}"
    weight 0
    init_file 0
}}
vrrp_instance pair {{
    state BACKUP
    nopreempt
    interface {interface}
    virtual_router_id {router_id}
    priority {priority}
    advert_int {interval}
    unicast_src_ip {own}
    unicast_peer {{
        {peer}
    }}
    virtual_ipaddress {{
        {first}
    }}
{others}{tracked}    track_file {{
        unfit
    }}
}}
"""


class Surroundings(NamedTuple):
    """`unfit`: a file that says 1 while the VIPs must not be here. `roles`: where keepalived says
    what the half is now; None: nowhere."""

    unfit: Path
    roles: Path | None = None


def text(
    pair: Pair, interfaces: Sequence[Interface], names: Mapping[str, str], beside: Surroundings
) -> str:
    """`names`: of the interfaces, by MAC address. Raises ValueError for what cannot be served."""
    first, *others = _floating(interfaces, names)
    own = ip_address(pair.own)
    speaks = [i.mac for i in interfaces if any(ip_interface(a).ip == own for a in i.addresses)]
    if not speaks:
        raise ValueError(f"no interface has the address {own}")
    if pair.priority not in PRIORITIES or pair.advert_ms not in INTERVAL_MS:
        raise ValueError(f"a priority of {pair.priority}, adverts each {pair.advert_ms} ms")
    # It watches its own interface by itself.
    carrying = [names[i.mac] for i in interfaces if i.floating and i.mac != speaks[0]]
    return FILE.format(
        unfit=beside.unfit,
        told=f"    vrrp_notify_fifo {beside.roles}\n" if beside.roles is not None else "",
        interface=names[speaks[0]],
        router_id=ROUTER_ID,
        priority=pair.priority,
        interval=pair.advert_ms / 1000,
        own=own,
        # To nobody: without a peer it would speak to everybody. The firewall drops what comes.
        peer=ip_address(pair.peer) if pair.peer else own,
        first=first,
        others=_block("virtual_ipaddress_excluded", others),
        tracked=_block("track_interface", carrying),
    )


def _block(name: str, lines: Sequence[str]) -> str:
    inner = "".join(f"        {line}\n" for line in lines)
    return f"    {name} {{\n{inner}    }}\n" if lines else ""


def _floating(interfaces: Sequence[Interface], names: Mapping[str, str]) -> Iterator[str]:
    found = [
        f"{ip_interface(address)} dev {names[interface.mac]}"
        for interface in interfaces
        for address in interface.floating
    ]
    if not found:
        raise ValueError("a pair without a VIP")
    yield from found
