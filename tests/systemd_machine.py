# SPDX-License-Identifier: Apache-2.0
"""A machine with systemd, for tests of units: namespaces in which the real one is process 1.

It sees this machine's files through an overlay that is thrown away, has a network of its own with
nothing but loopback, and ends, with all that runs in it, when the test does. One that ends has lost
its power: another one with the same disk is the same machine, booted.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from colonnade.drivers.network.namespaces.processes import child_of

SCRIPT = Path(__file__).with_name("systemd-machine.sh")
# What runs in it: this project, and the interpreter where it is not the distribution's.
FOLDERS = [Path(__file__).parents[1], *(Path(p) for p in [sys.base_prefix] if p != "/usr")]
SYSTEMD = Path("/lib/systemd/systemd")
GROUPS = tuple(Path("/sys/fs/cgroup", name) for name in ("", "unified"))
START_S_MAX = 60.0
COMMAND_S_MAX = 120.0
HOLD = """mount --make-rprivate /
mount -t tmpfs -o size=2g,mode=755 machine "$0"
echo mounted
exec sleep infinity
"""
KINDS = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")


class Machine:
    def __init__(self, init: int) -> None:
        self.init = init

    def enter(self) -> list[str]:
        """The words that, put before a command line, run it in the machine."""
        kinds = ("--mount", "--pid", "--net", "--uts", "--ipc")
        return ["nsenter", f"--target={self.init}", *kinds, "--wdns=/", "--"]

    def run(self, *argv: str, env: Mapping[str, str] | None = None, code: int = 0) -> str:
        """What the command says. It must end with that code."""
        done = subprocess.run(
            [*self.enter(), *argv],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=COMMAND_S_MAX, check=False, env=dict(os.environ) | dict(env or {}),
        )  # fmt: skip
        assert done.returncode == code, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def show(self, attribute: str, *units: str) -> list[str]:
        """What systemd says of each."""
        return self.run("systemctl", "show", "--value", f"--property={attribute}", *units).split()


def _why_no_systemd() -> str:
    """The reason to skip; empty where a machine can be made."""
    if os.geteuid() != 0:
        return "needs root"
    if not SYSTEMD.exists():
        return "needs systemd"
    if _groups() is None:
        return "needs systemd, and that control groups of version 2"
    return ""


class Disk(msgspec.Struct, frozen=True):
    """What machines with it change is there as long as it is. `holder`: has it mounted."""

    place: Path
    holder: int


@contextmanager
def disk() -> Iterator[Disk]:
    """The test is skipped where no machine can be made."""
    if reason := _why_no_systemd():
        pytest.skip(reason)
    place = Path(tempfile.mkdtemp(prefix="machine-"))
    argv = ["unshare", "--mount", "--kill-child", "sh", "-c", HOLD, str(place)]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n"
        yield Disk(place, holder.pid)
    finally:
        holder.kill()
        holder.communicate()
        shutil.rmtree(place)


@contextmanager
def machine(on: Disk | None = None) -> Iterator[Machine]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(_booted(on or stack.enter_context(disk())))


@contextmanager
def _booted(on: Disk) -> Iterator[Machine]:
    place = on.place
    groups = _groups()
    assert groups is not None
    group = groups / place.name
    group.mkdir()
    begun = place.with_suffix(".begun")
    seen = ["nsenter", f"--mount=/proc/{on.holder}/ns/mnt", "--"]
    made = ["unshare", *KINDS, "sh", str(SCRIPT), str(place), str(begun), *map(str, FOLDERS)]
    argv = [*seen, *made]
    # The group is entered first: it is the root of those that the machine sees.
    entered = ["sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', str(group), *argv]
    process = subprocess.Popen(entered, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _until_begun(process, begun)
        init = child_of(process.pid)
        assert init is not None
        found = Machine(init)
        _until_up(found)
        yield found
    finally:
        process.kill()
        process.wait()
        begun.unlink(missing_ok=True)
        _remove(group)


def _groups() -> Path | None:
    return next((place for place in GROUPS if (place / "cgroup.controllers").exists()), None)


def _until_begun(process: "subprocess.Popen[bytes]", begun: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    while not begun.exists():
        assert process.poll() is None, "the machine could not be made"
        assert time.monotonic() < deadline, "the machine is not made"
        time.sleep(0.02)


def _until_up(made: Machine) -> None:
    deadline = time.monotonic() + START_S_MAX
    argv = [*made.enter(), "systemctl", "is-system-running"]
    while True:
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
        if said in {"starting", "running", "degraded"}:  # some units may wait for something
            return
        assert time.monotonic() < deadline, f"systemd is not up: {said}"
        time.sleep(0.05)


def _remove(group: Path) -> None:
    """The kernel forgets the last process of a group a moment after it has ended."""
    deadline = time.monotonic() + 10
    while group.exists():
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                assert time.monotonic() < deadline, f"{folder} is still in use"
                time.sleep(0.05)
                break
