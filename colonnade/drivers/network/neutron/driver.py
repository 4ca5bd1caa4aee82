# SPDX-License-Identifier: Apache-2.0
"""The networks of an OpenStack cloud, by Neutron's own API; `plugs.py` puts ports into servers.

Neutron chooses the ids of ports. So a port is known by Neutron's id and by the one that it was
wished with, which its description has: each call takes either. Two that wish the same at once may
make two ports; both then see both, keep the same one and delete the other.

Look-ups by a user's token (`seen_by`) are Neutron's own answer to what that user may see. It has
heard of load balancers as little as any driver.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Final

import msgspec

from colonnade.domain.errors import Invalid, NotFound, OutOfCapacity, Unavailable
from colonnade.domain.ids import AmphoraId, PortId, SubnetId
from colonnade.drivers.network.neutron.plugs import Plugs, first_of
from colonnade.drivers.network.neutron.security_groups import SecurityGroups
from colonnade.drivers.network.neutron.wire import (
    OWNER,
    NeutronNetwork,
    NeutronPort,
    NeutronSubnet,
    body_of,
    carries,
    checked,
    marked,
)
from colonnade.drivers.network.protocol import Door, Network, Port, PortWish, Router, Subnet
from colonnade.drivers.openstack.client import Api, Client
from colonnade.drivers.openstack.servers import Servers
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.clock import Clock, SystemClock

TYPE: Final = "network"


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What Neutron's driver is made of; `eyes`: what look-ups are made with."""

    session: Session
    neutron: Client
    eyes: Client
    servers: Servers
    lb_subnet: SubnetId
    clock: Clock


def neutron_client(session: Session, *, interface: str = "public") -> Client:
    return Client(session, Api(kind=TYPE, version="/v2.0", checked=checked, interface=interface))


def neutron_networks(
    session: Session, lb_subnet: str, *, interface: str = "public", clock: Clock | None = None
) -> "NeutronNetworks":
    """As this service itself sees them. The session is its maker's to close."""
    neutron = neutron_client(session, interface=interface)
    parts = Parts(
        session=session, neutron=neutron, eyes=neutron, lb_subnet=SubnetId(lb_subnet),
        servers=Servers(session, interface=interface), clock=clock or SystemClock(),
    )  # fmt: skip
    return NeutronNetworks(parts)


class NeutronNetworks:
    name = "neutron"
    forwarder: Final = None  # each VIP has an address of its own
    router: Router | None = None  # the routers of a cloud are not led anywhere yet

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._neutron, self._eyes = parts.neutron, parts.eyes
        self._groups = SecurityGroups(parts.neutron)
        self._plugs = Plugs(parts.neutron, parts.servers, self._groups, parts.clock)
        self.cloud = NeutronCloud(parts, self._port, self._plugs, self._groups)

    async def networks(self) -> Sequence[Network]:
        lb = await self._lb_subnet()
        found = await self._eyes.all("networks", NeutronNetwork)
        return [one.ours() for one in found if one.id != lb.network_id]

    async def subnets(self) -> Sequence[Subnet]:
        lb = await self._lb_subnet()
        found = await self._eyes.all("subnets", NeutronSubnet)
        return [one.ours() for one in found if one.network_id != lb.network_id]

    async def lb_subnet(self) -> Subnet:
        return (await self._lb_subnet()).ours()

    async def free_addresses(self, subnet_id: SubnetId) -> int:
        """Of the pools that Neutron gives addresses from by itself."""
        subnet = await _subnet(self._eyes, subnet_id)
        pools = [(ip_address(p.start), ip_address(p.end)) for p in subnet.allocation_pools]
        room = sum(int(last) - int(first) + 1 for first, last in pools)
        # All that are there, whoever may see them.
        ports = await self._neutron.all("ports", NeutronPort, fixed_ips=f"subnet_id={subnet_id}")
        ips = [ip for port in ports for ip in port.fixed_ips if ip.subnet_id == subnet_id]
        taken = [ip_address(ip.ip_address) for ip in ips]
        # One of another version cannot be compared, and is on another subnet.
        return room - sum(any(first <= one <= last for first, last in pools) for one in taken)  # type: ignore[operator]

    async def ports(self) -> Sequence[Port]:
        """Those that are ours; users' own are found one by one."""
        project = await self._parts.session.project()
        vips = await self._neutron.all("ports", NeutronPort, device_owner=OWNER)
        # Nova makes those that it plugs its own.
        own = await self._neutron.all("ports", NeutronPort, project_id=project)
        found = {port.id: port for port in (*vips, *own) if port.is_marked and port.fixed_ips}
        carriers = {p.description: p for p in found.values() if p.is_carrier and p.device_id}
        return [port.ours(carriers.get(carries(port.id))) for port in found.values()]

    async def port(self, port_id: PortId) -> Port:
        return await self._plugs.shown(await self._port(port_id))

    async def create_port(self, wish: PortWish) -> Port:
        if (known := await self._wished(wish.id, self._neutron)) is not None:
            return await self._plugs.shown(known)
        subnets = await self._fitting(wish)
        for subnet in subnets:
            try:
                await self._create(wish, subnet)
                break
            except OutOfCapacity:
                if subnet is subnets[-1]:
                    raise
        made = await self._wished(wish.id, self._neutron)
        if made is None:
            raise Unavailable("Neutron does not know the port that it has just made")
        return made.ours()

    async def delete_port(self, port_id: PortId) -> None:
        try:
            port = await self._port(port_id)
        except NotFound:
            return
        for carrier in await self._plugs.carriers_of(port):
            await self._plugs.drop(carrier)
        amphora_id = port.amphora_id
        if amphora_id is not None and port.fixed_ips[0].subnet_id == self._parts.lb_subnet:
            # Its last port: what it still has besides goes first, and is found again until then.
            await self._plugs.drop_all(amphora_id, but=port.id)
            await self._groups.delete(amphora_id)
        await self._plugs.drop(port)

    async def plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        return await self._plugs.plug(await self._port(port_id), amphora_id)

    async def unplug(self, port_id: PortId) -> None:
        try:
            port = await self._port(port_id)
        except NotFound:
            return
        await self._plugs.unplug(port)

    async def _create(self, wish: PortWish, subnet: NeutronSubnet) -> None:
        groups: Sequence[str] = ()
        kind, _, owner = wish.owner.partition(":")
        if subnet.id == self._parts.lb_subnet:
            groups = [await self._groups.of_lb_network(subnet.cidr)]
        elif kind == "amphora":
            groups = [await self._groups.of(AmphoraId(owner))]
        body = {"port": body_of(wish, subnet, groups)}
        checked(await self._neutron.ask("POST", "ports", body=body)).within("port", NeutronPort)

    async def _wished(self, wish_id: PortId, eyes: Client) -> NeutronPort | None:
        """The port that was wished with this id. Where several were made, the first stays."""
        found = await eyes.all("ports", NeutronPort, description=marked(wish_id))
        first, others = first_of(found)
        await asyncio.gather(*(self._plugs.delete(one.id) for one in others))
        return first

    async def _port(self, port_id: PortId) -> NeutronPort:
        answer = await self._eyes.ask("GET", f"ports/{port_id}")
        if answer.status != 404:
            return checked(answer).within("port", NeutronPort)
        found = await self._wished(port_id, self._eyes)
        if found is None:
            raise NotFound(f"there is no port {port_id}")
        return found

    async def _lb_subnet(self) -> NeutronSubnet:
        return await _subnet(self._neutron, self._parts.lb_subnet)

    async def _fitting(self, wish: PortWish) -> list[NeutronSubnet]:
        """Where the port may be, the best first. Raises NotFound, and Invalid for an address that
        is on none of them or that a subnet keeps for itself."""
        if wish.subnet_id is not None:
            among = [await _subnet(self._eyes, wish.subnet_id)]
            if wish.network_id not in (None, among[0].network_id):
                raise Invalid(f"subnet {wish.subnet_id} is not on network {wish.network_id}")
        else:
            answer = await self._eyes.ask("GET", f"networks/{wish.network_id}")
            if answer.status == 404:
                raise NotFound(f"there is no network {wish.network_id}")
            checked(answer)
            network = str(wish.network_id)
            among = await self._eyes.all("subnets", NeutronSubnet, network_id=network)
            among.sort(key=lambda one: ":" in one.cidr)
        fitting = [one for one in among if wish.address is None or _has(one, wish.address)]
        if not fitting:
            raise Invalid(f"{wish.address} is no address that a port can have there")
        return fitting


class NeutronCloud:
    """`find`: a port by either of its ids."""

    def __init__(
        self,
        parts: Parts,
        find: Callable[[PortId], Awaitable[NeutronPort]],
        plugs: Plugs,
        groups: SecurityGroups,
    ) -> None:
        self._parts = parts
        self._find = find
        self._plugs = plugs
        self._groups = groups

    def seen_by(self, token: str) -> NeutronNetworks:
        eyes = self._parts.neutron.seen_by(token)
        return NeutronNetworks(msgspec.structs.replace(self._parts, eyes=eyes))

    async def prepared(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        return await self._plugs.prepared(await self._find(port_id), amphora_id)

    async def let_through(
        self, amphora_id: AmphoraId, doors: Sequence[Door], floating: Mapping[PortId, Sequence[str]]
    ) -> None:
        await self._groups.open(amphora_id, doors)
        for port_id, addresses in floating.items():
            await self._plugs.allow(await self._find(port_id), addresses)


async def _subnet(eyes: Client, subnet_id: SubnetId) -> NeutronSubnet:
    answer = await eyes.ask("GET", f"subnets/{subnet_id}")
    if answer.status == 404:
        raise NotFound(f"there is no subnet {subnet_id}")
    return checked(answer).within("subnet", NeutronSubnet)


def _has(subnet: NeutronSubnet, address: str) -> bool:
    try:
        one, within = ip_address(address), ip_network(subnet.cidr)
    except ValueError:
        return False
    kept = {within.network_address, within.broadcast_address}
    if subnet.gateway_ip is not None:
        kept.add(ip_address(subnet.gateway_ip))
    return one in within and one not in kept
