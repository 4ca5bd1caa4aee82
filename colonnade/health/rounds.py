# SPDX-License-Identifier: Apache-2.0
"""Once a second: write what was heard, record that this receiver watches, judge silent amphorae.

The order is the promise: datagrams in the buffers are taken first and written next, so no amphora
is judged whose heartbeat had arrived. Any receiver may judge, by what all receivers wrote and by
the store's time. A round begins a new watch when it could not write, came late, or when the kernel
dropped datagrams before it.
"""

import asyncio
import contextlib
from typing import Final

import structlog

from colonnade.domain.errors import Unavailable
from colonnade.health import liveness
from colonnade.health.intake import Intake
from colonnade.health.judgement import judge
from colonnade.health.metrics import JUDGING, UNWRITTEN
from colonnade.health.receiver import Receiver
from colonnade.runtime.clock import Clock
from colonnade.store.fleet import daemons, receivers
from colonnade.store.fleet.failovers import Rules
from colonnade.store.postgres.database import Database

log = structlog.get_logger()

ROUND_S: Final = 1.0
SOON_S: Final = 0.05


class Rounds:
    round_s = ROUND_S

    def __init__(
        self,
        database: Database,
        receiver: Receiver,
        intake: Intake,
        rules: Rules,
        clock: Clock,
    ) -> None:
        self._database = database
        self._receiver = receiver
        self._intake = intake
        self._rules = rules
        self._clock = clock
        self._watch = liveness.Watch()
        self._dropped = 0

    async def go_on(self, daemon: daemons.Daemon) -> None:
        """For ever."""
        while True:
            next_at = self._clock.monotonic() + self.round_s
            await self.once(daemon)
            await self._pause(next_at)

    async def once(self, daemon: daemons.Daemon) -> None:
        began = self._clock.monotonic()
        self._receiver.catch_up()
        is_written = await self._flush()
        now = self._clock.monotonic()
        # A slow write: heartbeats that came during it are not stored when silence is judged.
        is_in_time = now - began < self._rules.heartbeats.stale_s / 2
        is_well = self._heard_all() and is_written and is_in_time
        self._watch = liveness.look(self._watch, now, is_well=is_well)
        if not is_written:
            JUDGING.set(False)
        elif not await self._judge(daemon, began):
            self._watch = liveness.look(self._watch, self._clock.monotonic(), is_well=False)

    async def _flush(self) -> bool:
        """False: the database did not take the heartbeats."""
        try:
            await self._intake.flush()
        except Unavailable as error:
            UNWRITTEN.inc()
            log.warning("heartbeats not written", reason=str(error))
            return False
        return True

    def _heard_all(self) -> bool:
        """False: the kernel dropped datagrams, and any of them may have been a heartbeat."""
        before, self._dropped = self._dropped, self._receiver.dropped()
        lost = max(0, self._dropped - before)
        if lost:
            self._receiver.rejected["no_room"] += lost
            log.warning("datagrams not heard, a new watch begins", dropped=lost)
        return not lost and self._receiver.knows_everyone()

    async def _judge(self, daemon: daemons.Daemon, began: float) -> bool:
        """False: the database does not answer."""
        now = self._clock.monotonic()
        told = receivers.Told(
            id=daemon.id,
            address=daemon.address,
            written_s=now - began,
            watched_s=0.0 if self._watch.since is None else now - self._watch.since,
            heard_s=min(now - self._receiver.heard_at, receivers.EVER_S),
        )
        windows = liveness.windows(self._watch, now, self._rules.heartbeats)
        JUDGING.set(windows.judges)
        return await judge(self._database, told, windows, self._rules)

    async def _pause(self, next_at: float) -> None:
        """Until the next round. It comes at once for a newcomer: somebody waits for that
        amphora."""
        await self._clock.sleep(SOON_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(next_at - self._clock.monotonic()):
                await self._intake.newcomer.wait()
