# SPDX-License-Identifier: Apache-2.0
"""Listeners of VIPs that have an address of the machine: on which ports they may be.

Invariant: nobody is promised a port that is a program's of the machine, or another load balancer's.
Who asks for one a moment later than another is told by the controller, not here.
"""

from collections.abc import Mapping
from typing import Final

from colonnade.domain.addresses import endpoint
from colonnade.domain.errors import Conflict, Invalid
from colonnade.domain.ids import SubnetId
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.drivers.network.protocol import Forward, Forwarder, Reach, Subnet, Taken, vip_owner

ALONE: Final = "only an address on a wire can go from one amphora to another"


def ports_of(tree: LoadBalancer) -> frozenset[Forward]:
    return frozenset(Forward(one.transport.lower(), one.protocol_port) for one in tree.listeners)


async def check_free(
    forwarder: Forwarder, tree: LoadBalancer, vip: Vip, fresh: set[Forward]
) -> None:
    """Raises Conflict for a port of the VIP's address that is taken."""
    for taken in await forwarder.taken(vip.subnet_id, vip.address):
        if taken.forward in fresh and taken.owner != vip_owner(tree.id):
            raise Conflict(_in_words(taken, vip.address))


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


def shared(tree: LoadBalancer, subnets: Mapping[SubnetId, Subnet]) -> list[Vip]:
    """The VIPs of a tree that have an address of the machine."""
    found = ((vip, subnets.get(vip.subnet_id)) for vip in tree.vips)
    return [vip for vip, subnet in found if subnet is not None and subnet.reach is Reach.PORTS]
