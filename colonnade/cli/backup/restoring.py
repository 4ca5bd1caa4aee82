# SPDX-License-Identifier: Apache-2.0
"""`colonnade restore`: a state folder, and a database, as a backup has them.

All is made in a folder beside, which becomes the state folder in one step at the end; so an
interrupted restore leaves nothing that could be started. What runs nowhere yet is made by `up`, or
by `init` and its units: the amphorae of before are not there, and others take their VIPs.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from colonnade.cli.backup import archive, dump
from colonnade.cli.backup.keys import Keys
from colonnade.cli.local import far_database, folders
from colonnade.cli.local.starting import exit_code
from colonnade.domain.errors import Conflict, NotFound
from colonnade.drivers.network.namespaces.lab import SOCKET
from colonnade.runtime.config import read_config, write_config
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.places import with_password

LEFT: Final = ("lock", "logs")  # of a folder that a system has used, and that has nothing to lose


class Elsewhere(msgspec.Struct, frozen=True):
    """A PostgreSQL of the operator's own; "": none."""

    url: str = ""
    password_file: Path | None = None


def run_restore(file: Path, keys: Keys, state: Path | None, elsewhere: Elsewhere) -> int:
    return exit_code("restore", lambda: restore(file, keys, state, elsewhere))


def restore(file: Path, keys: Keys, wanted: Path | None, elsewhere: Elsewhere) -> None:
    """Raises NotFound, Conflict, Invalid, Unavailable, Broken; then nothing has changed."""
    far_database.check_database(elsewhere.url, elsewhere.password_file)
    state = folders.state_dir(wanted)
    if not file.exists():
        raise NotFound(f"there is no file {file}")
    there = [one.name for one in state.iterdir() if one.name not in LEFT] if state.exists() else []
    if there:
        raise Conflict(
            f"{state} is not empty ({', '.join(sorted(there)[:4])}): stop its system and move it "
            "away, or name another folder with --state"
        )
    state.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".restore-", dir=state.parent))
    try:
        keys.decrypt(file, work / "tar")
        (work / "found").mkdir()
        about = archive.read(work / "tar", work / "found")
        fresh = work / "state"
        fresh.mkdir(mode=0o700)
        archive.put_back(work / "found", fresh)
        _configure(work / "found" / archive.CONFIG, fresh, state, elsewhere)
        asyncio.run(_load(work / "found" / archive.DUMP, fresh, elsewhere))
        shutil.rmtree(state, ignore_errors=True)
        fresh.rename(state)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{state}: as it was at {about.made_at}, release {about.release}. Next, one of")
    print(f"  colonnade up --state {state}" + (" --database ..." if elsewhere.url else ""))
    print(f"  colonnade init --state {state}" + (" --database ..." if elsewhere.url else ""))
    print("The other system must not run any more: both would claim the same VIPs.")


async def _load(file: Path, fresh: Path, elsewhere: Elsewhere) -> None:
    async with _database(fresh, elsewhere) as url:
        await asyncio.to_thread(dump.load, url, file)


@contextlib.asynccontextmanager
async def _database(fresh: Path, elsewhere: Elsewhere) -> AsyncIterator[str]:
    """Where to load it: the server that is named, else one that is made in the folder."""
    if elsewhere.url:
        yield with_password(elsewhere.url, elsewhere.password_file)
        return
    run_dir = folders.run_dir(fresh)
    server = EmbeddedPostgres(fresh, run_dir)
    try:
        await server.start()
        yield server.url
    finally:
        await server.stop()
        folders.remove_run_dir(fresh)


def _configure(file: Path, fresh: Path, state: Path, elsewhere: Elsewhere) -> None:
    """The same settings, for this place."""
    kept = far_database.keep_password(elsewhere.password_file, fresh / archive.KEYS_FOLDER)
    run_dir = folders.run_dir_path(state)
    above = {
        "state_dir": str(state),
        "run_dir": str(run_dir),
        "database_url": elsewhere.url or EmbeddedPostgres(state, run_dir).url,
        "database_password_file": str(state / archive.KEYS_FOLDER / kept.name) if kept else None,
        "network_url": f"unix:{run_dir / SOCKET}",
    }
    write_config(folders.config_file(fresh), read_config(file, above))
