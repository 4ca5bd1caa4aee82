# SPDX-License-Identifier: Apache-2.0
"""Events as they come, for any number of readers in one process: one LISTEN, one look for each.

The newest events are kept in memory, so a reader that keeps up asks the database nothing. A slow
reader reads on from its own place in the database, so it costs no memory. The feed runs only while
somebody reads. A NOTIFY only wakes it; readers look by themselves every now and then.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from weakref import WeakKeyDictionary

from colonnade.domain.errors import Unavailable
from colonnade.store.postgres.database import Database
from colonnade.store.queue import events
from colonnade.store.queue.events import Recorded

KEPT: Final = 1000
BATCH: Final = 500
LINGER_S: Final = 10.0  # for the next reader, after the last has gone
AGAIN_S: Final = 0.02  # while an older transaction has not ended
GIVE_UP_S: Final = 2.0


class News(asyncio.Event):
    """Set when there is something new about the load balancer, or about any (None)."""

    def __init__(self, load_balancer_id: str | None) -> None:
        super().__init__()
        self.load_balancer_id = load_balancer_id


class Feed:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: deque[Recorded] = deque(maxlen=KEPT)
        self._from: int | None = None  # all that came after this one is kept
        self._last = 0
        self._notified = 0
        self._woken = asyncio.Event()
        self._readers: set[News] = set()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def news(self, load_balancer_id: str | None = None) -> Iterator[News]:
        news = News(load_balancer_id)
        self._readers.add(news)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield news
        finally:
            self._readers.discard(news)
            if not self._readers:
                asyncio.get_running_loop().call_later(LINGER_S, self._stop_when_idle)

    @property
    def position(self) -> int:
        """All events up to this id can be seen in the store."""
        return self._last

    def since(self, after: int) -> list[Recorded] | None:
        """What came after this id. None: that is no longer known here."""
        if self._from is None or after < self._from:
            return None
        found = []
        for recorded in reversed(self._kept):
            if recorded.id <= after:
                break
            found.append(recorded)
        return found[::-1]

    def _stop_when_idle(self) -> None:
        if not self._readers and self._task is not None:
            self._task.cancel()
            self._task = None
            self._from = None

    async def _run(self) -> None:
        looking = asyncio.create_task(self._look())
        try:
            async for payload in self._database.listen(events.CHANNEL):
                if payload == "":
                    self._from = None  # whatever was told meanwhile was missed
                else:
                    self._notified = max(self._notified, int(payload))
                self._woken.set()
        finally:
            looking.cancel()
            self._from = None

    async def _look(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            with suppress(Unavailable):
                await self._take()

    async def _take(self) -> None:
        """All that is new, even when what was told is not yet to be seen."""
        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        if self._from is None:
            async with self._database.read() as connection:
                self._last = await events.last_id(connection)
            self._kept.clear()
            self._from = self._last
            self._wake(None)
        while True:
            async with self._database.read() as connection:
                found = await events.newer_than(connection, self._last, BATCH)
            for recorded in found:
                self._keep(recorded)
            if len(found) == BATCH:
                continue
            if self._last >= self._notified or asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(AGAIN_S)

    def _keep(self, recorded: Recorded) -> None:
        if len(self._kept) == KEPT:
            self._from = self._kept[0].id
        self._kept.append(recorded)
        self._last = recorded.id
        self._wake(recorded.event.load_balancer_id)

    def _wake(self, load_balancer_id: str | None) -> None:
        """Without an id: everybody."""
        for news in self._readers:
            if load_balancer_id is None or news.load_balancer_id in (None, load_balancer_id):
                news.set()


_FEEDS: Final[WeakKeyDictionary[Database, Feed]] = WeakKeyDictionary()


def feed_of(database: Database) -> Feed:
    """The one of this process."""
    feed = _FEEDS.get(database)
    if feed is None:
        feed = _FEEDS[database] = Feed(database)
    return feed
