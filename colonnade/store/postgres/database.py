# SPDX-License-Identifier: Apache-2.0
"""Connections to PostgreSQL, and what goes wrong with them said in our own words.

Whatever a dead, frozen, slow or restarted database does, callers see `Unavailable` within a few
seconds (to have a connection, and for each answer of it), at once when it is known to be gone, and
it works again by itself when the database is back. What does not answer in time is dropped
without waiting for it. UUIDs are read as text, JSON by msgspec. Knows connections only: SQL is
in the modules beside this one.
"""

import asyncio
import select
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeAlias

import msgspec
import psycopg
import psycopg.errors
import structlog
from prometheus_client.metrics_core import Metric
from psycopg import sql
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.string import TextLoader
from psycopg.waiting import wait_async
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from colonnade.domain.errors import Contended, Unavailable
from colonnade.store.postgres.pool_metrics import Pool, pool_families

Connection: TypeAlias = psycopg.AsyncConnection[Any]
# A connection string, or what gives the one of now.
Url: TypeAlias = str | Callable[[], str]

BATCH_ROWS: Final = 1000  # that one statement removes, so that none holds locks for long
ANSWER_S: Final = 3.0  # for each answer of a connection, locks waited for included
PATIENT_S: Final = 60.0  # for each answer where nobody waits: sweeping
# What the server itself ends when our process is gone, or stands still while it holds rows that all
# others wait for: half of the times that one is frozen. Nothing is awaited in a transaction but
# answers, so one that is alive never idles for so long.
SERVER_BOUNDS: Final = "-c statement_timeout=90s -c idle_in_transaction_session_timeout=10s"
SOCKET_BOUNDS: Final[Mapping[str, Any]] = {
    "connect_timeout": 2,
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
ASK_LISTENER_S: Final = 5.0  # between questions whether a connection that only listens is alive
WAIT_S: Final = 2.0  # for a connection, when the database was well a moment ago
WAIT_WHEN_ILL_S: Final = 0.3  # when it was not: enough to connect to a database that is back
GIVE_UP_S: Final = 0.1  # for the pool's own attempts: the next caller causes the next one
KNOWN_GONE_S: Final = 0.5  # after a failed attempt nobody waits for the next one
WAITING_MAX: Final = 1000
LISTEN_BACKOFF_MAX_S: Final = 5.0
RETRY_S: Final = 0.5  # between questions whether the database is there yet
NEVER_S: Final = 3600.0
PREPARE_AFTER: Final = 2  # a statement is prepared when it comes the second time

# What PostgreSQL says when a value does not fit where it should be stored: a mistake of whoever
# gave the value, which waiting does not mend.
ILL_VALUED: Final = (psycopg.DataError, psycopg.IntegrityError)

log = structlog.get_logger()


class BoundedConnection(psycopg.AsyncConnection[Any]):
    """A connection that waits for an answer no longer than `answer_s`. When an answer is late, or
    its caller was cancelled, the connection is closed: asking the server to cancel would mean
    waiting again."""

    answer_s: float = ANSWER_S

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As the library's own, with a bound. `interval` is set so high that it never wakes the
        wait."""
        interval = max(interval, NEVER_S)
        bound_s = self.answer_s if timeout is None else timeout
        try:
            return await wait_async(gen, self.pgconn.socket, interval=interval, timeout=bound_s)
        except psycopg.errors._WaitTimeout as error:
            if timeout is not None:
                raise  # its caller expects it
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {bound_s:g} s") from error
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


class Database:
    """A pool of connections. One for each process."""

    def __init__(self, url: Url, *, pool_min: int = 1, pool_max: int = 8) -> None:
        self._url: Callable[[], str] = (lambda: url) if isinstance(url, str) else url
        self._is_well = True
        self._failed_at = -KNOWN_GONE_S
        self._checking: asyncio.Task[None] | None = None
        self._pool: AsyncConnectionPool[BoundedConnection] = AsyncConnectionPool(
            self._url,
            min_size=pool_min,
            max_size=pool_max,
            open=False,
            timeout=WAIT_S,
            max_waiting=WAITING_MAX,
            reconnect_timeout=GIVE_UP_S,
            reconnect_failed=self._record_failure,
            configure=_prepare,
            check=_check_if_spoken_to,
            connection_class=BoundedConnection,
            kwargs={
                "autocommit": True,
                "prepare_threshold": PREPARE_AFTER,
                "options": SERVER_BOUNDS,
                **SOCKET_BOUNDS,
            },
        )

    @classmethod
    async def connect(cls, url: Url, *, pool_min: int = 1, pool_max: int = 8) -> Self:
        """Raises Unavailable when the database does not answer now."""
        database = cls(url, pool_min=pool_min, pool_max=pool_max)
        try:
            await database._pool.open(wait=True, timeout=WAIT_S)
        except (PoolTimeout, psycopg.OperationalError) as error:
            await database._pool.close()
            raise Unavailable("the database is not available", detail=str(error)) from error
        return database

    @classmethod
    async def when_there(cls, url: Url, *, pool_max: int = 8) -> Self:
        """Wait until the database answers, then connect: it may start after this process."""
        while True:
            try:
                return await cls.connect(url, pool_max=pool_max)
            except Unavailable as error:
                log.warning("waiting for the database", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        if self._checking is not None:
            await asyncio.gather(self._checking, return_exceptions=True)
        await self._pool.close()

    def pool(self) -> Pool:
        """The numbers of its connections, now and in all."""
        stats = self._pool.get_stats()
        return Pool(
            size=stats.get("pool_size", 0),
            idle=stats.get("pool_available", 0),
            waiting=stats.get("requests_waiting", 0),
            asked=stats.get("requests_num", 0),
            waited=stats.get("requests_queued", 0),
            refused=stats.get("requests_errors", 0),
            lost=stats.get("connections_lost", 0),
        )

    async def families(self) -> Iterable[Metric]:
        """The same for Prometheus."""
        return pool_families(self.pool())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """All or nothing. Committed on a clean exit. Raises Contended when another transaction
        was in the way, Unavailable when the database is."""
        async with self._connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Connection]:
        """As `transaction`, but statements are sent without waiting for the answers before them.
        The wait comes when rows are fetched, and at the end."""
        async with self._connection() as connection:
            async with connection.pipeline(), connection.transaction():
                yield connection

    @asynccontextmanager
    async def read(self, *, answer_s: float = ANSWER_S) -> AsyncIterator[Connection]:
        """Each statement for itself, committed at once."""
        async with self._connection() as connection:
            connection.answer_s = answer_s
            try:
                yield connection
            finally:
                connection.answer_s = ANSWER_S

    async def listen(self, channel: str) -> AsyncGenerator[str, None]:
        """Payloads of NOTIFY, for ever. "" after each (re)connection: anything may have been
        missed before it."""
        pause_s = 0.1
        while True:
            try:
                connection = await BoundedConnection.connect(
                    self._url(), autocommit=True, **SOCKET_BOUNDS
                )
                async with connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    pause_s = 0.1
                    yield ""
                    while True:
                        async for notice in connection.notifies(timeout=ASK_LISTENER_S):
                            yield notice.payload
                        await connection.execute(
                            "SELECT 1"
                        )  # a frozen database does not answer this
            except psycopg.OperationalError:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LISTEN_BACKOFF_MAX_S)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[BoundedConnection]:
        if self._is_known_gone():
            raise Unavailable("the database is not available")
        try:
            connection = await self._lent()
            self._is_well = True
            try:
                yield connection
            except psycopg.InterfaceError as error:
                if not connection.closed:
                    raise  # a mistake of ours, not of the connection
                raise psycopg.OperationalError(str(error)) from error
            finally:
                if connection.closed:
                    self._check_the_others()
                await self._pool.putconn(connection)
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
            raise Contended("another change was in the way", detail=str(error)) from error
        except (psycopg.OperationalError, PoolTimeout, PoolClosed, TooManyRequests) as error:
            self._is_well = self._is_well and isinstance(error, TooManyRequests)
            raise Unavailable("the database is not available", detail=str(error)) from error

    async def _lent(self) -> BoundedConnection:
        """To be given back by `putconn`. Not by the pool's own context, which commits: statements
        commit themselves here, or are in a transaction that does.

        In Python 3.11 the pool waits in a way that may swallow a cancellation that comes with the
        connection. Its task would go on for ever, so the cancellation is raised after all."""
        task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        wait_s = WAIT_S if self._is_well else WAIT_WHEN_ILL_S
        connection = await self._pool.getconn(timeout=wait_s)
        if task.cancelling() > cancellations:
            await self._pool.putconn(connection)
            raise asyncio.CancelledError
        return connection

    def _is_known_gone(self) -> bool:
        if time.monotonic() - self._failed_at >= KNOWN_GONE_S:
            return False
        return not self._pool.get_stats().get("pool_available", 0)

    async def _record_failure(self, _pool: AsyncConnectionPool[Connection]) -> None:
        self._failed_at = time.monotonic()

    def _check_the_others(self) -> None:
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._pool.check())


async def _prepare(connection: Connection) -> None:
    connection.adapters.register_loader("uuid", TextLoader)  # ids are text everywhere
    set_json_loads(msgspec.json.decode, connection)
    set_json_dumps(msgspec.json.encode, connection)


async def _check_if_spoken_to(connection: Connection) -> None:
    """Test a connection only when there is something to read from it: most likely that is its end.
    So a restarted database causes no error, and a healthy one costs no round trip."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)
