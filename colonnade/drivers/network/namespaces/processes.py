# SPDX-License-Identifier: Apache-2.0
"""Processes named by pid and start time, so that a pid used again is never taken for the old.

Invariant: nothing is signalled unless its start time is the remembered one. It knows no
namespace and no amphora.
"""

import os
import signal
from pathlib import Path

import msgspec

from colonnade.runtime.readiness import readable


class ProcessName(msgspec.Struct, frozen=True):
    """A process for all time: no other has both numbers until the machine boots again."""

    pid: int
    started: int  # clock ticks since boot

    @property
    def is_alive(self) -> bool:
        return _stat(self.pid)[1:] == (self.started,)


def name_of(pid: int) -> ProcessName | None:
    """None when there is no such process, or only its corpse."""
    found = _stat(pid)
    return ProcessName(pid, found[1]) if found else None


def child_of(pid: int) -> int | None:
    """The first child of a process."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(listed[0]) if listed else None
    except FileNotFoundError:  # the kernel keeps no such list: look at all
        pass
    for child in Path("/proc").iterdir():
        if child.name.isdigit() and _stat(int(child.name))[:1] == (pid,):
            return int(child.name)
    return None


def kill(process: ProcessName, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal the process if it is the remembered one. Gone: nothing to do."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor is opened first, so that the pid cannot be reused between check and signal.
        if process.is_alive:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


async def gone(process: ProcessName) -> None:
    """Wait until the process has ended. Of a pid namespace's init: until all in it have."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if process.is_alive:
            await readable(handle)
    finally:
        os.close(handle)


def _stat(pid: int) -> tuple[int, int] | tuple[()]:
    """(parent, start time) of a process that runs."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    state, parent, *rest = text.rpartition(")")[2].split()
    return () if state in "ZX" else (int(parent), int(rest[17]))
