# SPDX-License-Identifier: Apache-2.0
"""Logs of processes that go on writing: bounded in size while they run, a few old ones kept.

The writer appends to the file that it once opened, so what is in it is copied to `NAME.1` and the
file is emptied in place (what `logrotate` calls copytruncate). A line that is written between the
last read and the emptying is lost. Knows no process.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

LOG_BYTES_MAX: Final = 16 * 1024 * 1024
KEPT: Final = 2  # old ones beside each
LOOK_S: Final = 5.0
PIECE_BYTES: Final = 1024 * 1024

log = structlog.get_logger()


async def rotate_for_ever(folder: Path, more: Sequence[Path] = ()) -> None:
    """Watch all `*.log` of a folder, and these further files, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        for path in (*sorted(folder.glob("*.log")), *more):
            await asyncio.to_thread(rotate, path)


def rotate(path: Path, *, bytes_max: int = LOG_BYTES_MAX, kept: int = KEPT) -> bool:
    """Set aside what is in the file when it is longer than allowed. No room for that: it is
    emptied all the same, because a full disk stops everything."""
    try:
        if path.stat().st_size <= bytes_max:
            return False
    except FileNotFoundError:
        return False
    try:
        for number in range(kept, 1, -1):
            older = _old(path, number - 1)
            if older.exists():
                older.replace(_old(path, number))
        _copy(path, _old(path, 1))
    except OSError as error:
        log.warning("an old log was deleted", path=str(path), error=str(error))
        with contextlib.suppress(OSError):
            _old(path, 1).unlink(missing_ok=True)
    with path.open("r+b") as file:
        file.truncate(0)
    return True


def _copy(path: Path, copy: Path) -> None:
    with path.open("rb") as source, copy.open("wb") as target:
        copy.chmod(0o600)
        while piece := source.read(PIECE_BYTES):
            target.write(piece)


def _old(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
