# SPDX-License-Identifier: Apache-2.0
"""Events mark the webhooks that want them, and the message bus, as they come.

Whoever writes an event knows nothing of who is told of it, and waits for none. What was not
noticed here, as while this process did not run, is found by the sweep.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final, Protocol

import structlog

from colonnade.domain.errors import Unavailable
from colonnade.store.extras import webhooks
from colonnade.store.extras.webhooks import Sort
from colonnade.store.postgres.database import PATIENT_S, Connection, Database
from colonnade.store.queue.feed import Feed, feed_of
from colonnade.store.queue.shown_events import object_type

SWEEP_S: Final = 30.0
RETRY_S: Final = 1.0

log = structlog.get_logger()


class Subscribers(Protocol):
    """Who is told of events, as far as the store knows them."""

    async def wake(self, connection: Connection, sorts: Collection[Sort]) -> None:
        """Mark the work of those that want something of these sorts."""

    async def sweep(self, connection: Connection) -> None:
        """Mark the work of all that something waits for."""


async def wake_for_ever(
    database: Database, sweep_s: float = SWEEP_S, more: Sequence[Subscribers] = ()
) -> None:
    """Until cancelled. `more`: beside webhooks."""
    subscribers: Sequence[Subscribers] = (webhooks, *more)
    feed = feed_of(database)
    swept_at, last = float("-inf"), 0
    now = asyncio.get_running_loop().time
    with feed.news() as news:
        while True:
            news.clear()
            try:
                if now() - swept_at >= sweep_s or feed.since(last) is None:
                    last = feed.position
                    async with database.read(answer_s=PATIENT_S) as connection:
                        for one in subscribers:
                            await one.sweep(connection)
                    swept_at = now()
                last = await _wake(database, feed, last, subscribers)
            except Unavailable as error:
                log.warning("the database does not answer", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            try:
                async with asyncio.timeout(max(0.0, swept_at + sweep_s - now())):
                    await news.wait()
            except TimeoutError:
                pass


async def _wake(
    database: Database, feed: Feed, last: int, subscribers: Sequence[Subscribers]
) -> int:
    """Up to which event all are marked. What is no longer known here, the sweep finds."""
    found = feed.since(last)
    if not found:
        return last
    sorts = {
        Sort(one.event.project_id, one.event.kind, object_type(one.event.object_kind))
        for one in found
    }
    async with database.read() as connection:
        for one in subscribers:
            await one.wake(connection, sorts)
    return found[-1].id
