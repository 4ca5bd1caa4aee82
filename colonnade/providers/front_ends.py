# SPDX-License-Identifier: Apache-2.0
"""Whether a front end can serve a VIP that is on a certain subnet, and amphorae have room there.

Invariant: a routed VIP is never where clients are, for they would look for it beside themselves; a
VIP in layer 2 and members never are where nobody is. Pure but for the question for room.
"""

from collections.abc import Iterable

from colonnade.domain.errors import Invalid, OutOfCapacity
from colonnade.domain.fleet import FrontEnd
from colonnade.domain.ids import SubnetId
from colonnade.drivers.network.protocol import NetworkDriver, Reach, Subnet


def led_to(subnet: Subnet, front_end: FrontEnd, *, floats: bool) -> SubnetId | None:
    """To ports of which subnet a router leads VIPs on this one; None in layer 2. `floats`: to one
    that moves between the two of a pair. Raises Invalid where the front end cannot serve them."""
    is_routed = front_end is FrontEnd.ROUTED
    if is_routed and subnet.via_subnet_id is None:
        raise Invalid(
            f"Subnet {subnet.id} ({subnet.cidr}) may have clients, who would look for the VIP "
            "beside themselves and not ask a router, and the flavor's front end is routed: choose "
            "a subnet that a router leads to amphorae, or a flavor with the front end layer2.",
            field="vip_subnet_id",
        )
    if subnet.via_subnet_id is not None and not is_routed:
        raise Invalid(
            f"Nobody is on subnet {subnet.id} ({subnet.cidr}), a router leads it to amphorae: "
            "choose another subnet, or a flavor whose front end is routed.",
            field="vip_subnet_id",
        )
    if subnet.announced is not None and floats:
        raise Invalid(
            f"Amphorae announce the VIPs of subnet {subnet.id} ({subnet.cidr}) to routers, each "
            "for itself, and no address moves between the two of a pair: choose a flavor with the "
            "topology ACTIVE_ACTIVE, of two amphorae for instance, or SINGLE.",
            field="vip_subnet_id",
        )
    return subnet.via_subnet_id


def stays(subnet: Subnet, front_end: FrontEnd, *, floats: bool) -> SubnetId | None:
    """As `led_to`, for a VIP that is on this subnet already."""
    try:
        return led_to(subnet, front_end, floats=floats)
    except Invalid as error:
        raise Invalid(f"A VIP stays on its subnet. {error.public}", field="flavor_id") from error


def check_for_members(subnets: Iterable[Subnet]) -> None:
    """Raises Invalid where no member can be."""
    for subnet in subnets:
        if subnet.via_subnet_id is not None:
            raise Invalid(
                f"Nobody is on subnet {subnet.id} ({subnet.cidr}), a router leads it to amphorae: "
                "no member can be there.",
                field="subnet_id",
            )
        if subnet.reach is not Reach.LINK:
            raise Invalid(
                f"Amphorae are not on the wire of subnet {subnet.name} ({subnet.cidr}): leave "
                "subnet_id out, and members are reached by way of the machine.",
                field="subnet_id",
            )


async def check_room(
    network: NetworkDriver, subnet_id: SubnetId, amphorae: int, *, floats: bool
) -> None:
    """Raises OutOfCapacity where so many amphorae would find no addresses of their own."""
    needed = amphorae + floats
    if needed and await network.free_addresses(subnet_id) < needed:
        raise OutOfCapacity(
            f"subnet {subnet_id} has too few free addresses: beside the VIP, each of "
            f"{amphorae} amphorae takes one{', and both another' if floats else ''}"
        )
