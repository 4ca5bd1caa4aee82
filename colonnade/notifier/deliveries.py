# SPDX-License-Identifier: Apache-2.0
"""What a webhook is to be told is sent, one message after the other, until nothing waits.

Events go out in the order of their ids, and the next message only after the last was taken; one
that was taken as the process ended may come twice, none is left out. A receiver that fails is tried
again ever more slowly by the loop, and is disabled after days of it, or when it says that it is
gone.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog

from colonnade.controller import account
from colonnade.domain.errors import Broken, ColonnadeError
from colonnade.domain.webhooks import Delivery, Secrets
from colonnade.drivers.secrets.database import Seal
from colonnade.notifier import signing
from colonnade.notifier.metrics import EVENTS, MESSAGES, SECONDS
from colonnade.notifier.posting import Answer, Poster
from colonnade.notifier.signing import Message
from colonnade.runtime.clock import loop_time
from colonnade.runtime.config import Webhooks
from colonnade.store.extras import webhooks
from colonnade.store.extras.webhooks import Subscription, Waiting
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.times import time

PAUSE_S: Final = 0.2  # after a message, in which events for the next one gather
PASS_S: Final = 5.0  # then others have their turn

log = structlog.get_logger()


class Undelivered(Broken):
    def __init__(self, delivery: Delivery, *, is_gone: bool) -> None:
        super().__init__(delivery.failure)
        self.delivery = delivery
        self.is_gone = is_gone


class Deliveries:
    """The reconciler of `webhook:<id>`. `pause_s`: a test waits for no events to gather."""

    pause_s = PAUSE_S

    def __init__(
        self, database: Database, seal: Seal, poster: Poster, settings: Webhooks | None = None
    ) -> None:
        self._database = database
        self._seal = seal
        self._poster = poster
        self._settings = settings or Webhooks()

    async def reconcile(self, name: str) -> float | None:
        until = loop_time() + PASS_S
        sent, failed = 0, False
        while loop_time() < until:
            one = await self._find(name)
            if one is None:
                account.looked("a webhook", "none: it was deleted")
                return None
            failed = failed or one.failing_since is not None
            if one.ping:
                await self._try_out(one)
            if not one.webhook.enabled:
                account.looked("a webhook", "a disabled one")
                return None
            if not await self._tell(one):
                account.looked("all events told", f"{sent} messages of them, and no more to tell")
                # What came while it was failing has not marked the key: look once more.
                return 0.0 if failed and sent else None
            sent += 1
            await asyncio.sleep(self.pause_s)
        account.looked("all events told", f"{sent} messages of them, and more to tell")
        return 0.0

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """The owner sees why nothing comes, and when it is tried again."""
        delivery = error.delivery if isinstance(error, Undelivered) else None
        async with self._database.transaction() as connection:
            since = await webhooks.record_failed(
                connection, name, error.public, delivery, retry_in_s=retry_in_s
            )
            if since is None:
                return
            days = self._settings.give_up_days
            if isinstance(error, Undelivered) and error.is_gone:
                reason = "the receiver answered 410: it is gone for good"
            elif datetime.now(UTC) - since > timedelta(days=days):
                reason = f"no message was taken for {days:g} days; the last failure: {error.public}"
            else:
                return
            await webhooks.disable(connection, name, reason)
        log.warning("a webhook is disabled", webhook=name, reason=reason)

    async def _find(self, name: str) -> Subscription | None:
        async with self._database.read() as connection:
            return await webhooks.find(connection, name)

    async def _tell(self, one: Subscription) -> bool:
        """Send the next message. False: there is none. Raises Undelivered."""
        async with self._database.read() as connection:
            found = await webhooks.waiting(connection, one, signing.EVENTS_MAX)
        webhook_id = one.webhook.id
        if not found.events and not found.forgotten:
            if found.reached > one.position:
                async with self._database.read() as connection:
                    await webhooks.record_nothing(connection, webhook_id, found.reached)
            return False
        message = signing.of_events(webhook_id, found.events, missed=found.forgotten)
        answer = await self._send(one, message)
        delivery = _delivery(message, answer)
        if answer.failure:
            raise Undelivered(delivery, is_gone=answer.is_gone)
        EVENTS.inc(len(message.events))
        async with self._database.read() as connection:
            reached = _reached(found, message)
            await webhooks.record_delivered(
                connection, webhook_id, reached, delivery, missed=found.forgotten
            )
        return True

    async def _try_out(self, one: Subscription) -> None:
        message = signing.of_trial(one.webhook.id, one.ping)
        delivery = _delivery(message, await self._send(one, message))
        async with self._database.read() as connection:
            await webhooks.record_trial(connection, one.webhook.id, delivery)

    async def _send(self, one: Subscription, message: Message) -> Answer:
        sealed = self._seal.unseal(one.secrets, one.webhook.id)
        now = datetime.now(UTC)
        keys = msgspec.json.decode(sealed, type=Secrets).keys(now.timestamp())
        headers = signing.headers(message, keys, now)
        own = one.webhook
        answer = await self._poster.post(own.url, headers, message, own.ca_certificate)
        MESSAGES.labels("failed" if answer.failure else "delivered").inc()
        SECONDS.observe(answer.ms / 1000)
        return answer


def _reached(found: Waiting, message: Message) -> int:
    """Up to where nothing is left to tell, now that the message was taken."""
    told = len(message.events)
    if told == len(found.events) and told < signing.EVENTS_MAX:
        return max([found.reached, *(one.id for one in message.events)])
    return message.events[-1].id


def _delivery(message: Message, answer: Answer) -> Delivery:
    told = message.events
    return Delivery(
        id=message.id,
        at=time(datetime.now(UTC)) or "",
        delivered=not answer.failure,
        failure=answer.failure,
        status=answer.status,
        ms=answer.ms,
        events=len(told),
        first_event_id=told[0].id if told else None,
        last_event_id=told[-1].id if told else None,
    )
