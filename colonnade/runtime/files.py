# SPDX-License-Identifier: Apache-2.0
"""Files that are replaced while processes use them: keys, certificates, authorities.

Invariant: a file is replaced as a whole and never written in place, so a reader sees the old text
or the new one, and an exchange shows in the file's inode and times. What is in a file is not known
here.
"""

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)
_Mark = tuple[int, int, int]


class Reread(Generic[T]):
    """A value made from files; a call makes it again when one of them was replaced.

    The first value is made at once, and errors of `make` are the caller's. A later failure of one
    of the kinds in `failures` is logged, and the value stays as it was until the next exchange.
    """

    def __init__(
        self,
        make: Callable[[], T],
        *files: Path,
        failures: tuple[type[Exception], ...] = (OSError, ValueError),
    ) -> None:
        self._make = make
        self._files = files
        self._failures = failures
        self._seen = self._marks()
        self._value = make()

    def __call__(self) -> T:
        seen = self._marks()
        if seen != self._seen and None not in seen:
            self._seen = seen  # taken before the files are read: a change meanwhile is seen again
            try:
                self._value = self._make()
            except self._failures as error:
                names = ", ".join(str(file) for file in self._files)
                log.warning("%s cannot be used, what was read before stays: %s", names, error)
        return self._value

    def _marks(self) -> tuple[_Mark | None, ...]:
        return tuple(_mark(file) for file in self._files)


def _mark(file: Path) -> _Mark | None:
    """A value that differs after each exchange, and after a change of who may read the file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def replace_file(file: Path, text: str) -> None:
    """Write the file whole and durably. A new one is readable by its owner only; in place of an
    old one its readers stay the same. It is never readable by others, not even for a moment."""
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        if file.exists():
            known = file.stat()
            os.fchown(descriptor, known.st_uid, known.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(known.st_mode))
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a new key that is lost with the power would lose what it sealed
    finally:
        os.close(folder)
