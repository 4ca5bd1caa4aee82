# SPDX-License-Identifier: Apache-2.0
"""Ports in servers, by Nova's interfaces.

A VIP's port stays a reservation, so that clients of Octavia find it as they know it, and floating
IPs lead to it. Whoever serves has a carrier: a port of its own on the same subnet, that may have
the VIP's address too. Invariant: before a carrier of one amphora is plugged, those of all others
are gone, so that no two have a VIP at once. A port that Nova does not let go is deleted: then
Neutron lets nothing more through it.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from colonnade.domain.errors import ColonnadeError, Invalid, NotFound, Unavailable
from colonnade.domain.ids import AmphoraId, PortId
from colonnade.drivers.network.neutron.security_groups import SecurityGroups
from colonnade.drivers.network.neutron.wire import NeutronPort, carrier_of, carries, checked
from colonnade.drivers.network.protocol import Port
from colonnade.drivers.openstack.client import Client
from colonnade.drivers.openstack.servers import Server, Servers
from colonnade.runtime.clock import Clock

LOOK_S: Final = 0.2
LET_GO_S: Final = 20.0  # longest that a port is watched to leave its server


class Plugs:
    def __init__(
        self, neutron: Client, servers: Servers, groups: SecurityGroups, clock: Clock
    ) -> None:
        self._neutron = neutron
        self._servers = servers
        self._groups = groups
        self._clock = clock

    async def shown(self, port: NeutronPort) -> Port:
        """With the amphora that it is plugged into."""
        if port.amphora_id is not None:
            return port.ours()
        carriers = [one for one in await self.carriers_of(port) if one.device_id]
        return port.ours(carriers[0] if carriers else None)

    async def carriers_of(self, port: NeutronPort) -> list[NeutronPort]:
        """Those of a VIP's port, whosever they are; none of an amphora's own."""
        if port.amphora_id is not None:
            return []
        return await self._neutron.all("ports", NeutronPort, description=carries(port.id))

    async def prepared(self, port: NeutronPort, amphora_id: AmphoraId) -> Port:
        carrier = await self._carrier(port, amphora_id)
        return replace(port.ours(), mac=carrier.mac_address, plugged_into=amphora_id)

    async def plug(self, port: NeutronPort, amphora_id: AmphoraId) -> Port:
        server = await self._server(amphora_id)
        if port.amphora_id is not None:
            await self._attach(port, server)
        else:
            for other in await self.carriers_of(port):
                if other.amphora_id != amphora_id:
                    await self.drop(other)
            await self._attach(await self._carrier(port, amphora_id), server)
        now = await self._now(port.id)
        if now is None:
            raise NotFound(f"there is no port {port.id}")
        return await self.shown(now)

    async def unplug(self, port: NeutronPort) -> None:
        for carrier in await self.carriers_of(port):
            await self.drop(carrier)
        if port.amphora_id is not None and port.device_id and not await self._let_go(port):
            await self.delete(port.id)

    async def drop(self, port: NeutronPort) -> None:
        """Out of its server, and deleted."""
        if port.amphora_id is not None and port.device_id:
            await self._let_go(port)
        await self.delete(port.id)

    async def drop_all(self, amphora_id: AmphoraId, *, but: PortId) -> None:
        """All ports of its own besides this one."""
        own = await self._groups.ports_of(amphora_id)
        for port in own:
            if port.id != but:
                await self.drop(port)

    async def allow(self, port: NeutronPort, addresses: Sequence[str]) -> None:
        """To have these addresses beside its own."""
        if {pair.ip_address for pair in port.allowed_address_pairs} == set(addresses):
            return
        pairs = [{"ip_address": address} for address in sorted(addresses)]
        body = {"port": {"allowed_address_pairs": pairs}}
        checked(await self._neutron.ask("PUT", f"ports/{port.id}", body=body))

    async def delete(self, port_id: PortId) -> None:
        answer = await self._neutron.ask("DELETE", f"ports/{port_id}")
        if answer.status != 404:
            checked(answer)

    async def _server(self, amphora_id: AmphoraId) -> Server:
        found = await self._servers.of(amphora_id)
        if not found:
            raise NotFound(f"there is no amphora {amphora_id}")
        if found[0].is_dead or found[0].is_building:
            raise Unavailable(f"amphora {amphora_id} does not run: {found[0].status}")
        return found[0]

    async def _carrier(self, port: NeutronPort, amphora_id: AmphoraId) -> NeutronPort:
        """The one by which this amphora has the VIP; made where there is none."""
        known = await self._known(port, amphora_id)
        if known is None:
            body = {"port": carrier_of(port, amphora_id, [await self._groups.of(amphora_id)])}
            checked(await self._neutron.ask("POST", "ports", body=body))
            known = await self._known(port, amphora_id)
        if known is None:
            raise Unavailable("Neutron does not know the port that it has just made")
        return known

    async def _known(self, port: NeutronPort, amphora_id: AmphoraId) -> NeutronPort | None:
        found = await self.carriers_of(port)
        first, others = first_of([one for one in found if one.amphora_id == amphora_id])
        for other in others:
            await self.drop(other)
        return first

    async def _attach(self, port: NeutronPort, server: Server) -> None:
        if port.device_id == server.id:
            return
        if port.device_id and not await self._let_go(port):
            raise Unavailable(f"port {port.id} does not leave the server that it was in")
        try:
            await self._servers.attach(server.id, port.id)
        except ColonnadeError as error:
            now = await self._now(port.id)
            if now is not None and now.device_id == server.id:
                return  # the answer to an earlier attempt was lost
            if isinstance(error, Invalid):  # it is in the way of another attempt
                raise Unavailable(error.public) from error
            raise

    async def _let_go(self, port: NeutronPort) -> bool:
        """Whether its server has let it go."""
        if not await self._servers.detach(port.device_id, port.id):
            now = await self._now(port.id)
            return now is None or not now.device_id
        until = self._clock.monotonic() + LET_GO_S
        while (now := await self._now(port.id)) is not None and now.device_id == port.device_id:
            if self._clock.monotonic() > until:
                return False
            await self._clock.sleep(LOOK_S)
        return True

    async def _now(self, port_id: PortId) -> NeutronPort | None:
        answer = await self._neutron.ask("GET", f"ports/{port_id}")
        return None if answer.status == 404 else checked(answer).within("port", NeutronPort)


def first_of(found: Sequence[NeutronPort]) -> tuple[NeutronPort | None, Sequence[NeutronPort]]:
    """Of several that were made for one: the one that stays, and those that go."""
    order = sorted(found, key=lambda one: (not one.device_id, one.created_at, one.id))
    return (order[0] if order else None), order[1:]
