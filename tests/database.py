# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for tests: one server for the whole run, one empty database for each test.

Everything lies in one temporary folder and is gone afterwards.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from colonnade.store.postgres.database import Database
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.migrations import migrate

# Whoever is still there is gone before the rows are: what they had begun must not come after.
DISCONNECT = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
# TRUNCATE makes new files for each table and index, a hundred of them: rows are far fewer.
EMPTY = """
DO $$
DECLARE
    name text;
    filled boolean;
BEGIN
    SET LOCAL session_replication_role = replica;  -- no order, and no look at what refers to it
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename !~ 'yoyo'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO filled;
        IF filled THEN
            EXECUTE format('DELETE FROM %I', name);
        END IF;
    END LOOP;
    PERFORM setval(format('%I', sequencename)::regclass, 1, false)
        FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL;
END $$
"""


class Databases:
    """Hands out migrated, empty databases on one server, and empties them for the next test.

    Emptying takes a fiftieth of what dropping and copying does: those wait for checkpoints.
    `before`: statements for each before its tables are made; those with others have another
    `word`."""

    def __init__(
        self, server: EmbeddedPostgres, word: str = "test", before: Sequence[str] = ()
    ) -> None:
        self.server = server
        self._word, self._before = word, before
        self._numbers = itertools.count(1)
        self._idle: list[str] = []
        self._own: dict[str, psycopg.Connection] = {}  # to each of them

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The connection string of a database that nobody else uses meanwhile."""
        name = self._idle.pop() if self._idle else self._make()
        yield self.server.url_of(name)
        self._execute(name, DISCONNECT, EMPTY)
        self._idle.append(name)

    def _make(self) -> str:
        name = f"{self._word}_{next(self._numbers)}"
        with psycopg.connect(self.server.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        self._execute(name, *self._before)
        migrate(self.server.url_of(name))
        return name

    def _execute(self, database: str, *statements: str) -> None:
        """On a connection that is kept: a new one has all of the catalogue to read."""
        try:
            self._connection(database).execute("")
        except psycopg.OperationalError:  # a test ended it
            del self._own[database]
        for statement in statements:
            self._connection(database).execute(statement.encode())

    def _connection(self, database: str) -> psycopg.Connection:
        if database not in self._own:
            url = self.server.url_of(database)
            self._own[database] = psycopg.connect(url, autocommit=True)
        return self._own[database]


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    # Short, because a socket's path may have 107 bytes only.
    folder = Path(tempfile.mkdtemp(prefix="col-"))
    server = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
    try:
        with asyncio.Runner() as runner:
            runner.run(server.start())
            try:
                yield Databases(server)
            finally:
                runner.run(server.stop())
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The connection string of a fresh, migrated database."""
    with databases.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database, connected."""
    database = await Database.connect(database_url)
    yield database
    await database.close()
