# SPDX-License-Identifier: Apache-2.0
"""Whether this machine and amphorae reach each other on the LB network of a cloud, in words.

From here: its own address, the way there, and the agents that answer. To here: what Neutron lets
through. Invariant: nothing is sent unless this machine has its address there and the way is known.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

import msgspec

from colonnade.drivers.network.neutron.security_groups import (
    CONTROL_PLANE,
    Group,
    lets_amphorae_in,
)
from colonnade.drivers.network.neutron.wire import NeutronPort, checked
from colonnade.drivers.network.protocol import Port, Subnet
from colonnade.drivers.openstack.client import Client
from colonnade.protocol.messages import PORT_AGENT

ANSWER_S: Final = 3.0  # for one agent's TCP
ASKED_MAX: Final = 8
_SETUP: Final = "`colonnade admin openstack setup` makes its port and says how to plug it in"


class Check(msgspec.Struct, frozen=True):
    what: str
    found: str
    cure: str = ""


async def reach(
    neutron: Client, subnet: Subnet, address: str, ports: Sequence[Port]
) -> AsyncIterator[Check]:
    """`address`: this machine's on the LB network. `ports`: all that the driver knows. Raises
    Unavailable for a Neutron that does not answer."""
    amphorae = [port.address for port in ports if port.subnet_id == subnet.id]
    way = await _way(subnet, address, amphorae)
    yield way
    yield await _way_back(neutron, subnet, address)
    if not way.cure and amphorae:
        yield await _agents(amphorae[:ASKED_MAX])


async def _way(subnet: Subnet, address: str, amphorae: Sequence[str]) -> Check:
    what = "LB network, from here"
    owned = [info["local"] for link in await _ip("address") for info in link.get("addr_info", ())]
    if address not in owned:
        return Check(what, f"this machine does not have the address {address}", _SETUP)
    there = amphorae[0] if amphorae else str(ip_network(subnet.cidr)[-2])
    found = await _ip("route", "get", there)
    if not found:
        cure = f"say how it gets there: ip route add {subnet.cidr} ..."
        return Check(what, f"this machine knows no way to {subnet.cidr}", cure)
    link, source = found[0].get("dev", "?"), found[0].get("prefsrc", "?")
    if source != address:
        words = f"what is sent to {subnet.cidr} leaves by {link} as {source}, not as {address}"
        return Check(what, words, f"ip route replace {subnet.cidr} dev {link} src {address}")
    return Check(what, f"{subnet.cidr} by {link}, as {address}")


async def _way_back(neutron: Client, subnet: Subnet, address: str) -> Check:
    what = "LB network, to here"
    if ip_address(address) not in ip_network(subnet.cidr):
        if subnet.gateway_ip is None:
            words = f"amphorae know no way out of {subnet.cidr}, to {address}"
            return Check(what, words, "give the subnet a gateway, and a router there")
        return Check(what, f"by the router {subnet.gateway_ip}, which is not looked at from here")
    found = await neutron.all("ports", NeutronPort, network_id=subnet.network_id)
    ports = [one for one in found if address in [ip.ip_address for ip in one.fixed_ips]]
    if not ports:
        return Check(what, f"no port of Neutron's has {address}: it may give it away", _SETUP)
    groups = []
    for group_id in ports[0].security_groups:
        answer = await neutron.ask("GET", f"security-groups/{group_id}")
        groups.append(checked(answer).within("security_group", Group))
    if not lets_amphorae_in(groups, subnet.cidr):
        words = f"the security groups of {address}'s port let no heartbeats of {subnet.cidr} in"
        return Check(what, words, f"give it the group {CONTROL_PLANE}, which setup makes")
    return Check(what, f"the port {ports[0].id} lets heartbeats and agents in")


async def _agents(amphorae: Sequence[str]) -> Check:
    what = "amphorae's agents"
    heard = await asyncio.gather(*(_answers(address) for address in amphorae))
    silent = [one for one, answers in zip(amphorae, heard, strict=True) if not answers]
    words = f"{len(amphorae) - len(silent)} of {len(amphorae)} answer on TCP {PORT_AGENT}"
    if not silent:
        return Check(what, words)
    cure = "they may be booting; see `openstack console log show`, and how the port is plugged in"
    return Check(what, f"{words}; {', '.join(silent)} not", cure)


async def _answers(address: str) -> bool:
    try:
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_connection(address, PORT_AGENT)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _ip(*words: str) -> list[dict[str, Any]]:
    """What `ip` says; nothing where it refuses."""
    try:
        process = await asyncio.create_subprocess_exec(
            "ip", "-json", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return []
    said, _ = await process.communicate()
    try:
        return msgspec.json.decode(said, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return []
