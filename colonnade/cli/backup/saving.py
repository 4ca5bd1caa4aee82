# SPDX-License-Identifier: Apache-2.0
"""`colonnade backup`: all that must last of a system that runs, in one encrypted file.

What is not encrypted yet lies in a folder of ours beside the file for that long. The file appears
whole or not at all, and none is written over.
"""

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import colonnade
from colonnade.cli.backup import archive, dump
from colonnade.cli.backup.keys import Keys
from colonnade.cli.local import finding
from colonnade.cli.local.starting import exit_code
from colonnade.domain.errors import Conflict
from colonnade.store.postgres import migrations
from colonnade.store.postgres.places import login


def run_backup(file: Path, keys: Keys, config: Path | None, state: Path | None) -> int:
    return exit_code("backup", lambda: _backup(file, keys, config, state))


def _backup(file: Path, keys: Keys, config: Path | None, state: Path | None) -> None:
    if file.exists():
        raise Conflict(f"{file} is there already: name another file")
    settings = finding.settings_of(config, state)
    url = login(settings)()
    about = archive.About(
        format=archive.FORMAT,
        release=colonnade.__version__,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        schema=tuple(sorted(migrations.applied(url))),
    )
    folder = Path(tempfile.mkdtemp(prefix=f".{file.name}-", dir=file.absolute().parent))
    try:
        dump.save(url, folder / archive.DUMP)
        archive.write(folder, settings, about, folder / "tar")
        sealed = folder / "sealed"
        sealed.touch(mode=0o600)
        keys.encrypt(folder / "tar", sealed)
        with sealed.open("rb") as written:
            os.fsync(written.fileno())
        os.link(sealed, file)  # which refuses to write over one that has come meanwhile
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB, encrypted; restore it with")
    print(f"  colonnade restore {file}")
