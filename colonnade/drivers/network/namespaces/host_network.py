# SPDX-License-Identifier: Apache-2.0
"""The network namespace of the machine itself, as far as load balancers are on its own networks.

Invariant: each call may be repeated, and what it makes follows from what it is told; so a daemon
that starts again, be it after a boot, makes what is missing. Who has not been given the machine's
network has no way to it. It knows no port and no amphora.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from pyroute2 import IPRoute

from colonnade.domain.errors import Broken, Invalid
from colonnade.drivers.network.namespaces import host_facts, host_table
from colonnade.drivers.network.namespaces.cables import Cables
from colonnade.drivers.network.namespaces.host_table import CABLE, LEG, Contents
from colonnade.drivers.network.namespaces.links import link_name
from colonnade.drivers.network.namespaces.physical import Facts, records_of
from colonnade.drivers.network.protocol import Forward
from colonnade.runtime.config import PhysicalNetwork
from colonnade.runtime.system_programs import find_nft

NFT_S_MAX: Final = 10
MAKE_VLAN: Final = """
from pyroute2 import IPRoute
with IPRoute() as route:
    route.link("add", ifname="a", kind="veth", peer="b")
    route.link("add", ifname="a.2", kind="vlan", vlan_id=2, link=route.link_lookup(ifname="a")[0])
"""
SETTINGS: Final = Path("/proc/sys/net")
FORWARDING: Final = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}


def table_of(run_dir: Path) -> str:
    """The name of the table of nftables of that system: a machine may have several."""
    return f"colonnade_{sha256(os.fsencode(run_dir)).hexdigest()[:8]}"


class HostNetwork:
    """`links` works on the namespace of the machine."""

    def __init__(self, links: Cables, run_dir: Path) -> None:
        self.links = links
        self._run_dir = run_dir
        self._table = table_of(run_dir)
        self._closed: Sequence[int] | None = None

    async def facts(self) -> Facts:
        return await self.links.run(facts)

    async def listening(self, address: str) -> Sequence[Forward]:
        """Ports on which the machine's own programs listen."""
        return await self.links.run(host_facts.listening, address)

    def leg_name(self, network: str) -> str:
        """The machine's own leg on a network where amphorae have a macvlan."""
        prefix = leg_prefix(self._run_dir)
        return link_name(prefix, sha256(network.encode()).hexdigest())

    async def open_forwarding(self) -> None:
        """Have the machine forward packets. What it did not forward before, but for amphorae, it
        does not forward now either. Call it before the table is set."""
        if self._closed is None:
            self._closed = await self.links.run(self._opened)

    async def set_table(self, contents: Contents) -> None:
        """The whole packet filter. Raises Broken when nft refuses it."""
        whole = msgspec.structs.replace(contents, closed=self._closed or ())
        text = host_table.table_text(self._table, whole)
        await self.links.run(run_nft, text)

    def _opened(self) -> Sequence[int]:
        """IP versions of which nothing was forwarded before us."""
        known = _words("list", "table", "inet", self._table)
        closed = []
        for version, name in FORWARDING.items():
            path = SETTINGS / name
            if not path.exists():
                continue
            is_closed = path.read_text().strip() == "0"
            if is_closed or host_table.closes(known, version):
                closed.append(version)
            if is_closed:
                if version == 6:
                    _keep_router_advertisements()
                path.write_text("1")
        return closed


def clear(run_dir: Path) -> None:
    """What a system that has ended left on the machine: its table, and its legs. In the namespace
    of the caller."""
    name = table_of(run_dir)
    for family in ("inet", "bridge"):
        if _words("list", "table", family, name):
            run_nft(host_table.removal(name, family))
    leg = leg_prefix(run_dir)
    with IPRoute() as route:
        for link in route.get_links():
            if str(link.get_attr("IFLA_IFNAME")).startswith(leg):
                route.link("del", index=link["index"])


def leg_prefix(run_dir: Path) -> str:
    return f"{LEG}{sha256(os.fsencode(run_dir)).hexdigest()[:4]}"


def cable_name(port_id: str) -> str:
    """The machine's end of the cable that a port is."""
    return link_name(CABLE, port_id)


def facts() -> Facts:
    """Of the namespace of the calling thread."""
    with IPRoute() as route:
        return host_facts.look(route)


def check(tables: Sequence[PhysicalNetwork]) -> None:
    """Whether this machine can have these networks. In the namespace of the calling thread. Raises
    Invalid."""
    seen = facts()
    for record in records_of(tables, seen):
        uplink = record.uplink
        if (
            uplink is not None
            and uplink.vlan
            and uplink.wire not in seen.links
            and not _makes_vlans()
        ):
            raise Invalid(
                f"[[network]] {record.name}: vlan {uplink.vlan} cannot be, for the kernel makes no "
                f"VLANs: load its module 8021q, or make the interface {uplink.wire} otherwise"
            )


def _makes_vlans() -> bool:
    """It is tried in a network that ends at once."""
    argv = ["unshare", "--net", "--", sys.executable, "-I", "-c", MAKE_VLAN]
    return subprocess.run(argv, capture_output=True, timeout=NFT_S_MAX, check=False).returncode == 0


def run_nft(text: str) -> None:
    """In the network namespace of the calling thread. Raises Broken."""
    nft = find_nft()
    if nft is None:
        raise Broken("nft is missing: install the package nftables")
    done = subprocess.run(
        [nft, "--file", "-"],
        input=text, capture_output=True, text=True, timeout=NFT_S_MAX, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Broken("the packet filter refuses our table", detail=done.stderr.strip()[:500])


def _words(*words: str) -> str:
    """What nft says; "" when it refuses."""
    nft = find_nft()
    if nft is None:
        return ""
    done = subprocess.run(
        [nft, *words], capture_output=True, text=True, timeout=NFT_S_MAX, check=False
    )
    return done.stdout if done.returncode == 0 else ""


def _keep_router_advertisements() -> None:
    """Who forwards IPv6 takes no default route from routers any more, unless told to: an interface
    that did goes on."""
    for path in (SETTINGS / "ipv6/conf").glob("*/accept_ra"):
        if path.read_text().strip() == "1":
            path.write_text("2")
