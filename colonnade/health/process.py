# SPDX-License-Identifier: Apache-2.0
"""`colonnade health`: the receiver, the intake and the judgement of silence, put together.

Any number may run at once; each registers where it listens. One loop flushes and then judges, so
that no amphora is judged while a heartbeat of it still waits to be written.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import structlog
from prometheus_client.metrics_core import Metric

from colonnade.domain.errors import Broken, Unavailable
from colonnade.domain.ids import AmphoraId, new_id
from colonnade.drivers.amphora.haproxy.client import AgentClient
from colonnade.drivers.secrets.database import Seal
from colonnade.health import liveness
from colonnade.health.intake import WORKERS, Agents, Intake
from colonnade.health.judgement import judge
from colonnade.health.metrics import JUDGING, UNWRITTEN, of_datagrams
from colonnade.health.receiver import Listening, Receiver
from colonnade.health.senders import Senders
from colonnade.health.trouble_watch import Troubles
from colonnade.protocol.messages import PORT_HEALTH
from colonnade.runtime import metrics
from colonnade.runtime.clock import Clock, SystemClock
from colonnade.runtime.config import Config, Failovers, Heartbeats
from colonnade.runtime.logging import configure
from colonnade.runtime.termination import until_told
from colonnade.store.fleet import daemons, heartbeat_keys
from colonnade.store.postgres.database import Database

log = structlog.get_logger()

FLUSH_S: Final = 0.5
FLUSH_SOON_S: Final = 0.05
TIDY_S: Final = 600.0


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


class Health:
    """All of it but the process: tests run it on loopback. `clock` and `flush_s`: another world
    has others."""

    clock: Clock = SystemClock()
    flush_s = FLUSH_S

    def __init__(
        self,
        database: Database,
        keys: Keys,
        agents: Agents,
        allowed: Heartbeats,
        limits: Failovers | None = None,
    ) -> None:
        self._database = database
        self._allowed = allowed
        self._limits = limits or Failovers()
        self.intake = Intake(database, agents, self.clock)
        self.senders = Senders(keys, self.clock)
        self.receiver = Receiver(self.senders, self.intake, self.clock)
        self.troubles = Troubles(database, agents, self.clock, allowed, self._limits)
        self.running: asyncio.Task[None] | None = None  # done only when something is broken

    async def families(self) -> Iterable[Metric]:
        known = len(self.senders.known)
        return of_datagrams(self.receiver.accepted, self.receiver.rejected, known)

    @contextlib.asynccontextmanager
    async def listening(self, address: str, port: int) -> AsyncIterator[Listening]:
        """Receives, writes and judges while the context lasts. Raises OSError."""
        socket = self.receiver.listen(address, port)
        daemon = daemons.Daemon(new_id(), daemons.Kind.HEALTH, f"{socket.address}:{socket.port}")
        loops = [
            self.senders.look_up(self.receiver.accept),
            self.receiver.report(),
            self._flush_and_judge(),
            self._register(daemon),
            self._tidy(),
            self.troubles.run(),
            *(self.intake.work() for _ in range(WORKERS)),
        ]
        self.running = asyncio.create_task(_all(loops))
        try:
            yield socket
        finally:
            self.running.cancel()
            await asyncio.wait([self.running])
            socket.close()
            with contextlib.suppress(Unavailable):
                async with self._database.transaction() as connection:
                    await daemons.forget(connection, daemon)

    async def _flush_and_judge(self) -> None:
        watch = liveness.Watch()
        while True:
            is_well = await self._flush()
            watch = liveness.look(watch, self.clock.monotonic(), is_well=is_well)
            windows = liveness.windows(watch, self.clock.monotonic(), self._allowed)
            JUDGING.set(windows.judges)
            if windows.judges and not await judge(self._database, windows, self._limits):
                watch = liveness.look(watch, self.clock.monotonic(), is_well=False)
            await self._pause()

    async def _flush(self) -> bool:
        """False: the database does not take what is heard, or so slowly that what came meanwhile
        is not there yet when silence is judged."""
        began = self.clock.monotonic()
        try:
            await self.intake.flush()
        except Unavailable as error:
            UNWRITTEN.inc()
            log.warning("heartbeats not written", reason=str(error))
            return False
        return self.clock.monotonic() - began < self._allowed.stale_s / 2

    async def _pause(self) -> None:
        """Until the next flush; a newcomer is waited for by somebody, so it need not wait."""
        await self.clock.sleep(FLUSH_SOON_S)
        # Not wait_for: in Python 3.11 that may swallow a cancellation that comes with the event,
        # and then this loop would never end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.flush_s - FLUSH_SOON_S):
                await self.intake.newcomer.wait()

    async def _register(self, daemon: daemons.Daemon) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                async with self._database.transaction() as connection:
                    await daemons.register(connection, daemon)
            await self.clock.sleep(daemons.REFRESH_S)

    async def _tidy(self) -> None:
        while True:
            await self.clock.sleep(TIDY_S)
            self.senders.forget_silent()


async def run(config: Config) -> None:
    """Until SIGTERM or SIGINT."""
    configure("health", level=config.log_level)
    await until_told(_work(config))


async def _work(config: Config) -> None:
    seal = Seal.from_file(config.pki_dir / "master.key")
    database = await Database.when_there(config.database_url, pool_max=4)
    try:
        agents = AgentClient(config.pki_dir / "health.pem", config.pki_dir / "ca.pem")
        health = Health(database, Keys(database, seal), agents, config.heartbeats, config.failovers)
        try:
            async with health.listening(config.lb_network.address, PORT_HEALTH) as socket:
                log.info("listening", address=f"{socket.address}:{socket.port}")
                assert health.running is not None
                listener = metrics.listener_of(config.metrics, "health")
                sources = [metrics.own, health.families, database.families]
                async with metrics.told(config, "health", listener, sources):
                    await health.running  # a loop that broke is a bug, and ends the process loudly
        finally:
            await agents.close()
    finally:
        await database.close()


async def _all(loops: Sequence[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop)
