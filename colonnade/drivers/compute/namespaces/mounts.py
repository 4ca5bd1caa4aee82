# SPDX-License-Identifier: Apache-2.0
"""The few calls of the kernel's that mounts of an image take. It knows no amphora."""

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
CLONE_NEWNS: Final = 0x00020000
MOUNT_SETATTR: Final = 442  # the number of the call, the same on all kinds of machine
AT_FDCWD: Final = -100
AT_RECURSIVE: Final = 0x8000
_ATTRIBUTES: Final = struct.Struct("=4Q")  # set, clear, propagation, user namespace
_libc = ctypes.CDLL(None, use_errno=True)


def of_our_own() -> None:
    """From now on what this thread and its children mount is seen by nobody else."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "a mount namespace")
    _mount("", Path("/"), "", MS_REC | MS_PRIVATE)


def tmpfs(place: Path, options: str) -> None:
    _mount("amphora", place, "tmpfs", MS_NOSUID | MS_NODEV, options)


def bind(source: Path, place: Path) -> None:
    """With all that is mounted below: where a mount may not be looked under, it must come along."""
    _mount(str(source), place, "", MS_BIND | MS_REC)


def make_read_only(place: Path) -> None:
    """It and all mounts below, and no program there gives rights. Raises OSError.

    The flags are added to those that each mount has, as somebody without rights outside must."""
    wanted = _ATTRIBUTES.pack(MS_RDONLY | MS_NOSUID, 0, 0, 0)  # MOUNT_ATTR_* are the same numbers
    done = _libc.syscall(
        MOUNT_SETATTR, AT_FDCWD, os.fsencode(place), AT_RECURSIVE, wanted, len(wanted)
    )
    if done != 0:
        number = ctypes.get_errno()
        if number != errno.ENOSYS:
            raise OSError(number, os.strerror(number), str(place))
        _mount("", place, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)  # before Linux 5.12


def _mount(source: str, place: Path, kind: str, flags: int, options: str = "") -> None:
    words = (os.fsencode(source), os.fsencode(place), kind.encode())
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"mounting {source} at {place}")
