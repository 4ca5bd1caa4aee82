# SPDX-License-Identifier: Apache-2.0
"""The message bus is told of load balancers, in the order of events, until nothing waits.

Told of one event, the next follows when the bus has taken it; one that was taken as the process
ended may come twice, with the same ids, and none is left out.
"""

from typing import Final

import structlog

from colonnade.controller import account
from colonnade.domain.errors import ColonnadeError
from colonnade.notifier.bus import Bus
from colonnade.notifier.metrics import NOTIFICATIONS
from colonnade.notifier.payloads import notification
from colonnade.runtime.clock import loop_time
from colonnade.store.extras import notifications
from colonnade.store.postgres.database import Database
from colonnade.store.queue.events import Recorded

AT_ONCE: Final = 100  # events that are looked at
PASS_S: Final = 5.0  # then the loop takes a breath

log = structlog.get_logger()


class Notifications:
    """The reconciler of `notification:bus`."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    async def begin(self) -> None:
        async with self._database.transaction() as connection:
            await notifications.begin(connection)
            await notifications.sweep(connection)

    async def reconcile(self, _name: str) -> float | None:
        until, told = loop_time() + PASS_S, 0
        while loop_time() < until:
            async with self._database.read() as connection:
                found = await notifications.waiting(connection, AT_ONCE)
            if found.forgotten:
                log.warning("events were forgotten before the message bus was told of them")
                async with self._database.read() as connection:
                    await notifications.record_missed(connection, found.position)
                continue
            for event in found.events:
                told += await self._tell(event)
            if len(found.events) < AT_ONCE:
                async with self._database.read() as connection:
                    await notifications.record_reached(connection, found.reached)
                account.looked("the message bus told", f"{told} events of it, and no more to tell")
                return None
        account.looked("the message bus told", f"{told} events of it, and more to tell")
        return 0.0

    async def record(self, _name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Operators read it in the log, and see the lag; nobody else waits for the bus."""

    async def _tell(self, event: Recorded) -> bool:
        load_balancer_id = event.event.load_balancer_id
        if load_balancer_id is None:
            return False
        async with self._database.read() as connection:
            known = await notifications.told(connection, load_balancer_id)
            present = await notifications.present(connection, load_balancer_id)
        made = notification(event, known, present)
        if made is None:
            return False
        try:
            await self._bus.publish(made.id, made.body)
        except ColonnadeError:
            NOTIFICATIONS.labels("failed").inc()
            raise
        NOTIFICATIONS.labels("delivered").inc()
        async with self._database.transaction() as connection:
            await notifications.record_told(connection, event, made.now)
        return True
