# SPDX-License-Identifier: Apache-2.0
"""Bridges, veth pairs, addresses and routes, through netlink.

Invariant: each call may be repeated; what is there already is left as it is. All of it runs in
one thread of its own, so calls never interleave and the event loop never waits for the kernel.
It knows names and descriptors of namespaces, not what they are for.
"""

import asyncio
import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from colonnade.domain.errors import Unavailable
from colonnade.drivers.network.namespaces.next_hops import Hop, Table
from colonnade.drivers.network.protocol import Route

CLONE_NEWNET = 0x40000000
NAME_CHARACTERS_MAX = 15  # IFNAMSIZ less its NUL
IFA_F_NODAD = 0x02  # nobody else can have an address of ours, so do not wait to find out
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """An interface in a namespace: one end of a pair whose other end is on a bridge."""

    name: str
    mac: str
    addresses: tuple[str, ...] = ()  # "10.0.0.2/24"
    gateways: tuple[str, ...] = ()  # default routes
    mtu: int = 1500


def bridge_name(network: str) -> str:
    return link_name("br-", network)


def link_name(prefix: str, of: str) -> str:
    """The text itself where it fits, else a digest of it; the same always."""
    if len(prefix + of) <= NAME_CHARACTERS_MAX:
        return prefix + of
    return prefix + sha256(of.encode()).hexdigest()[: NAME_CHARACTERS_MAX - len(prefix)]


class Links:
    """Call `run` with a method of this object; call no method from another thread."""

    def __init__(self, namespace: int | None = None) -> None:
        """`namespace`: of the network that it works on; None: the caller's."""
        own = "/proc/self/ns/net"
        self.home = os.dup(namespace) if namespace else os.open(own, os.O_RDONLY | os.O_CLOEXEC)
        self._thread = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix="links",
            initializer=_enter,
            initargs=(self.home,),
        )
        # pyroute2 keeps an event loop per socket, and one thread cannot run two.
        self._route: Any = self._thread.submit(IPRoute).result()
        self._table: Table | None = None

    async def run(self, act: Callable[..., T], *arguments: Any) -> T:
        """Raises Unavailable when the kernel would not, as when a machine ends meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, act, *arguments)
        except (NetlinkError, OSError) as error:
            detail = f"{act.__name__}: {error}"
            raise Unavailable("the kernel refused a change of links", detail=detail) from error

    def close(self) -> None:
        self._thread.submit(self._route.close).result()
        if self._table is not None:
            self._table.close()
        self._thread.shutdown()
        os.close(self.home)

    def add_bridge(self, name: str) -> None:
        """A bridge that is up, learns at once and lets all multicast through."""
        if self._index(name) is None:
            self._route.link(
                "add",
                ifname=name,
                kind="bridge",
                br_mcast_snooping=0,
                br_forward_delay=0,
                br_stp_state=0,
                state="up",
            )

    def add_pair(self, name: str, bridge: str, leg: Leg, namespace: int) -> None:
        """A pair: `name` on the bridge here, `leg` made inside the namespace, both at once."""
        peer = {"ifname": leg.name, "address": leg.mac, "net_ns_fd": namespace}
        master = self._index(bridge)
        assert master is not None, f"no bridge {bridge}"
        self._route.link("add", ifname=name, kind="veth", master=master, state="up", peer=peer)

    def isolate(self, name: str) -> None:
        """Frames of this bridge port reach only ports that are not isolated."""
        self._route.brport("set", index=self._index(name), isolated=1)

    def has(self, name: str) -> bool:
        return self._index(name) is not None

    def names(self) -> set[str]:
        return {str(link.get("ifname")) for link in self._route.get_links()}

    def delete(self, name: str) -> None:
        """The link and, of a pair, its other end wherever that is. None: nothing to do."""
        index = self._index(name)
        if index is not None:
            with ignoring(errno.ENODEV):
                self._route.link("del", index=index)

    def configure(self, namespace: int, legs: tuple[Leg, ...] = ()) -> None:
        """Loopback up in that namespace, then each leg with addresses and routes."""
        with visiting(namespace, self.home), IPRoute() as route:
            route.link("set", index=1, state="up")
            for leg in legs:
                _configure_leg(route, leg)

    def set_route(self, namespace: int, wanted: tuple[int, Route, str]) -> None:
        """`wanted`: the route's own number, the route, and the link by which its next hops are."""
        number, route, link = wanted
        with visiting(namespace, self.home), self._routes() as table:
            index = socket.if_nametoindex(link)
            hops = [Hop(hop.address, index, hop.weight) for hop in route.next_hops]
            table.set(route.destination, number, hops)

    def delete_route(self, namespace: int, number: int, destination: str) -> None:
        with visiting(namespace, self.home), self._routes() as table:
            table.delete(destination, number)

    @contextmanager
    def _routes(self) -> Iterator[Table]:
        """Those of the one namespace that has any; read anew after an error."""
        if self._table is None:
            self._table = Table()
        try:
            yield self._table
        except OSError:
            self._table.close()
            self._table = None
            raise

    def set_options(self, namespace: int, options: Mapping[str, str]) -> None:
        """Write below /proc/sys/net as seen in that namespace. Absent ones are passed over."""
        with visiting(namespace, self.home):
            for name, value in options.items():
                path = Path("/proc/sys/net") / name
                if path.exists():
                    path.write_text(value)

    def _index(self, name: str) -> int | None:
        found = self._route.link_lookup(ifname=name)
        return int(found[0]) if found else None


@contextmanager
def ignoring(*numbers: int) -> Iterator[None]:
    """Pass over netlink's answers that say the wish is met already."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in numbers:
            raise


@contextmanager
def visiting(namespace: int, home: int) -> Iterator[None]:
    """This thread, and only it, is in that network namespace meanwhile."""
    _enter(namespace)
    try:
        yield
    finally:
        _enter(home)


def family_of(address: str) -> int:
    return int(socket.AF_INET6 if ":" in address else socket.AF_INET)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _configure_leg(route: Any, leg: Leg) -> None:
    (index,) = route.link_lookup(ifname=leg.name)
    route.link("set", index=index, state="up")
    for address in leg.addresses:
        text, _, length = address.partition("/")
        flags = {"flags": IFA_F_NODAD} if ":" in text else {}
        with ignoring(errno.EEXIST):
            route.addr("add", index=index, address=text, prefixlen=int(length), **flags)
    for gateway in leg.gateways:
        with ignoring(errno.EEXIST):
            route.route("add", dst="default", gateway=gateway, oif=index, family=family_of(gateway))
