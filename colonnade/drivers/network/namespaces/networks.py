# SPDX-License-Identifier: Apache-2.0
"""The network driver itself, as it runs in the daemon: the address book and the cables agree.

Invariant: the book says first where a port shall be plugged, then the cable moves; so whoever
ends an amphora finds every cable that it may have. It knows amphorae as machines only.
"""

import asyncio
from collections.abc import Collection, Sequence
from ipaddress import ip_network

import structlog

from colonnade.domain.errors import (
    ColonnadeError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OutOfCapacity,
    Unavailable,
)
from colonnade.domain.ids import AmphoraId, PortId, derived_id
from colonnade.drivers.network.namespaces.address_book import (
    FIRST_NETWORKS,
    LB_NETWORK,
    MACVLAN,
    AddressBook,
    NetworkRecord,
    network_id,
    subnet_id,
)
from colonnade.drivers.network.namespaces.fabric import Fabric, machine_link
from colonnade.drivers.network.namespaces.links import Leg
from colonnade.drivers.network.namespaces.machines import SEAT, Machine, Machines
from colonnade.drivers.network.namespaces.routing import Routing
from colonnade.drivers.network.namespaces.uplinks import Uplinks
from colonnade.drivers.network.namespaces.wire import Range
from colonnade.drivers.network.protocol import Network, Port, PortWish, Subnet, is_vip

log = structlog.get_logger()
SHUNNED_MAX = 16  # addresses that others have, until a port is given up
AMPHORA = "amphora"  # the kind of machine
LB_SUBNET_ID = subnet_id(LB_NETWORK.name, LB_NETWORK.cidrs[0])
LB_PREFIX = ip_network(LB_NETWORK.cidrs[0]).prefixlen
CONTROL_PORT = PortId(derived_id("control"))


class Networks:
    name = "namespaces"

    def __init__(
        self,
        book: AddressBook,
        fabric: Fabric,
        machines: Machines,
        routing: Routing,
        uplinks: Uplinks,
    ) -> None:
        self.book = book
        self.routing = routing
        self.uplinks = uplinks
        self._fabric = fabric
        self._machines = machines
        self._making: dict[PortId, asyncio.Task[Port]] = {}
        self._turn = asyncio.Lock()  # book and cables change together, one port at a time

    async def furnish(self, control_address: str, returning: Collection[AmphoraId] = ()) -> None:
        """Networks, router and control namespace, whether new or found. Call it first.
        `returning`: amphorae that do not run and will, with the ports that they had."""
        for record in FIRST_NETWORKS:
            self.book.add_network(record)
        port = self._control_port(control_address)
        addresses = (f"{port.address}/{LB_PREFIX}",)
        leg = Leg(name="lb0", mac=port.mac, addresses=addresses)
        await self._fabric.furnish(leg, LB_NETWORK.name)
        for record in list(self.book.records.values()):
            await self._fabric.add_network(record)
        await self.routing.furnish()
        await self.uplinks.furnish()
        await self._stand()
        await self._forget_lost_plugs(returning)

    async def add_network(self, name: str, wanted: Range) -> Network:
        """A further network. Raises Invalid or Conflict."""
        try:
            texts = tuple(str(ip_network(cidr)) for cidr in (wanted.cidr, *wanted.more))
        except ValueError as error:
            raise Invalid(f"that is not a range: {error}", field="cidr") from error
        is_routed = wanted.is_routed and not wanted.via
        if wanted.announced is not None and not wanted.via:
            raise Invalid("VIPs are announced where nobody is: name `via`", field="announced")
        record = NetworkRecord(
            name=name,
            cidrs=texts,
            routed=is_routed,
            via=wanted.via,
            announced=wanted.announced,
        )
        if is_routed and record not in self.book.records.values():
            self.routing.check_new_network(record)
        network = self.book.add_network(record)
        await self._fabric.add_network(record)
        return network

    async def networks(self) -> Sequence[Network]:
        return self.book.networks()

    async def subnets(self) -> Sequence[Subnet]:
        return self.book.subnets()

    async def lb_subnet(self) -> Subnet:
        return self.book.subnet(LB_SUBNET_ID)

    async def ports(self) -> Sequence[Port]:
        return list(self.book.ports.values())

    async def port(self, port_id: PortId) -> Port:
        return self.book.port(port_id)

    async def create_port(self, wish: PortWish) -> Port:
        making = self._making.get(wish.id)
        if making is None:
            making = asyncio.create_task(self._create_port(wish))
            self._making[wish.id] = making
            making.add_done_callback(lambda _: self._making.pop(wish.id, None))
        return await asyncio.shield(making)

    async def delete_port(self, port_id: PortId) -> None:
        async with self._turn:
            await self._unplug(port_id)
            if port_id in self.book.ports:
                await self.routing.forget(self.book.port(port_id))
                await self.uplinks.forwards.forget(port_id)
            self.book.delete_port(port_id)

    async def plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        async with self._turn:
            return await self._plug(port_id, amphora_id)

    async def unplug(self, port_id: PortId) -> None:
        async with self._turn:
            await self._unplug(port_id)

    async def unplug_all(self, amphora_id: AmphoraId) -> None:
        """Cut every cable of an amphora that is ending."""
        async with self._turn:
            plugged = [p.id for p in self.book.ports.values() if p.plugged_into == amphora_id]
            await self._detach(plugged)
            for port_id in plugged:
                self.book.note_plug(port_id, None)

    async def _create_port(self, wish: PortWish) -> Port:
        """On a wire of the machine's an address is asked for before it is anybody's."""
        is_known = wish.id in self.book.ports
        for _ in range(SHUNNED_MAX):
            port = self.book.create_port(wish)
            record = self.book.records[port.network_id]
            if is_known or record.uplink is None:
                return port
            try:
                mac = await self.uplinks.holder_of(port, record)
            except ColonnadeError:
                self.book.delete_port(port.id)
                raise
            if not mac:
                return port
            log.warning("an address is in use", address=port.address, by=mac, network=record.name)
            self.book.delete_port(port.id, shuns=True)
            if wish.address is not None:
                raise Conflict(
                    f"address {port.address} is in use on network {record.name}, by a machine "
                    f"with the MAC address {mac}: choose another, or take it out of the range"
                )
        raise OutOfCapacity(f"{SHUNNED_MAX} addresses in turn are in use by others")

    async def _stand(self) -> None:
        """On networks where the machine needs an address of its own beside those of amphorae."""
        for record in list(self.book.records.values()):
            if record.uplink is None or record.uplink.mode != MACVLAN:
                continue
            ports = []
            for cidr in record.cidrs:
                place = subnet_id(record.name, cidr)
                leg = PortId(derived_id("leg", place))
                try:
                    wish = PortWish(id=leg, owner="machine", subnet_id=place)
                    ports.append(await self._create_port(wish))
                except (OutOfCapacity, Unavailable) as error:
                    log.warning("this machine reaches no VIP", cidr=cidr, reason=error.public)
            if ports:
                await self.uplinks.stand(record, ports)

    async def _plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        port = self.book.port(port_id)
        record = self.book.records[port.network_id]
        if not record.visible or record.via or not _may_carry(port, amphora_id):
            raise Forbidden(f"port {port_id} is not one that carries traffic of an amphora")
        machine = self._machine_of(amphora_id)
        if machine is None:
            raise NotFound(f"there is no amphora {amphora_id}")
        if not machine.is_running:
            raise Unavailable(f"amphora {amphora_id} is not running")
        again = port.plugged_into == amphora_id
        plugged = self.book.note_plug(port_id, amphora_id)
        try:
            if record.uplink is not None:
                await self.uplinks.plug(port, record, machine, again=again)
            else:
                await self._fabric.plug(port, record.name, machine, again=again)
        except ColonnadeError:
            await self._unplug(port_id)
            raise
        return plugged

    async def _unplug(self, port_id: PortId) -> None:
        if port_id in self.book.ports:
            await self._detach([port_id])
            self.book.note_plug(port_id, None)

    async def _detach(self, port_ids: Sequence[PortId]) -> None:
        await self._fabric.detach([machine_link(port_id) for port_id in port_ids])
        for port in map(self.book.port, port_ids):
            record = self.book.records[port.network_id]
            if record.uplink is not None:
                await self.uplinks.detach(port, record, self._machine_of(port.plugged_into))

    def _machine_of(self, amphora_id: AmphoraId | None) -> Machine | None:
        found = amphora_id and (
            self._machines.find(amphora_id, AMPHORA) or self._machines.find(amphora_id, SEAT)
        )
        return found or None

    def _control_port(self, address: str) -> Port:
        if CONTROL_PORT in self.book.ports and self.book.port(CONTROL_PORT).address != address:
            self.book.delete_port(CONTROL_PORT)
        wish = PortWish(
            id=CONTROL_PORT,
            owner="control",
            network_id=network_id(LB_NETWORK.name),
            address=address,
        )
        return self.book.create_port(wish)

    async def _forget_lost_plugs(self, returning: Collection[AmphoraId]) -> None:
        """Ports whose cable ended with its machine while no daemon was looking."""
        names = await self._fabric.names()
        for port in list(self.book.ports.values()):
            into = port.plugged_into
            if self.book.records[port.network_id].uplink is not None:
                machine = self._machine_of(into)
                is_lost = machine is None or not machine.is_running
            else:
                is_lost = machine_link(port.id) not in names
            if into is not None and is_lost and into not in returning:
                self.book.note_plug(port.id, None)


def _may_carry(port: Port, amphora_id: AmphoraId) -> bool:
    """A VIP's port, a user's, or the amphora's own: never one of the machinery."""
    return port.owner in ("", f"amphora:{amphora_id}") or is_vip(port.owner)
