# SPDX-License-Identifier: Apache-2.0
"""Cables between the machine's own network and amphorae, through netlink.

Invariant: nobody at the end of a cable asks who the other is: what an amphora says of that is not
believed. It knows names and descriptors of namespaces, not what they are for.
"""

import errno
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pyroute2 import IPRoute

from colonnade.drivers.network.namespaces.links import (
    IFA_F_NODAD,
    Leg,
    Links,
    family_of,
    ignoring,
    visiting,
)

PERMANENT: Final = 0x80  # NUD_PERMANENT
LINK: Final = 253  # RT_SCOPE_LINK
T = TypeVar("T")


class Cables(Links):
    """Call `run` with a method of this object; call no method from another thread."""

    def add_cable(self, name: str, mac: str, leg: Leg, namespace: int) -> None:
        """A pair that is on no bridge: packets for one end alone go through it. It is up at both
        ends; `leg`: the other end, in that namespace."""
        peer = {"ifname": leg.name, "address": leg.mac, "net_ns_fd": namespace, "mtu": leg.mtu}
        self._route.link(
            "add", ifname=name, kind="veth", address=mac, mtu=leg.mtu, state="up", peer=peer
        )
        with visiting(namespace, self.home), IPRoute() as route:
            (index,) = route.link_lookup(ifname=leg.name)
            route.link("set", index=index, state="up")

    def lead(self, name: str, own: str, to: str, mac: str) -> None:
        """Have packets for one address leave by that link, to a neighbour that is not asked for.
        `own`: the address of this end."""
        index, length = self._index(name), _whole(own)
        nodad = {"flags": IFA_F_NODAD} if ":" in own else {}
        with ignoring(errno.EEXIST):
            self._route.addr("add", index=index, address=own, prefixlen=length, **nodad)
        know(self._route, name, to, mac)
        family = family_of(to)
        self._route.route("replace", dst=f"{to}/{length}", oif=index, family=family, scope=LINK)

    def know_neighbour(self, namespace: int, link: str, address: str, mac: str) -> None:
        """Have that namespace never ask by ARP or NDP who has the address."""
        with visiting(namespace, self.home), IPRoute() as route:
            know(route, link, address, mac)

    def mtu(self, name: str) -> int:
        index = self._index(name)
        if index is None:
            raise OSError(errno.ENODEV, f"there is no link {name}")
        return int(self._route.get_links(index)[0].get_attr("IFLA_MTU"))

    def within(self, namespace: int, act: Callable[..., T], *arguments: Any) -> T:
        """Act with this thread in that namespace."""
        with visiting(namespace, self.home):
            return act(*arguments)


def know(route: Any, link: str, address: str, mac: str) -> None:
    (index,) = route.link_lookup(ifname=link)
    family = family_of(address)
    route.neigh("replace", dst=address, lladdr=mac, ifindex=index, state=PERMANENT, family=family)


def _whole(address: str) -> int:
    return 128 if ":" in address else 32
