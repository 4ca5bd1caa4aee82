# SPDX-License-Identifier: Apache-2.0
"""Files of a machine, opened from outside.

Invariant: no link is followed. What lies in a machine is for the machine to say, and a link there
would be followed from the root of whoever opens it. What only the machine's own id may read is read
as that id, so no right over files is needed. It knows no amphora.
"""

import ctypes
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from colonnade.drivers.network.namespaces.processes import ProcessName

_libc = ctypes.CDLL(None)
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def open_inside(init: ProcessName, path: str) -> int:
    """A descriptor to read from, for the caller to close. Raises OSError."""
    *folders, name = PurePosixPath(path).parts
    within = os.open(f"/proc/{init.pid}/root", _FOLDER)
    try:
        if not init.is_alive:  # looked at last: the number could be another's by now
            raise ProcessLookupError(f"process {init.pid} has ended")
        for folder in folders:
            further = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=within)
            os.close(within)
            within = further
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=within)
    finally:
        os.close(within)


def text_inside(init: ProcessName, path: str, bytes_max: int) -> str | None:
    """What a file there says; None where it is no plain file of at most so many bytes of text."""
    try:
        with held(open_inside(init, path)) as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = _read(descriptor, bytes_max + 1)
        return content.decode() if len(content) <= bytes_max else None
    except (OSError, UnicodeDecodeError):
        return None


def _read(descriptor: int, bytes_max: int) -> bytes:
    content = bytearray()
    while len(content) < bytes_max and (part := os.read(descriptor, bytes_max - len(content))):
        content += part
    return bytes(content)


def mark_inside(init: ProcessName, path: str) -> tuple[int, int, int]:
    """A value that differs once the file is another; zeros where there is none."""
    try:
        with held(open_inside(init, path)) as descriptor:
            found = os.fstat(descriptor)
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def held(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def reading_as(host_id: int) -> Iterator[None]:
    """Files are opened by this thread, and only it, as that id outside. 0: as ever."""
    if host_id:
        _open_files_as(host_id, host_id)
    try:
        yield
    finally:
        if host_id:
            _open_files_as(os.geteuid(), os.getegid())


def _open_files_as(user: int, group: int) -> None:
    for call, wanted in ((_libc.setfsgid, group), (_libc.setfsuid, user)):
        call(wanted)
        if call(-1) != wanted:  # it says no other way that it would not
            raise PermissionError(f"files cannot be opened as {wanted}")
