# SPDX-License-Identifier: Apache-2.0
"""What a user asked for: a load balancer and all that hangs under it.

Values are checked as they are made and never change. An edit is a function from a tree to a
tree; storing the difference is somebody else's work. This module reads no clock, database or
socket, and has never heard of amphorae or haproxy.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Annotated, Self

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from colonnade.domain import limits
from colonnade.domain.attributes import Attribute
from colonnade.domain.errors import Conflict, Invalid, NotFound, require
from colonnade.domain.ids import (
    AffinityGroupId,
    ClusterId,
    FlavorId,
    ListenerId,
    LoadBalancerId,
    NetworkId,
    PoolId,
    PortId,
    ProjectId,
    QosPolicyId,
    SecurityGroupId,
    SubnetId,
)
from colonnade.domain.limits import Text
from colonnade.domain.listeners import Listener, Logged
from colonnade.domain.node import Description, Node, only, put
from colonnade.domain.pools import Member, Pool
from colonnade.domain.vocabulary import POOLS_OF_LISTENER


class Vip(msgspec.Struct, frozen=True, kw_only=True):
    """The address that clients talk to, on one port of the network service."""

    # As it was sent.
    address: Annotated[
        Text,
        Attribute("Chosen when none is given.", fixed=True, chosen=True, is_address=True),
    ]
    port_id: Annotated[
        PortId, Attribute("An existing port.", option="--vip-port", fixed=True, chosen=True)
    ]
    subnet_id: Annotated[
        SubnetId,
        Attribute(
            "Subnet of the VIP.", option="--subnet", refers="subnet", fixed=True, chosen=True
        ),
    ]
    network_id: Annotated[
        NetworkId,
        Attribute(
            "Network of the VIP, when no subnet is named.",
            option="--network",
            refers="network",
            fixed=True,
            chosen=True,
        ),
    ]
    owned: bool = True  # False: the user brought the port, so it is not ours to delete
    # Of a routed front end: nobody is on the VIP's subnet, and the router leads it to ports here.
    via_subnet_id: SubnetId | None = None
    announced: bool = False  # routers are told of it by amphorae, not by us
    shares_address: bool = False  # it has ports of an address that others have, too
    qos_policy_id: Annotated[
        QosPolicyId | None, Attribute("QoS policy of the VIP's port.", option="--vip-qos")
    ] = None
    sg_ids: Annotated[
        tuple[SecurityGroupId, ...],
        Attribute("A security group; repeat for more.", option="--vip-security-group"),
    ] = ()

    @property
    def front_subnet_id(self) -> SubnetId:
        """Where amphorae meet the VIP's traffic."""
        return self.via_subnet_id or self.subnet_id


class LoadBalancer(Node, frozen=True, kw_only=True, weakref=True):
    """The root of a tree. Pools hang here too: listeners name them by id."""

    id: LoadBalancerId
    description: Description = ""
    project_id: Annotated[
        ProjectId,
        Attribute("Owned by this project.", option="--for-project", fixed=True, chosen=True),
    ]
    cluster_id: ClusterId
    vip: Annotated[Vip, Attribute(prefix="vip_")]
    # One for each subnet, all on the VIP's network.
    additional_vips: Annotated[
        tuple[Vip, ...],
        Attribute("One more VIP; repeat.", option="--additional-vip", fixed=True),
    ] = ()
    # The name that was asked for: an alias stays an alias.
    provider: Annotated[
        Annotated[str, Meta(max_length=64)],
        Attribute("The provider.", refers="provider", fixed=True, chosen=True),
    ]
    flavor_id: Annotated[
        FlavorId | None,
        Attribute("Its flavor.", option="--flavor", refers="flavor", chosen=True),
    ] = None
    availability_zone: Annotated[
        Text | None,
        Attribute("Its zone.", option="--az", refers="az", fixed=True, chosen=True),
    ] = None
    # Ours.
    affinity_group_id: Annotated[
        AffinityGroupId | None,
        Attribute("Placed by this group's policy.", option="--affinity-group", refers="affinity"),
    ] = None
    deletion_protection: Annotated[
        bool, Attribute("Refuse to delete it.", option="--protect/--no-protect")
    ] = False
    access_log: Logged = None
    listeners: tuple[Listener, ...] = ()
    pools: tuple[Pool, ...] = ()

    def __post_init__(self) -> None:
        Node.__post_init__(self)
        require(
            "listeners",
            len(self.listeners) <= limits.LISTENERS_PER_LOAD_BALANCER_MAX,
            "are too many",
        )
        require("pools", len(self.pools) <= limits.POOLS_PER_LOAD_BALANCER_MAX, "are too many")
        self._check_ports()
        pools = {pool.id: pool for pool in self.pools}
        for listener in self.listeners:
            self._check_pools(listener, pools)
            self._check_cidrs(listener)
        self._check_vips()

    def _check_vips(self) -> None:
        count = len(self.additional_vips)
        groups = len(self.vip.sg_ids)
        require("vip_sg_ids", groups <= limits.SECURITY_GROUPS_MAX, "are too many")
        require("additional_vips", count <= limits.ADDITIONAL_VIPS_MAX, "are too many")
        subnets = [vip.subnet_id for vip in self.vips]
        once = len(set(subnets)) == len(subnets)
        require("additional_vips", once, "must be on different subnets, one VIP on each")
        together = {vip.network_id for vip in self.vips} == {self.vip.network_id}
        require("additional_vips", together, "must all be on the network of the VIP")

    def _check_cidrs(self, listener: Listener) -> None:
        if not listener.allowed_cidrs:
            return
        if self.vip.sg_ids:
            raise Invalid("allowed_cidrs cannot be used with vip_sg_ids", field="allowed_cidrs")
        versions = {ip_address(vip.address).version for vip in self.vips}
        for cidr in listener.allowed_cidrs:
            fits = ip_network(cidr).version in versions
            require("allowed_cidrs", fits, f"have {cidr}, of an IP version that no VIP has")

    def _check_ports(self) -> None:
        taken: set[tuple[str, int]] = set()
        for listener in self.listeners:
            place = listener.transport, listener.protocol_port
            if place in taken:
                raise Conflict(
                    "Another Listener on this Load Balancer is already using protocol "
                    f"{listener.protocol.value} and protocol_port {listener.protocol_port}"
                )
            taken.add(place)

    def _check_pools(self, listener: Listener, pools: dict[PoolId, Pool]) -> None:
        for field, pool_id in listener.named_pools:
            pool = pools.get(pool_id)
            if pool is None:
                raise NotFound(f"Pool {pool_id} not found.")
            if pool.protocol not in POOLS_OF_LISTENER[listener.protocol]:
                raise Invalid(
                    f"{field} names a {pool.protocol.value} pool, which cannot serve a "
                    f"{listener.protocol.value} listener",
                    field=field,
                )

    @property
    def vips(self) -> tuple[Vip, ...]:
        return (self.vip, *self.additional_vips)

    @property
    def members(self) -> Iterator[Member]:
        """Of all pools."""
        return (member for pool in self.pools for member in pool.members)

    @property
    def subnets(self) -> frozenset[SubnetId]:
        """Those that an amphora which serves it is on."""
        named = (member.subnet_id for member in self.members if member.subnet_id is not None)
        return frozenset((*named, *(vip.front_subnet_id for vip in self.vips)))

    def listener(self, listener_id: ListenerId) -> Listener:
        return only("Listener", listener_id, (x for x in self.listeners if x.id == listener_id))

    def pool(self, pool_id: PoolId) -> Pool:
        return only("Pool", pool_id, (p for p in self.pools if p.id == pool_id))

    def with_listener(self, listener: Listener) -> Self:
        return replace(self, listeners=put(self.listeners, listener))

    def with_pool(self, pool: Pool) -> Self:
        return replace(self, pools=put(self.pools, pool))

    def without_pool(self, pool_id: PoolId) -> Self:
        """Drop the pool; listeners that used it are left without one. Raises Conflict when an
        L7 policy sends requests to it."""
        self.pool(pool_id)
        for listener in self.listeners:
            for policy in listener.l7policies:
                if pool_id in policy.pool_ids:
                    raise Conflict(f"Pool {pool_id} is in use by L7 policy {policy.id}")
        return replace(
            self,
            pools=tuple(p for p in self.pools if p.id != pool_id),
            listeners=tuple(
                replace(x, default_pool_id=None) if x.default_pool_id == pool_id else x
                for x in self.listeners
            ),
        )
