# SPDX-License-Identifier: Apache-2.0
"""Cables between the machine's own network and amphorae, through netlink.

Invariant: nobody at the end of a cable asks who the other is: what an amphora says of that is not
believed. It knows names and descriptors of namespaces, not what they are for.
"""

import errno
from collections.abc import Callable, Sequence
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
PROXY: Final = 0x08  # NTF_PROXY
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

    def add_to_wire(self, name: str, link: str, leg: Leg, namespace: int) -> None:
        """A pair whose end `name` is a port of the bridge `link`."""
        peer = {"ifname": leg.name, "address": leg.mac, "net_ns_fd": namespace, "mtu": leg.mtu}
        master = self._index(link)
        assert master is not None, f"no bridge {link}"
        self._route.link(
            "add", ifname=name, kind="veth", mtu=leg.mtu, master=master, state="up", peer=peer
        )

    def add_macvlan(self, link: str, leg: Leg, namespace: int) -> None:
        """An interface on the same wire as `link`. The kernel lets two of one MAC address be there,
        and one of them be up: so it is up when this returns, or this raises."""
        self._route.link(
            "add", ifname=leg.name, kind="macvlan", link=self._index(link), address=leg.mac,
            macvlan_mode="bridge", net_ns_fd=namespace,
        )  # fmt: skip
        with visiting(namespace, self.home), IPRoute() as route:
            (index,) = route.link_lookup(ifname=leg.name)
            route.link("set", index=index, state="up")

    def add_vlan(self, link: str, name: str, number: int) -> None:
        if not self.has(name):
            self._route.link(
                "add", ifname=name, kind="vlan", link=self._index(link), vlan_id=number, state="up"
            )

    def add_leg(self, link: str, leg: Leg, beyond: Sequence[str]) -> None:
        """A macvlan of our own, by which these ranges are reached."""
        if not self.has(leg.name):
            self._route.link(
                "add", ifname=leg.name, kind="macvlan", link=self._index(link), address=leg.mac,
                macvlan_mode="bridge",
            )  # fmt: skip
        self.configure(self.home, (leg,))
        index = self._index(leg.name)
        for cidr in beyond:
            family = family_of(cidr)
            own = next(a for a in leg.addresses if family_of(a) == family).partition("/")[0]
            self._route.route("replace", dst=cidr, oif=index, family=family, prefsrc=own)

    def answer_for(self, link: str, address: str) -> None:
        """Have the machine answer neighbours on that link for the address (proxy ARP and NDP)."""
        index, family = self._index(link), family_of(address)
        self._route.neigh("replace", dst=address, ifindex=index, flags=PROXY, family=family)

    def answer_no_more(self, link: str, address: str) -> None:
        with ignoring(errno.ENOENT):
            self._route.neigh(
                "del", dst=address, ifindex=self._index(link), flags=PROXY,
                family=family_of(address),
            )  # fmt: skip

    def lead(self, name: str, own: str, to: str, mac: str) -> None:
        """Have packets for one address leave by that link, to a neighbour that is not asked for.
        `own`: the address of this end."""
        index, length = self._index(name), whole(own)
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


def has_link(name: str) -> bool:
    """In the namespace of the calling thread."""
    with IPRoute() as route:
        return bool(route.link_lookup(ifname=name))


def delete_link(name: str) -> None:
    """There as well. None of that name: nothing to do."""
    with IPRoute() as route:
        for index in route.link_lookup(ifname=name):
            route.link("del", index=index)


def know(route: Any, link: str, address: str, mac: str) -> None:
    (index,) = route.link_lookup(ifname=link)
    family = family_of(address)
    route.neigh("replace", dst=address, lladdr=mac, ifindex=index, state=PERMANENT, family=family)


def whole(address: str) -> int:
    return 128 if ":" in address else 32
