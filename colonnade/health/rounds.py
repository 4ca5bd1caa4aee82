# SPDX-License-Identifier: Apache-2.0
"""Once a second: write what was heard, say that one watches, judge who is silent.

The order is the promise: what waits in the buffers is taken first and written next, so nobody is
judged whose heartbeat had come. Any receiver may judge, by what all of them wrote and by the
store's time. A round that could not write, came late, or follows datagrams that the kernel had no
room for begins a new watch.
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
        # So slowly that what came meanwhile is not there yet when silence is judged.
        is_in_time = now - began < self._rules.heartbeats.stale_s / 2
        is_well = self._heard_all() and is_written and is_in_time
        self._watch = liveness.look(self._watch, now, is_well=is_well)
        if not is_written:
            JUDGING.set(False)
        elif not await self._judge(daemon, began):
            self._watch = liveness.look(self._watch, self._clock.monotonic(), is_well=False)

    async def _flush(self) -> bool:
        """False: the database does not take what is heard."""
        try:
            await self._intake.flush()
        except Unavailable as error:
            UNWRITTEN.inc()
            log.warning("heartbeats not written", reason=str(error))
            return False
        return True

    def _heard_all(self) -> bool:
        """False: there was no room for something, and it may have been anybody's heartbeat."""
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
        """Until the next round; a newcomer is waited for by somebody, so it need not wait."""
        await self._clock.sleep(SOON_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(next_at - self._clock.monotonic()):
                await self._intake.newcomer.wait()
