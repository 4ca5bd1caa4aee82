# SPDX-License-Identifier: Apache-2.0
"""Amphorae as servers of an OpenStack cloud, by Nova's own API.

Invariant: at most one server of an amphora lives, for they share one port; a lost answer is found
again by the server's name. A fence is Nova's word that the server is gone, and that word counts
only where Nova hears the server's host, an operator said that the host is off, or it has been
silent for long. It knows no load balancer, and of Neutron only that ports have ids.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from colonnade.domain.errors import (
    Broken,
    ColonnadeError,
    Contended,
    Invalid,
    NotFound,
    OutOfCapacity,
    Unavailable,
)
from colonnade.domain.ids import AmphoraId
from colonnade.drivers.compute.nova.images import Images, flavor_of
from colonnade.drivers.compute.nova.server_groups import Groups
from colonnade.drivers.compute.protocol import Boot, Instance, InstanceState
from colonnade.drivers.network.protocol import NetworkDriver, Port
from colonnade.drivers.openstack.servers import Server, Servers
from colonnade.drivers.openstack.session import Session
from colonnade.protocol import birth
from colonnade.runtime.clock import Clock, SystemClock
from colonnade.runtime.config import Nova

LOOK_S: Final = 0.5  # between two looks at a server that comes or goes
TURN_S: Final = 5.0  # longest wait for one of the places of those that are built
FORCED_AFTER_S: Final = 20.0  # one that has not gone by itself is deleted by force
_NO_HOST: Final = "No valid host"

log = structlog.get_logger()


class NovaCompute:
    name = "nova"

    def __init__(
        self,
        session: Session,
        network: NetworkDriver,
        settings: Nova,
        *,
        clock: Clock | None = None,
    ) -> None:
        """The session is its maker's to close."""
        self._servers = Servers(session, interface=settings.interface)
        self._images = Images(session, settings)
        self._groups = Groups(self._servers.nova, settings.anti_affinity)
        self._network = network
        self._settings = settings
        self._clock = clock or SystemClock()
        self._places = asyncio.Semaphore(settings.boots_at_once)
        self._creating: dict[AmphoraId, asyncio.Task[None]] = {}

    async def create(self, boot: Boot) -> None:
        known = self._creating.get(boot.amphora_id)
        if known is None:
            known = asyncio.create_task(self._create(boot))
            self._creating[boot.amphora_id] = known
            known.add_done_callback(lambda _: self._creating.pop(boot.amphora_id, None))
        await asyncio.shield(known)

    async def instance(self, amphora_id: AmphoraId) -> Instance | None:
        found = await self._servers.of(amphora_id)
        return _instance(amphora_id, found[0]) if found else None

    async def instances(self) -> Sequence[Instance]:
        found: dict[AmphoraId, Instance] = {}
        for server in await self._servers.everything():
            if (amphora_id := server.amphora_id) is not None:
                found.setdefault(amphora_id, _instance(amphora_id, server))
        return list(found.values())

    async def destroy(self, amphora_id: AmphoraId) -> None:
        creating = self._creating.get(amphora_id)
        if creating is not None:
            await asyncio.wait([creating])
        for server in await self._servers.of(amphora_id):
            await self._end(server)

    async def _create(self, boot: Boot) -> None:
        if boot.carrier_id is not None:
            raise Broken(
                "in a cloud an amphora has no seats: use no flavor with max_load_balancers"
            )
        port = await self._network.port(boot.lb_port_id)
        try:
            async with asyncio.timeout(TURN_S):
                await self._places.acquire()
        except TimeoutError as error:
            raise Contended("as many amphorae as may be are being started just now") from error
        try:
            known = await self._servers.of(boot.amphora_id)
            if known and not known[0].is_dead:
                return
            for server in known:
                await self._end(server)
            await self._begin(boot, port)
        finally:
            self._places.release()

    async def _begin(self, boot: Boot, port: Port) -> None:
        hints = await self._groups.hints(boot.flavor)
        about = await self._about(boot, port)
        try:
            server_id = await self._servers.create(boot.amphora_id, about, hints)
        except OutOfCapacity as error:
            if not self._groups.is_full(error):
                raise
            server_id = await self._servers.create(boot.amphora_id, about, None)
        server = await self._built(server_id)
        others = [one for one in await self._servers.of(boot.amphora_id) if one.id != server_id]
        if server is None or server.is_dead:
            if server is not None:
                await self._end(server)
            if any(not one.is_dead for one in others):
                return  # another controller was first
            raise _failure(server)
        for one in others:
            if one.is_dead:
                await self._end(one)

    async def _about(self, boot: Boot, port: Port) -> Mapping[str, Any]:
        settings = self._settings
        zone = settings.availability_zone
        return {
            "imageRef": await self._images.of(boot.image_tag),
            "flavorRef": await flavor_of(
                self._servers.nova, boot.compute_flavor or settings.flavor
            ),
            "networks": [{"port": port.id}],
            "config_drive": True,
            "user_data": _user_data(boot, port),
        } | ({"availability_zone": zone} if zone else {})

    async def _built(self, server_id: str) -> Server | None:
        """As it is when it is built, failed or takes too long; None: it is gone."""
        until = self._clock.monotonic() + self._settings.built_s
        while True:
            server = await self._servers.one(server_id)
            if server is None or not server.is_building or self._clock.monotonic() > until:
                return server
            await self._clock.sleep(LOOK_S)

    async def _end(self, server: Server) -> None:
        """Raises Unavailable while it is not known to be gone."""
        if server.why:
            log.warning("a server had failed", server=server.name, reason=server.why)
        await self._check_host(server)
        await self._servers.delete(server.id)
        began, forced = self._clock.monotonic(), False
        while (now := await self._servers.one(server.id)) is not None and now.status != "DELETED":
            waited_s = self._clock.monotonic() - began
            if not forced and (now.status == "SOFT_DELETED" or waited_s > FORCED_AFTER_S):
                await self._servers.force_delete(server.id)
                forced = True
            if waited_s > self._settings.gone_s:
                said = f": {now.why}" if now.why else ""
                raise Unavailable(f"Nova has not deleted {server.name}, it is {now.status}{said}")
            await self._clock.sleep(LOOK_S)

    async def _check_host(self, server: Server) -> None:
        """Nova forgets a server at once when it does not hear its host, which may go on with it.
        Raises Unavailable until the host counts as off."""
        host = await self._servers.host(server.host) if server.host else None
        if host is None or host.state != "down" or host.forced_down:
            return
        silent_s = self._clock.now() - _heard_at(host.updated_at)
        if silent_s < self._settings.host_down_s:
            raise Unavailable(
                f"{server.name} is on a host that Nova does not hear, and may still send: it counts"
                f" as off after {self._settings.host_down_s:g} s, or when it is said to be down",
                detail=str(server.host),
            )
        log.warning("a host counts as off", host=server.host, silent_s=round(silent_s))


def _user_data(boot: Boot, port: Port) -> str:
    try:
        return birth.user_data(boot.config_drive, port.mac)
    except birth.Unusable as error:
        raise Invalid(f"no amphora can be born with this: {error}") from error


def _instance(amphora_id: AmphoraId, server: Server) -> Instance:
    state = InstanceState.STOPPED if server.is_dead else InstanceState.RUNNING
    return Instance(amphora_id=amphora_id, state=state, host=server.place)


def _failure(server: Server | None) -> ColonnadeError:
    if server is None:
        return Unavailable("the server was deleted while it was built")
    if _NO_HOST in server.why:
        return OutOfCapacity(f"no host of the cloud takes the amphora: {server.why}")
    if "could not be found" in server.why:
        return NotFound(server.why)
    return Unavailable(f"Nova could not build the amphora: {server.why or server.status}")


def _heard_at(moment: str | None) -> float:
    """Seconds since 1970; 0 of a host that was never heard."""
    if moment is None:
        return 0.0
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
