# SPDX-License-Identifier: Apache-2.0
"""Our own provider: HAProxy on amphorae, which controllers build from what is stored.

The VIP is a port of the network service, named after the load balancer, so that a repeated
create finds the same one. This module knows no amphora; it only says what they could serve.
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from colonnade.domain.addresses import target
from colonnade.domain.catalogue import FlavorFacts, Sizing, ZoneFacts
from colonnade.domain.errors import Conflict, Invalid, NotFound, OutOfCapacity, Unavailable
from colonnade.domain.fleet import Topology
from colonnade.domain.ids import PortId, SubnetId
from colonnade.domain.pools import Member
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.protocol import Objection
from colonnade.drivers.network.protocol import (
    NetworkDriver,
    Port,
    PortWish,
    Reach,
    Subnet,
    Taken,
    is_vip,
    vip_owner,
)
from colonnade.providers import offers
from colonnade.providers.front_ends import check_for_members, check_room, led_to, stays
from colonnade.providers.provider import Preview, VipWish, unsupported
from colonnade.providers.rendered import Rendered
from colonnade.providers.shared_addresses import check_alone, taken_by_others
from colonnade.runtime.system_programs import CURE


class AmphoraProvider:
    name = "amphora"
    settles_at_once = False
    reads_secrets = True

    def __init__(
        self,
        network: NetworkDriver | None,
        templates_dir: Path | None = None,
        *,
        serves_pairs: bool = False,
    ) -> None:
        self._network = network
        self._serves_pairs = serves_pairs
        self._rendered = Rendered(templates_dir)
        self._subnets: dict[SubnetId, Subnet] = {}  # those seen; the common case asks nobody
        self._machinery: IPv4Network | IPv6Network | None = None

    def objections(self, tree: LoadBalancer) -> Sequence[Objection]:
        return objections(tree)

    def preview(self, before: LoadBalancer | None, after: LoadBalancer | None) -> Preview | None:
        return self._rendered.preview(before, after)

    async def allocate_vip(self, wish: VipWish) -> Vip:
        network = self._seen_by(wish.token)
        if network is None:
            raise Unavailable("This API has no network service configured.")
        if wish.port_id is not None:
            port = await _users_port(network, wish)
        elif wish.is_dry_run:
            port = await _imagined_port(network, wish)
        else:
            port = await _own_port(network, wish)
        made = wish.port_id is None and not wish.is_dry_run
        try:
            subnet = await self._subnet(network, port.subnet_id)
            via = led_to(subnet, wish.front_end, floats=wish.floats)
            check_alone(subnet, wish.halves)
            if not wish.is_dry_run:
                takers = _takers(network, wish.halves)
                await check_room(network, via or port.subnet_id, takers, floats=wish.floats)
        except BaseException:
            if made:
                await self._give_back(port.id)
            raise
        return Vip(
            address=port.address,
            port_id=port.id,
            subnet_id=port.subnet_id,
            network_id=port.network_id,
            owned=made,
            via_subnet_id=via,
            announced=subnet.announced is not None,
            shares_address=subnet.reach is Reach.PORTS,
            qos_policy_id=wish.qos_policy_id,
            sg_ids=wish.sg_ids,
        )

    def _seen_by(self, token: str) -> NetworkDriver | None:
        """The networks as whoever has the token sees them, where users are told apart."""
        network = self._network
        if network is None or network.cloud is None or not token:
            return network
        return network.cloud.seen_by(token)

    async def _known(
        self, network: NetworkDriver, wanted: Collection[SubnetId]
    ) -> Mapping[SubnetId, Subnet]:
        """Those that are wanted, as far as they are there, and maybe others."""
        if network.cloud is not None:  # what one user sees is nothing to another
            return {subnet.id: subnet for subnet in await network.subnets()}
        if not self._subnets.keys() >= set(wanted):
            self._subnets = {subnet.id: subnet for subnet in await network.subnets()}
        return self._subnets

    async def _subnet(self, network: NetworkDriver, subnet_id: SubnetId) -> Subnet:
        found = (await self._known(network, {subnet_id})).get(subnet_id)
        if found is None:
            raise Invalid(f"Subnet {subnet_id} not found.")
        return found

    async def check_size(self, vips: Sequence[Vip], size: Sizing) -> None:
        if self._network is None:
            return
        for vip in vips:
            subnet = await self._subnet(self._network, vip.subnet_id)
            check_alone(subnet, size.addresses)
            via = stays(subnet, size.front_end, floats=size.floats)
            needed = via or vip.subnet_id
            takers = _takers(self._network, size.addresses)
            await check_room(self._network, needed, takers, floats=size.floats)

    async def taken(self, vips: Sequence[Vip]) -> Sequence[Taken]:
        forwarder = self._network.forwarder if self._network is not None else None
        return await taken_by_others(forwarder, vips) if forwarder is not None else ()

    async def check_members(
        self, members: Sequence[Member], beside: Collection[SubnetId] = (), *, token: str = ""
    ) -> None:
        network = self._seen_by(token)
        if network is None:
            return
        wanted = {member.subnet_id for member in members if member.subnet_id is not None}
        fresh = wanted - set(beside)
        # What is beside is the tree's already, whatever this user sees.
        found = await self._known(network, wanted | set(beside if fresh else ())) if wanted else {}
        for missing in sorted(wanted - found.keys()):
            raise Invalid(f"Subnet {missing} not found.")
        check_for_members(found[one] for one in sorted(fresh))
        known = [found[one] for one in sorted(beside) if one in found]
        _check_apart([found[one] for one in sorted(fresh)], known)
        machinery = await self._lb_range(network)
        for member in members:
            address = target(member.address)
            if machinery is not None and address in machinery:
                raise Invalid(f"{member.address} is not a valid option for member address")
            if member.subnet_id is not None:
                _check_version(address, found[member.subnet_id])
        for subnet_id in sorted(fresh):
            if await network.free_addresses(subnet_id) == 0:
                raise OutOfCapacity(f"subnet {found[subnet_id].cidr} has no free address")

    async def _lb_range(self, network: NetworkDriver) -> IPv4Network | IPv6Network | None:
        """Of the LB network, where no member is. None: it is not known just now, and members need
        not wait for it."""
        if self._machinery is None:
            with contextlib.suppress(Unavailable):
                self._machinery = ip_network((await network.lb_subnet()).cidr)
        return self._machinery

    async def release_vip(self, vip: Vip) -> None:
        if vip.owned:
            await self._give_back(vip.port_id)

    async def _give_back(self, port_id: PortId) -> None:
        """As this service: whoever asked for it may not see it."""
        if self._network is not None:
            await self._network.delete_port(port_id)

    def validate_flavor(self, data: Mapping[str, Any]) -> FlavorFacts:
        facts = offers.read_flavor(self.name, data)
        topology = facts.loadbalancer_topology
        is_many = topology is Topology.ACTIVE_ACTIVE
        for asked, reason in (
            (
                topology is Topology.ACTIVE_STANDBY and not self._serves_pairs,
                f"loadbalancer_topology: ACTIVE_STANDBY cannot be served here: {CURE}",
            ),
            (
                facts.is_routed and self._network is not None and self._network.router is None,
                "front_end: routed needs a network with a router that takes routes from us",
            ),
            (is_many and not facts.is_routed, "front_end: ACTIVE_ACTIVE needs it to be routed"),
            (
                facts.amphorae is not None and not is_many,
                f"amphorae: how many serve in {topology} is no choice; in ACTIVE_ACTIVE it is",
            ),
            (
                facts.max_load_balancers > 1
                and self._network is not None
                and self._network.cloud is not None,
                "max_load_balancers: in a cloud each load balancer has its own amphorae",
            ),
            (facts.sriov_vip, "sriov_vip: the network has no SR-IOV ports"),
            (facts.allow_member_sriov, "allow_member_sriov: the network has no SR-IOV ports"),
            (facts.amphora_driver != "haproxy", "amphora_driver: only haproxy is there"),
        ):
            if asked:
                raise unsupported(self.name, reason)
        return facts

    def flavor_capabilities(self) -> Mapping[str, str]:
        return offers.FLAVOR_CAPABILITIES

    def validate_availability_zone(self, data: Mapping[str, Any]) -> ZoneFacts:
        return offers.read_zone(self.name, data)

    def availability_zone_capabilities(self) -> Mapping[str, str]:
        return offers.ZONE_CAPABILITIES


def _takers(network: NetworkDriver, halves: int) -> int:
    """How many amphorae take an address beside the VIP: in a cloud one that serves alone, too."""
    return max(halves, int(network.cloud is not None))


def _check_apart(fresh: Sequence[Subnet], beside: Sequence[Subnet]) -> None:
    """An amphora with two interfaces of one range would not know which way a member is."""
    for place, one in enumerate(fresh):
        for other in (*fresh[place + 1 :], *beside):
            range_, another = ip_network(one.cidr), ip_network(other.cidr)
            if range_.version == another.version and range_.overlaps(another):
                raise Invalid(
                    f"Subnet {one.id} ({one.cidr}) overlaps {other.id} ({other.cidr}), which this "
                    "load balancer uses too: it could not tell their members apart.",
                    field="subnet_id",
                )


def _check_version(address: IPv4Address | IPv6Address, subnet: Subnet) -> None:
    """A member is reached from an address on its subnet, so both are of one IP version."""
    if subnet.ip_version != address.version:
        raise Invalid(
            f"Subnet {subnet.id} ({subnet.cidr}) is of IPv{subnet.ip_version}, "
            f"and the member's address {address} is of IPv{address.version}.",
            field="subnet_id",
        )


async def _users_port(network: NetworkDriver, wish: VipWish) -> Port:
    assert wish.port_id is not None, "asked for a port that the user named"
    try:
        port = await network.port(wish.port_id)
    except NotFound as error:
        raise Invalid(f"Port {wish.port_id} not found.") from error
    seen = {found.id for found in await network.networks()}
    if port.network_id not in seen or (port.owner and not is_vip(port.owner)):
        # The machinery's own: nobody learns that there is such a port.
        raise Invalid(f"Port {wish.port_id} not found.")
    named = (
        ("vip_network_id", wish.network_id, port.network_id),
        ("vip_subnet_id", wish.subnet_id, port.subnet_id),
        ("vip_address", wish.address, port.address),
    )
    for field, asked, there in named:
        if asked is not None and asked != there:
            raise Invalid(f"{field} {asked} is not that of port {port.id} ({there})", field=field)
    # A cloud's other service may have made it for this very load balancer, which is taken over.
    of_other = port.owner and port.owner != vip_owner(wish.load_balancer_id)
    if port.plugged_into is not None or of_other:
        raise Invalid(f"port {port.id} is already in use", field="vip_port_id")
    return port


async def _imagined_port(network: NetworkDriver, wish: VipWish) -> Port:
    """What a port of our own would be like; an address that nobody wished is one of those for
    examples (RFC 5737, RFC 3849)."""
    await _check_place(network, wish)
    subnets = [
        subnet
        for subnet in await network.subnets()
        if wish.subnet_id == subnet.id or wish.network_id == subnet.network_id
    ]
    if wish.address is not None:
        address = ip_address(wish.address)
        subnets = [subnet for subnet in subnets if address in ip_network(subnet.cidr)]
    if not subnets:
        raise Invalid(f"vip_address: {wish.address} is not on that subnet", field="vip_address")
    subnet = subnets[0]
    return Port(
        id=wish.own_port_id,
        owner=vip_owner(wish.load_balancer_id),
        network_id=subnet.network_id,
        subnet_id=subnet.id,
        address=wish.address or ("192.0.2.1" if subnet.ip_version == 4 else "2001:db8::1"),
        mac="",
    )


async def _own_port(network: NetworkDriver, wish: VipWish) -> Port:
    await _check_place(network, wish)
    port = PortWish(
        id=wish.own_port_id,
        owner=vip_owner(wish.load_balancer_id),
        network_id=wish.network_id,
        subnet_id=wish.subnet_id,
        address=wish.address,
        project_id=wish.project_id if network.cloud is not None else "",
    )
    try:
        return await network.create_port(port)
    except Conflict as error:
        raise Conflict(f"The VIP IP address is already in use: {error.public}") from error
    except Invalid as error:
        raise Invalid(f"vip_address: {error.public}", field="vip_address") from error


async def _check_place(network: NetworkDriver, wish: VipWish) -> None:
    if wish.subnet_id is not None:
        subnets = {subnet.id: subnet for subnet in await network.subnets()}
        subnet = subnets.get(wish.subnet_id)
        if subnet is None:
            raise Invalid(f"Subnet {wish.subnet_id} not found.")
        if wish.network_id not in (None, subnet.network_id):
            raise Invalid(
                f"subnet {subnet.id} is not on network {wish.network_id}", field="vip_subnet_id"
            )
    elif wish.network_id not in {found.id for found in await network.networks()}:
        raise Invalid(f"Network {wish.network_id} not found.")
