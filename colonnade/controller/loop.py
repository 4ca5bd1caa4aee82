# SPDX-License-Identifier: Apache-2.0
"""Lease keys, reconcile them, and sort what comes back. NOTIFY wakes it; a sweep is the truth.

Each key is worked on by one task at a time, under a lease that is extended while the work lasts. A
task that lost its lease stops. `Unavailable` is tried again soon; `Broken` and `Refused` are
recorded and tried again slowly; any other error is a bug, logged with its stack and tried again
slowly. This is one of the two places where errors are caught. Keys that failed of late have at most
half of the places, so that keys that hang do not hold up the others. Only its reconciler knows what
a key means.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, Protocol

import structlog

from colonnade.controller import account
from colonnade.controller.metrics import PASS_SECONDS, PASSES
from colonnade.domain.errors import Broken, ColonnadeError, Refused, Unavailable
from colonnade.runtime.clock import loop_time
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.queue import work

LEASE_S: Final = 15.0
AGAIN_S: Final = 0.1
MARGIN: Final = 0.2  # of a lease, before its end: who cannot extend it stops by then
SWEEP_S: Final = 5.0
AT_ONCE: Final = 8
SOON_S: Final = 0.2
SOON_MAX_S: Final = 10.0
SLOWLY_S: Final = 15.0
SLOWLY_MAX_S: Final = 300.0
PARTING_S: Final = 3.0  # for work under way, when the process ends

log = structlog.get_logger()


class Reconciler(Protocol):
    async def reconcile(self, name: str) -> float | None:
        """Take one pass. Seconds until the next look, None when nothing is left to do."""

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Waiting does not help: tell the owner."""


class Loop:
    """`reconcilers`: by the word before the colon of their keys. `holder`: whose leases these
    are, for the next one in the same place."""

    parting_s = PARTING_S

    def __init__(
        self,
        database: Database,
        reconcilers: Mapping[str, Reconciler],
        *,
        at_once: int = AT_ONCE,
        lease_s: float = LEASE_S,
        holder: str = "",
    ) -> None:
        self._database = database
        self._holder = holder
        self._reconcilers = reconcilers
        self._at_once = at_once
        self._lease_s = lease_s
        self.on_connected: Callable[[], Awaitable[object]] | None = None  # to any database, again
        self._wake = asyncio.Event()
        self._working: dict[asyncio.Task[None], work.Lease] = {}

    async def run(self) -> None:
        """Until cancelled; leases under way are given back then."""
        listening = asyncio.create_task(self._listen())
        try:
            attempts = 0
            while True:
                try:
                    await self._wait(await self._lease_some())
                    attempts = 0
                except Unavailable as error:
                    log.warning("the database does not answer", error=str(error))
                    await asyncio.sleep(soon_s(attempts))
                    attempts += 1
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._part()

    async def _lease_some(self) -> float:
        """Start what is due and fits. Seconds until there may be more."""
        self._wake.clear()
        free = self._at_once - len(self._working)
        if free <= 0:
            return SWEEP_S
        failing = sum(lease.attempts > 0 for lease in self._working.values())
        retries = max(0, self._at_once // 2 - failing)
        async with self._database.read() as connection:
            kinds = list(self._reconcilers)
            leases = await work.lease(
                connection, work.Free(free, retries), self._lease_s, self._holder, kinds
            )
            retries -= sum(lease.attempts > 0 for lease in leases)
            due_s = None
            if len(leases) < free:
                # The first retry to end makes room for another, and wakes.
                due_s = await work.next_due_s(connection, fresh_only=retries <= 0, kinds=kinds)
        for lease in leases:
            task = asyncio.create_task(self._work(lease), name=lease.key)
            self._working[task] = lease
            task.add_done_callback(self._done)
        return SWEEP_S if due_s is None else min(SWEEP_S, due_s)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._working.pop(task, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the loop ended", work_key=task.get_name(), exc_info=error)

    async def _wait(self, longest_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(longest_s, 0.005)):
                await self._wake.wait()

    async def _listen(self) -> None:
        async with contextlib.aclosing(self._database.listen(work.CHANNEL)) as payloads:
            async for payload in payloads:
                if not payload and self.on_connected is not None:
                    await self._told_of_it(self.on_connected)
                self._wake.set()

    async def _told_of_it(self, on_connected: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await on_connected()
            except Unavailable as error:
                log.warning("the database does not answer", error=str(error))
                await asyncio.sleep(soon_s(0))
            else:
                return

    async def _part(self) -> None:
        if self._working:
            await asyncio.wait(self._working, timeout=self.parting_s)
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _work(self, lease: work.Lease) -> None:
        kind, _, name = lease.key.partition(":")
        reconciler = self._reconcilers[kind]
        keeping = asyncio.create_task(self._keep(lease, asyncio.current_task()))
        try:
            give_back = await self._sorted(reconciler, name, lease)
        except asyncio.CancelledError:
            with contextlib.suppress(Unavailable):  # it then ends by itself
                async with self._database.read() as connection:
                    await work.finish(connection, lease, again_in_s=0)
            raise
        finally:
            keeping.cancel()
        await self._until_told(give_back)

    async def _sorted(
        self, reconciler: Reconciler, name: str, lease: work.Lease
    ) -> Callable[[Connection], Awaitable[bool]]:
        """One pass, and what its end means for the key."""
        slow_s = slowly_s(lease.attempts)
        with _told(lease.key) as end:
            try:
                again_in_s = await reconciler.reconcile(name)
                end("done" if again_in_s is None else "later")
                return lambda connection: work.finish(connection, lease, again_in_s)
            except Unavailable as error:
                end("unavailable")
                pause_s = soon_s(lease.attempts)
                in_s = round(pause_s, 2)
                log.info("not now", work_key=lease.key, error=str(error), again_in_s=in_s)
                return lambda connection: work.fail(connection, lease, pause_s)
            except (Broken, Refused) as error:
                end("broken")
                log.warning("broken", work_key=lease.key, error=str(error), again_in_s=slow_s)
                await self._recorded(reconciler, name, error, slow_s)
            except Exception:
                end("bug")
                log.exception("a bug", work_key=lease.key)
        return lambda connection: work.fail(connection, lease, slow_s)

    async def _recorded(
        self, reconciler: Reconciler, name: str, error: ColonnadeError, slow_s: float
    ) -> None:
        """Tell the owner. What keeps that from being told never keeps the key from being given
        back: the next attempt tells it again."""
        try:
            await reconciler.record(name, error, slow_s)
        except Unavailable as away:
            log.info("a failure is not recorded yet", name=name, error=str(away))
        except Exception:
            log.exception("a failure could not be recorded: a bug", name=name)

    async def _keep(self, lease: work.Lease, worker: "asyncio.Task[None] | None") -> None:
        """Extend the lease while the work lasts; stop the work when it is lost."""
        assert worker is not None
        # The work has stopped before the lease is another's: it stops a while before its end.
        safe_s = self._lease_s * (1 - MARGIN)
        stop_at, pause_s = loop_time() + safe_s, self._lease_s / 3
        while True:
            await asyncio.sleep(min(pause_s, max(0.0, stop_at - loop_time())))
            asked_at = loop_time()
            try:
                async with asyncio.timeout(stop_at - asked_at), self._database.read() as connection:
                    held = await work.extend(connection, lease, self._lease_s)
                stop_at, pause_s = asked_at + safe_s, self._lease_s / 3
            except Exception as error:
                if not isinstance(error, Unavailable | TimeoutError):
                    log.exception("a lease could not be extended: a bug", work_key=lease.key)
                held, pause_s = loop_time() < stop_at, self._lease_s / 15
            if not held:
                log.warning("the lease is lost", work_key=lease.key)
                while not worker.done():  # a library may swallow a cancellation
                    worker.cancel()
                    await asyncio.sleep(AGAIN_S)
                return

    async def _until_told(self, give_back: Callable[[Connection], Awaitable[bool]]) -> None:
        """Give the lease back, for as long as it lasts."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._lease_s):
                for attempts in range(100):
                    try:
                        async with self._database.read() as connection:
                            await give_back(connection)
                        return
                    except Unavailable:
                        await asyncio.sleep(soon_s(attempts))


@contextlib.contextmanager
def _told(key: str) -> Iterator[Callable[[str], None]]:
    """Count one pass, and say in a sentence what became of it; `lost` when it is cut off."""
    kind, began, outcome = key.partition(":")[0], loop_time(), "lost"
    said = account.begin()

    def end(word: str) -> None:
        nonlocal outcome
        outcome = word

    try:
        yield end
    finally:
        took_s = loop_time() - began
        PASSES.labels(kind, outcome).inc()
        PASS_SECONDS.labels(kind).observe(took_s)
        sentence = said.sentence(outcome)
        log.info("pass", work_key=key, said=sentence, outcome=outcome, ms=round(took_s * 1000, 1))


def soon_s(attempts: int) -> float:
    """With jitter, so that keys that failed together are not tried again together."""
    return _backoff_s(attempts, SOON_S, SOON_MAX_S)


def slowly_s(attempts: int) -> float:
    return _backoff_s(attempts, SLOWLY_S, SLOWLY_MAX_S)


def _backoff_s(attempts: int, first_s: float, longest_s: float) -> float:
    longest: float = min(longest_s, first_s * 2 ** min(attempts, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


async def together(*tasks: Awaitable[object]) -> None:
    """Do all of them, whatever becomes of the others; then raise the worst that happened."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        raise max(errors, key=_badness)


def _badness(error: BaseException) -> int:
    if isinstance(error, Unavailable):
        return 0
    return 1 if isinstance(error, ColonnadeError) else 2
