# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for tests: one server for the whole run, one empty database for each test.

Everything lies in one temporary folder and is gone afterwards.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from colonnade.store.database import Database
from colonnade.store.embedded import EmbeddedPostgres
from colonnade.store.migrations import migrate

EMPTY = """
DO $$
DECLARE names text;
BEGIN
    SELECT string_agg(format('%I', tablename), ', ') INTO names
        FROM pg_tables WHERE schemaname = 'public' AND tablename !~ 'yoyo';
    EXECUTE 'TRUNCATE ' || names || ' RESTART IDENTITY CASCADE';
END $$
"""
DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


class Databases:
    """Hands out migrated, empty databases on one server, and empties them for the next test.

    Emptying takes a fifth of what dropping and copying does: those wait for checkpoints."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._idle: list[str] = []

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The connection string of a database that nobody else uses meanwhile."""
        name = self._idle.pop() if self._idle else self._make()
        yield self._server.url_of(name)
        self._execute("postgres", DISCONNECT, (name,))
        self._execute(name, EMPTY)
        self._idle.append(name)

    def _make(self) -> str:
        name = f"test_{next(self._numbers)}"
        self._execute("postgres", f"CREATE DATABASE {name}")
        migrate(self._server.url_of(name))
        return name

    def _execute(self, database: str, statement: Any, values: Any = None) -> None:
        with psycopg.connect(self._server.url_of(database), autocommit=True) as connection:
            connection.execute(statement, values)


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
