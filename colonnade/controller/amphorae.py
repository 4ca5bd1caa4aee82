# SPDX-License-Identifier: Apache-2.0
"""Boot amphorae and remove those that ended; `clusters.py` does what is in between.

A birth is a port on the LB network, a certificate, a key for heartbeats, and an instance. Each
step may be repeated. An amphora's row outlives all that was made for it, so nothing is forgotten.
A seat is born likewise, on an amphora that runs.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

import colonnade
from colonnade.controller import account
from colonnade.controller.renewals import Certificates
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId, PortId, derived_id
from colonnade.domain.lifecycle import Event, State
from colonnade.drivers.amphora.protocol import AmphoraDriver
from colonnade.drivers.compute.protocol import Boot, ComputeDriver, InstanceState
from colonnade.drivers.network.protocol import NetworkDriver, Port, PortWish, Subnet
from colonnade.drivers.secrets.database import Seal
from colonnade.protocol import birth
from colonnade.protocol.logs import LogLimits
from colonnade.protocol.messages import PORT_CONTROLLER, PORT_HEALTH, AgentConfig
from colonnade.runtime.certificate_authority import expires_at
from colonnade.runtime.config import Config
from colonnade.store.catalogue import catalogue
from colonnade.store.fleet import amphora_rows, daemons, placing, seats
from colonnade.store.fleet.daemons import Kind
from colonnade.store.postgres.database import Database
from colonnade.store.queue import events

AIMS: Final[Mapping[State, str]] = {  # the others are a cluster's, or wait to be lent
    State.BOOTING: "its birth",
    State.FAILED: "it fenced",
    State.RETIRING: "its burial",
}
log = structlog.get_logger()
PEERS: Final = (Kind.CONTROLLER, Kind.HEALTH)  # whom an agent speaks with
LIVING: Final = frozenset({State.SPARE, State.CARRYING, State.SERVING, State.LEAVING})


class Births(msgspec.Struct, frozen=True):
    """What an amphora is born with comes from here."""

    config: Config
    certificates: Certificates
    seal: Seal
    haproxy: str
    release: str = colonnade.__version__
    keepalived: str = "keepalived"
    bird: str = "bird"

    def __repr__(self) -> str:
        return "Births(***)"


class Amphorae:
    """The reconciler of `amphora:<id>`."""

    def __init__(
        self,
        database: Database,
        network: NetworkDriver,
        compute: ComputeDriver,
        births: Births,
        agents: AmphoraDriver,
    ) -> None:
        self._database = database
        self._network = network
        self._compute = compute
        self._births = births
        self._agents = agents

    async def reconcile(self, name: str) -> float | None:
        async with self._database.read() as connection:
            amphora = await amphora_rows.amphora(connection, AmphoraId(name))
        if amphora is None:
            return None
        account.looked(AIMS.get(amphora.state, "nothing"), f"it {amphora.state.value}")
        if amphora.state is State.BOOTING:
            await self._give_birth(amphora)
        if amphora.state in LIVING and self._births.certificates.is_behind(amphora):
            with contextlib.suppress(ColonnadeError):  # it also asks by itself, every minute
                await self._agents.notify(amphora)
        if amphora.state is State.FAILED and amphora.cluster_id is None:
            await self._compute.destroy(amphora.id)
            amphora = await self._advance(amphora, Event.FENCED)
        if amphora.state is State.RETIRING:
            await self._bury(amphora)
        return None

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        message = f"{error.public}; tried again in {retry_in_s:.0f} s"
        async with self._database.transaction() as connection:
            await events.record(
                connection,
                events.Event(object_kind="amphora", object_id=name, kind="broken", message=message),
            )

    async def _give_birth(self, amphora: Amphora) -> None:
        instance = await self._compute.instance(amphora.id)
        carrier = await self._carrier(amphora)
        is_lost = amphora.carrier_id is not None and carrier is None
        if is_lost or (instance is not None and instance.state is InstanceState.STOPPED):
            await self._advance(amphora, Event.WENT_SILENT)
            return
        if instance is not None and carrier is None:
            return  # its first heartbeat, or the lack of one, decides what follows
        subnet = await self._network.lb_subnet()
        port = await self._network.create_port(_lb_port(amphora, subnet))
        certificates = self._births.certificates
        identity, authority = certificates.issue(amphora.id), certificates.authority
        async with self._database.transaction() as connection:
            wanted = await catalogue.wanted_of(connection, amphora.flavor, self._births.release)
            made = replace(
                amphora,
                born_by=carrier.born_by if carrier else wanted.release,
                image_tag=carrier.image_tag if carrier else wanted.image_tag,
                engine=carrier.engine if carrier else wanted.engine,
            )
            facts = await catalogue.flavor_facts(connection, amphora.flavor) if carrier else None
            await amphora_rows.record_birth(connection, made, (port.id, port.address))
            await amphora_rows.record_certificate(
                connection,
                amphora.id,
                expires_at(identity.certificate).timestamp(),
                authority.name,
                authority.trusted,
            )
            sealed = await amphora_rows.sealed_key(connection, amphora.id)
            peers = {kind: await daemons.live(connection, kind) for kind in PEERS}
            apart_from = await placing.avoided(connection, amphora.id)
        if sealed is None:
            return  # gone meanwhile
        agent = self._agent_config(amphora, port, subnet, peers)
        if facts is not None:
            agent = replace(agent, logs=_share(agent.logs, facts.max_load_balancers))
        drive = {
            birth.AGENT: msgspec.json.encode(agent).decode(),
            birth.IDENTITY: identity.pem,
            birth.AUTHORITIES: authority.trusted_pem,
            birth.HEARTBEAT_KEY: self._births.seal.unseal(sealed, amphora.id).hex(),
        }
        boot = Boot(
            amphora_id=amphora.id,
            lb_port_id=port.id,
            config_drive={} if carrier else drive,
            apart_from=apart_from,
            carrier_id=amphora.carrier_id,
            flavor=amphora.flavor,
            image_tag=wanted.image_tag or "",
            compute_flavor=wanted.compute_flavor or "",
        )
        await self._compute.create(boot)
        if carrier is not None:
            await self._agents.open_seat(carrier, amphora, drive)
        log.info("amphora started", amphora_id=amphora.id, address=port.address)

    async def _carrier(self, amphora: Amphora) -> Amphora | None:
        """Of a seat, the amphora that it is on."""
        if amphora.carrier_id is None:
            return None
        async with self._database.read() as connection:
            return await amphora_rows.amphora(connection, amphora.carrier_id)

    def _agent_config(
        self, amphora: Amphora, port: Port, subnet: Subnet, peers: Mapping[Kind, Sequence[str]]
    ) -> AgentConfig:
        own = self._births.config.lb_network.address
        heartbeats, reloads = self._births.config.heartbeats, self._births.config.reloads
        return AgentConfig(
            amphora_id=amphora.id,
            lb_network_ip=port.address,
            lb_prefix_length=int(subnet.cidr.rpartition("/")[2]),
            lb_gateway=subnet.gateway_ip or "",
            controllers=_or_own(peers[Kind.CONTROLLER], own, PORT_CONTROLLER),
            receivers=_or_own(peers[Kind.HEALTH], own, PORT_HEALTH),
            heartbeat_s=heartbeats.interval_s,
            heartbeat_spare_s=heartbeats.spare_interval_s,
            haproxy=self._births.haproxy,
            keepalived=self._births.keepalived,
            bird=self._births.bird,
            reload_pause_s=reloads.pause_s,
            old_workers_max=reloads.old_workers_max,
            memory_reserve_mib=reloads.memory_reserve_mib,
        )

    async def _bury(self, amphora: Amphora) -> None:
        await self._compute.destroy(amphora.id)
        await self._close(amphora)
        for port in await self._network.ports():
            if port.owner == f"amphora:{amphora.id}":
                await self._network.delete_port(port.id)
        async with self._database.transaction() as connection:
            if amphora.carrier_id is not None:
                await seats.hold(connection, [amphora.carrier_id])
            await amphora_rows.advance(connection, amphora, Event.DESTROYED)
            if amphora.carrier_id is not None:
                await seats.release_if_empty(connection, amphora.carrier_id)

    async def _close(self, amphora: Amphora) -> None:
        """A seat leaves nothing on the amphora that goes on; with one that ended it ended too."""
        carrier = await self._carrier(amphora)
        if carrier is None:
            return
        instance = await self._compute.instance(carrier.id)
        if instance is not None and instance.state is InstanceState.RUNNING:
            await self._agents.close_seat(carrier, amphora)

    async def _advance(self, amphora: Amphora, event: Event) -> Amphora:
        async with self._database.transaction() as connection:
            return await amphora_rows.advance(connection, amphora, event)


def _share(limits: LogLimits, seats_max: int) -> LogLimits:
    """Of the room for access logs, what is for one of so many."""
    spool_bytes = limits.spool_bytes // seats_max
    return replace(
        limits, spool_bytes=spool_bytes, file_bytes=min(limits.file_bytes, spool_bytes // 4)
    )


def _lb_port(amphora: Amphora, subnet: Subnet) -> PortWish:
    port_id = PortId(derived_id(amphora.id, "lb"))
    return PortWish(id=port_id, owner=f"amphora:{amphora.id}", subnet_id=subnet.id)


def _or_own(addresses: Sequence[str], own: str, port: int) -> tuple[str, ...]:
    """Those that registered. When none did yet, the one on this machine soon will."""
    return tuple(addresses) or (f"{own}:{port}",)
