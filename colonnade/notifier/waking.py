# SPDX-License-Identifier: Apache-2.0
"""Events mark the webhooks that want them, as they come.

Whoever writes an event knows nothing of webhooks, and waits for none. What was not noticed here,
as while this process did not run, is found by the sweep.
"""

import asyncio
from typing import Final

import structlog

from colonnade.domain.errors import Unavailable
from colonnade.store.extras import webhooks
from colonnade.store.extras.webhooks import Sort
from colonnade.store.postgres.database import PATIENT_S, Database
from colonnade.store.queue.feed import Feed, feed_of
from colonnade.store.queue.shown_events import object_type

SWEEP_S: Final = 30.0
RETRY_S: Final = 1.0

log = structlog.get_logger()


async def wake_for_ever(database: Database, sweep_s: float = SWEEP_S) -> None:
    """Until cancelled."""
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
                        await webhooks.sweep(connection)
                    swept_at = now()
                last = await _wake(database, feed, last)
            except Unavailable as error:
                log.warning("the database does not answer", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            try:
                async with asyncio.timeout(max(0.0, swept_at + sweep_s - now())):
                    await news.wait()
            except TimeoutError:
                pass


async def _wake(database: Database, feed: Feed, last: int) -> int:
    """Up to which event all webhooks are marked. What is no longer known here, the sweep finds."""
    found = feed.since(last)
    if not found:
        return last
    sorts = {
        Sort(one.event.project_id, one.event.kind, object_type(one.event.object_kind))
        for one in found
    }
    async with database.read() as connection:
        await webhooks.wake(connection, sorts)
    return found[-1].id
