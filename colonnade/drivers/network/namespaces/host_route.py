# SPDX-License-Identifier: Apache-2.0
"""A way from the namespace of the caller into the lab: a veth to its router and routes to the
public network.

Invariant: the kernel takes it away with the lab, whatever happens to whoever made it. Only root
can make it. It runs outside the lab, because nothing inside has rights over the host's network.
"""

import contextlib
import errno
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from colonnade.domain.errors import Conflict
from colonnade.domain.ids import PortId, derived_id
from colonnade.drivers.network.namespaces.address_book import PUBLIC, mac_of
from colonnade.drivers.network.namespaces.fabric import opened
from colonnade.drivers.network.namespaces.lab import Lab
from colonnade.drivers.network.namespaces.links import Leg, Links

LINK = "colonnade0"
ROUTER = Leg(
    name="host",
    mac=mac_of(PortId(derived_id("host-route", "router"))),
    addresses=("198.19.255.1/30", "fdc0:10ad::1/126"),
)
HOST = ("198.19.255.2/30", "fdc0:10ad::2/126")


@contextlib.asynccontextmanager
async def host_route(lab: Lab) -> AsyncIterator[None]:
    """There inside the context only. Raises as `make_host_route`."""
    await make_host_route(lab)
    try:
        yield
    finally:
        links = Links()
        await links.run(links.delete, LINK)
        links.close()


async def make_host_route(lab: Lab) -> None:
    """There as long as the lab is. Raises Conflict when the link or a route is there already,
    Unavailable when the kernel would not."""
    links = Links()
    try:
        with opened(lab.folder / "netns" / "router") as router:
            await links.run(_make, router)
            try:
                await links.run(links.configure, router, (ROUTER,))
            except BaseException:
                await links.run(links.delete, LINK)
                raise
    finally:
        links.close()


def _make(router: int) -> None:
    peer = {"ifname": ROUTER.name, "address": ROUTER.mac, "net_ns_fd": router}
    with IPRoute() as route:
        try:
            route.link("add", ifname=LINK, kind="veth", state="up", peer=peer)
        except NetlinkError as error:
            if error.code == errno.EEXIST:
                raise Conflict(f"there is a link {LINK} already: does another lab run?") from error
            raise
        (index,) = route.link_lookup(ifname=LINK)
        try:
            for address, ours, cidr in zip(HOST, ROUTER.addresses, PUBLIC.cidrs, strict=True):
                if ":" not in cidr or Path("/proc/sys/net/ipv6").exists():
                    _lead(route, index, address, (cidr, ours.partition("/")[0]))
        except (NetlinkError, Conflict):
            route.link("del", index=index)
            raise


def _lead(route: Any, index: int, address: str, way: tuple[str, str]) -> None:
    """An address on the link, and a route to a range by a gateway."""
    cidr, gateway = way
    text, _, length = address.partition("/")
    nodad = {"flags": 0x02} if ":" in text else {}
    route.addr("add", index=index, address=text, prefixlen=int(length), **nodad)
    try:
        family = 10 if ip_network(cidr).version == 6 else 2
        route.route("add", dst=cidr, gateway=gateway, oif=index, family=family)
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise Conflict(f"this host has a route to {cidr} already") from error
        raise
