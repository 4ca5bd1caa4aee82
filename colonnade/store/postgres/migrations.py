# SPDX-License-Identifier: Apache-2.0
"""Bring a database's schema up to date: the files of `schema/`, in order, by yoyo.

Any number of processes may call it at once: one works, under an advisory lock that vanishes with
its holder, and the others find nothing left to do. Finding that takes one query. Knows no table
of ours.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict

from colonnade.domain.errors import Broken, Unavailable

SCHEMA: Final = Path(__file__).parents[1] / "schema"
LOCK: Final = 0x434F_4C4F_4E4E  # "COLONN": any number that nobody else locks
ENCODING: Final = "UTF8"
RETRY_S: Final = 0.5

log = structlog.get_logger()


def migrate(url: str) -> None:
    """Blocks. Raises Unavailable when there is no database, Broken when a file does not apply, for
    a schema that is newer than this release, and for a database that cannot hold any text."""
    with _connected(url) as connection:
        _refuse_other_encodings(connection)
        _refuse_newer(_applied(connection))
        if _missing(connection):
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            if _missing(connection):
                _apply(url)


def migrate_when_there(url: str) -> None:
    """The same as soon as the database answers."""
    while True:
        try:
            migrate(url)
        except Unavailable as error:
            log.warning("waiting for the database", error=str(error))
            time.sleep(RETRY_S)
        else:
            return


def ours() -> set[str]:
    """The migrations that this release knows."""
    return {file.stem for file in SCHEMA.glob("*.sql")}


def applied(url: str) -> set[str]:
    """Those that a database has, whoever applied them. Raises Unavailable."""
    with _connected(url) as connection:
        return _applied(connection)


def missing(url: str) -> set[str]:
    """What `migrate` would apply. Raises as it does, and changes nothing."""
    found = applied(url)
    _refuse_newer(found)
    return ours() - found


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    """Raises Unavailable, also for what goes wrong with the connection inside."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise Unavailable("the database is not available", detail=str(error)) from error


def _missing(connection: psycopg.Connection) -> set[str]:
    return ours() - _applied(connection)


def _refuse_other_encodings(connection: psycopg.Connection) -> None:
    found = connection.info.parameter_status("server_encoding")
    if found != ENCODING:
        raise Broken(
            f"the database has the encoding {found}, and names of objects are {ENCODING}: make it "
            f"by CREATE DATABASE ... TEMPLATE template0 ENCODING '{ENCODING}'"
        )


def _refuse_newer(found: set[str]) -> None:
    newer = sorted(found - ours())
    if newer:
        raise Broken(
            f"the database's schema is newer than this release ({', '.join(newer)} was applied): "
            "start the release that did that, or restore a dump from before it"
        )


def _applied(connection: psycopg.Connection) -> set[str]:
    found = connection.execute("SELECT to_regclass('_yoyo_migration')").fetchone()
    if found is None or found[0] is None:
        return set()
    rows = connection.execute("SELECT migration_id FROM _yoyo_migration").fetchall()
    return {row[0] for row in rows}


def _apply(url: str) -> None:
    import yoyo  # slow to import, and seldom needed

    with yoyo.get_backend(_yoyo_url(url)) as backend:
        migrations = backend.to_apply(yoyo.read_migrations(str(SCHEMA)))
        try:
            # Without yoyo's own lock: a row that a killed process would leave behind.
            backend.apply_migrations(migrations)
        except psycopg.errors.RaiseException as refusal:  # a file's own sentence
            raise Broken(
                "the database's schema cannot be updated",
                detail=refusal.diag.message_primary or "",
            ) from refusal
        except psycopg.DatabaseError as error:
            raise Broken("the database's schema cannot be updated", detail=str(error)) from error


def _yoyo_url(url: str) -> str:
    words = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    database = words.pop("dbname", "")
    return f"postgresql+psycopg:///{database}?{urlencode(words)}"
