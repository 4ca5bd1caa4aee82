# SPDX-License-Identifier: Apache-2.0
"""The database into a file and out of it, by PostgreSQL's own programs.

They are told where it is by a service file, because a command line, which may hold a password, can
be read by all. A restore happens in one transaction.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from colonnade.domain.errors import Broken, Conflict, Invalid, Unavailable
from colonnade.runtime.system_programs import PLACES
from colonnade.store.postgres import migrations
from colonnade.store.postgres.embedded import binaries

SERVICE: Final = "colonnade"


def save(url: str, file: Path) -> None:
    """Raises Unavailable with the program's words."""
    _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")


def load(url: str, file: Path) -> None:
    """Into a database that has nothing of ours. Raises Conflict, Unavailable."""
    if migrations.applied(url):
        raise Conflict("that database has a schema of Colonnade already: name an empty one")
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run(url, "pg_restore", *options, "--dbname", f"service={SERVICE}", str(file))


def _run(url: str, program: str, *words: str) -> None:
    try:
        said = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise Invalid("the database's connection string cannot be read") from error
    lines = [f"[{SERVICE}]", *(f"{name}={value}" for name, value in said.items())]
    with tempfile.NamedTemporaryFile("w", prefix="colonnade-", suffix=".service") as service:
        service.write("\n".join(lines) + "\n")
        service.flush()
        environment = {
            "PATH": os.environ.get("PATH", PLACES),
            "PGSERVICEFILE": service.name,
            "PGSERVICE": SERVICE,
            "PGCONNECT_TIMEOUT": "5",
        }
        done = subprocess.run(
            [_place(program), *words], env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[:3]
        raise Unavailable(f"{program} failed: {' '.join(reason)}")


def _place(program: str) -> str:
    """The embedded server's, which is new enough for any; else the distribution's."""
    try:
        return str(binaries() / program)
    except Broken:
        found = shutil.which(program)
        if found is None:
            raise Broken(
                f"{program} is not here: apt-get install postgresql-client, not older than the "
                "server"
            ) from None
        return found
