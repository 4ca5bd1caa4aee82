# SPDX-License-Identifier: Apache-2.0
"""Listeners of VIPs that have an address of the machine: on which ports they may be.

Invariant: nobody is promised a port that is a program's of the machine, or another load balancer's.
Who asks for one a moment later than another is told by the controller, not here.
"""

from collections.abc import Sequence
from typing import Final

from colonnade.domain.addresses import endpoint
from colonnade.domain.errors import Conflict, Invalid
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.drivers.network.protocol import Forward, Forwarder, Reach, Subnet, Taken, vip_owner

ALONE: Final = "only an address on a wire can go from one amphora to another"


def ports_of(tree: LoadBalancer) -> frozenset[Forward]:
    return frozenset(Forward(one.transport.lower(), one.protocol_port) for one in tree.listeners)


async def taken_by_others(forwarder: Forwarder, vips: Sequence[Vip]) -> Sequence[Taken]:
    """Ports of the addresses that these VIPs share; nobody is asked of other VIPs."""
    found: list[Taken] = []
    for vip in vips:
        if vip.shares_address:
            found += await forwarder.taken(vip.subnet_id, vip.address)
    return found


def check_free(before: LoadBalancer | None, after: LoadBalancer, taken: Sequence[Taken]) -> None:
    """Whether listeners that `before` has not may be where they are. Pure. Raises Conflict for a
    port of the VIP's address that is somebody else's."""
    fresh = ports_of(after) - (ports_of(before) if before is not None else frozenset())
    for one in taken:
        if one.forward in fresh and one.owner != vip_owner(after.id):
            raise Conflict(_in_words(one, after.vip.address))


def _in_words(taken: Taken, address: str) -> str:
    place = endpoint(address, taken.forward.port)
    if taken.owner:
        return (
            f"{taken.forward.transport} {place} leads to another load balancer already: choose "
            "another protocol_port, or another VIP"
        )
    return (
        f"A program of the machine that has this address listens on {taken.forward.transport} "
        f"{place} itself: choose another protocol_port, or have that program listen elsewhere"
    )


def check_alone(subnet: Subnet, halves: int) -> None:
    """Raises Invalid where one amphora alone can have a VIP, and there are to be several."""
    if halves and subnet.reach is not Reach.LINK:
        raise Invalid(
            f"Subnet {subnet.name} ({subnet.cidr}) has VIPs of topology SINGLE alone: {ALONE}.",
            field="vip_subnet_id",
        )
