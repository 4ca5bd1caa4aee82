# SPDX-License-Identifier: Apache-2.0
"""`colonnade health`: the receiver, the intake and the judgement of silence, put together.

Any number may run at once, on one host and on several; each registers where it listens.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import structlog
from prometheus_client.metrics_core import Metric

from colonnade.domain.errors import Broken, Unavailable
from colonnade.domain.ids import AmphoraId, new_id
from colonnade.drivers.amphora.haproxy.client import AgentClient
from colonnade.drivers.secrets.database import Seal
from colonnade.health.intake import WORKERS, Agents, Intake
from colonnade.health.metrics import of_datagrams
from colonnade.health.receiver import Listening, Receiver
from colonnade.health.rounds import ROUND_S, Rounds
from colonnade.health.senders import Senders
from colonnade.health.trouble_watch import Troubles
from colonnade.protocol.messages import PORT_HEALTH, PORT_RECEIVERS
from colonnade.runtime import metrics, sd_notify
from colonnade.runtime.clock import Clock, SystemClock
from colonnade.runtime.config import Config, Failovers, Heartbeats
from colonnade.runtime.logging import configure
from colonnade.runtime.termination import until_told
from colonnade.runtime.workers import run_workers
from colonnade.store.fleet import daemons, heartbeat_keys
from colonnade.store.fleet.failovers import Rules
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.lending import reached

log = structlog.get_logger()

RECEIVERS_MAX: Final = 32  # processes on one host


class Keys:
    """Heartbeat keys out of the store, unsealed, with the sequence recorded last."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    async def __call__(self, amphorae: Sequence[UUID]) -> Mapping[UUID, tuple[bytes, int]]:
        names = [AmphoraId(str(amphora)) for amphora in amphorae]
        async with self._database.read() as connection:
            sealed = await heartbeat_keys.sealed_keys(connection, names)
        found = {}
        for name, (secret, sequence) in sealed.items():
            try:
                found[UUID(name)] = self._seal.unseal(secret, name), sequence
            except Broken as error:
                log.error("an amphora's heartbeats cannot be checked", reason=str(error))
        return found

    async def names(self) -> Sequence[UUID]:
        async with self._database.read() as connection:
            return [UUID(name) for name in await heartbeat_keys.names(connection)]


class Health:
    """A health receiver without its process, so that tests can run it on loopback. A simulated
    world sets another `clock` and `round_s`."""

    clock: Clock = SystemClock()
    round_s = ROUND_S

    def __init__(
        self,
        database: Database,
        keys: Keys,
        agents: Agents,
        allowed: Heartbeats,
        limits: Failovers | None = None,
    ) -> None:
        self._database = database
        self._rules = Rules(heartbeats=allowed, failovers=limits or Failovers())
        self.intake = Intake(database, agents, self.clock)
        self.senders = Senders(keys, self.clock)
        self.receiver = Receiver(self.senders, self.intake, self.clock)
        self.troubles = Troubles(database, agents, self.clock, self._rules)
        self.running: asyncio.Task[None] | None = None  # done only when something is broken

    async def families(self) -> Iterable[Metric]:
        known = len(self.senders.known)
        return of_datagrams(self.receiver.accepted, self.receiver.rejected, known)

    @contextlib.asynccontextmanager
    async def listening(
        self, address: str, port: int, shared_port: int | None = None
    ) -> AsyncIterator[Listening]:
        """Receives, writes and judges while the context lasts. `shared_port`: a second port, which
        several processes share, for amphorae that do not know each of them. Raises OSError."""
        async with contextlib.AsyncExitStack() as stack:
            own = self.receiver.listen(address, port)
            stack.callback(own.close)
            if shared_port is not None:
                shared = self.receiver.listen(address, shared_port, shared=True)
                stack.callback(shared.close)
            place = f"{own.address}:{own.port}"
            daemon = daemons.Daemon(new_id(), daemons.Kind.HEALTH, place)
            rounds = self.rounds()
            loops = [
                self.senders.keep(),
                self.senders.look_up(self.receiver.accept),
                self.receiver.report(),
                rounds.go_on(daemon),
                self._register(daemon),
                self.troubles.run(),
                *(self.intake.work() for _ in range(WORKERS)),
            ]
            self.running = asyncio.create_task(_all(loops))
            stack.push_async_callback(self._end, daemon)
            yield own

    def rounds(self) -> Rounds:
        rounds = Rounds(self._database, self.receiver, self.intake, self._rules, self.clock)
        rounds.round_s = self.round_s
        return rounds

    async def _end(self, daemon: daemons.Daemon) -> None:
        assert self.running is not None
        self.running.cancel()
        await asyncio.wait([self.running])
        with contextlib.suppress(Unavailable):
            async with self._database.transaction() as connection:
                await daemons.forget(connection, daemon)

    async def _register(self, daemon: daemons.Daemon) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                async with self._database.transaction() as connection:
                    await daemons.register(connection, daemon)
            await self.clock.sleep(daemons.REFRESH_S)


def run(config: Config) -> None:
    """Until SIGTERM or SIGINT. Raises Broken when the configuration cannot be served."""
    configure("health", level=config.log_level)
    number = config.health.receivers
    if not 1 <= number <= RECEIVERS_MAX:
        raise Broken(f"health.receivers: there are 1 to {RECEIVERS_MAX} on a host, not {number}")
    listener = metrics.listener_of(config.metrics, "health")
    if number == 1:
        asyncio.run(until_told(_work(config, PORT_HEALTH, None, listener)))
        return

    def work(place: int, stop: socket.socket) -> None:
        # Prometheus must reach the same process each time, or its counters would go back.
        told = _work(config, PORT_RECEIVERS + place, PORT_HEALTH, None if place else listener)
        asyncio.run(until_told(told, stop))

    run_workers(number, work)


async def _work(
    config: Config, port: int, shared_port: int | None, listener: socket.socket | None
) -> None:
    """`listener`: where Prometheus asks."""
    seal = Seal.from_file(config.pki_dir / "master.key")
    async with contextlib.AsyncExitStack() as stack:
        url = stack.enter_context(reached(config))
        database = await Database.when_there(url, pool_max=4)
        stack.push_async_callback(database.close)
        agents = AgentClient(config.pki_dir / "health.pem", config.pki_dir / "ca.pem")
        stack.push_async_callback(agents.close)
        health = Health(database, Keys(database, seal), agents, config.heartbeats, config.failovers)
        address = config.lb_network.address
        listening = await stack.enter_async_context(health.listening(address, port, shared_port))
        log.info("listening", address=f"{listening.address}:{listening.port}")
        assert health.running is not None
        sources = [metrics.own, health.families, database.families]
        told = metrics.told(config, "health", listener, sources)
        async with told, sd_notify.telling():
            await health.running  # a loop that broke is a bug, and ends the process loudly


async def _all(loops: Sequence[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop)
