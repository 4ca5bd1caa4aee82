# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for tests: one server for the whole run, one fresh database for each test.

Databases are copies of a migrated template, so each costs some tens of milliseconds. Everything
lies in one temporary folder and is gone afterwards.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from colonnade.store.database import Database
from colonnade.store.embedded import EmbeddedPostgres
from colonnade.store.migrations import migrate

TEMPLATE = "fresh"


class Databases:
    """Makes fresh, migrated databases on one server."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(server.url_of(TEMPLATE))

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The connection string of a database of its own, dropped afterwards."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        try:
            yield self._server.url_of(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server.url_of("postgres"), autocommit=True) as connection:
            connection.execute(statement)


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
