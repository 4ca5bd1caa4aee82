# SPDX-License-Identifier: Apache-2.0
"""A control group for each machine of the lab: so it ends with nobody else's group, and has only so
much memory and so many processes.

Both versions of the kernel's groups, wherever they can be written; an ordinary user mostly cannot.
Where a service manager gave the lab a part of its own (systemd: `Delegate=`), they are in that
part. A group ends with its machine, and all of them with the lab. Nothing here fails because there
are none. It knows nothing of a machine but its name and its processes.
"""

import os
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path("/sys/fs/cgroup")
LAB: Final = "colonnade-lab"  # the group that the lab's process 1 is in, within its own part
OWN: Final = Path("/proc/self/cgroup")
OF_FIRST: Final = Path("/proc/1/cgroup")
CONTROLLERS: Final = ("memory", "pids")
REMOVE_S_MAX: Final = 1.0  # the kernel forgets the last process a moment after it has ended
PAUSE_S: Final = 0.01
MIB: Final = 1024 * 1024


class Bounds(msgspec.Struct, frozen=True):
    memory_bytes: int
    processes: int


class Groups:
    """Those of one system. `places`: the folders in which each machine has one of its own."""

    def __init__(self, places: Mapping[Path, Mapping[str, int]]) -> None:
        self.places = places

    @property
    def are_there(self) -> bool:
        return bool(self.places)

    def put(self, name: str, pids: Sequence[int], *, is_bounded: bool) -> None:
        """These processes, and all that they will start, are in a group. Raises OSError."""
        for place, limits in self.places.items():
            group = place / name
            group.mkdir(exist_ok=True)
            for file, limit in limits.items() if is_bounded else ():
                (group / file).write_text(str(limit))
            for pid in pids:
                (group / "cgroup.procs").write_text(str(pid))

    def remove(self, name: str) -> None:
        """No such group: nothing to do. Call it when no process of it is left."""
        for place in self.places:
            _remove(place / name)


def name_of(run_dir: Path) -> str:
    return f"colonnade-{sha256(os.fsencode(run_dir)).hexdigest()[:12]}"


def enter_lab_group(root: Path = ROOT, own: Path = OWN) -> None:
    """From now on this process, and what it starts, is in a group within the one it is in now: the
    kernel lets nobody be beside groups with limits. Raises OSError."""
    group = root / _group_of(own) / LAB
    group.mkdir(exist_ok=True)
    (group / "cgroup.procs").write_text(str(os.getpid()))


def prepare(system: str, root: Path = ROOT, own: Path = OWN) -> None:
    """Make the groups within which that system's machines have theirs, as far as can be. The kernel
    lets only those do it who may write everywhere, which the network daemon may not."""
    if not (root / "cgroup.controllers").exists():
        for name in CONTROLLERS:
            _made(root / name / system)
    elif _group_of(own).name != LAB:  # else it has a part of its own
        _enabled(root, root / system)


def found(system: str, bounds: Bounds, root: Path = ROOT, first: Path = OF_FIRST) -> Groups:
    """Groups for that system's machines, as far as they can be written. `first`: tells the group of
    the lab's process 1."""
    memory, pids = {"memory.max": bounds.memory_bytes}, {"pids.max": bounds.processes}
    if (root / "cgroup.controllers").exists():
        group = _group_of(first)
        if group.name == LAB:
            return _delegated(root / group.parent, memory | pids)
        place = root / system
        return Groups({place: memory | pids} if _enabled(root, place) else {})
    memory = {"memory.limit_in_bytes": bounds.memory_bytes}
    every = {root / "memory" / system: memory, root / "pids" / system: pids}
    return Groups({place: limits for place, limits in every.items() if _made(place)})


def what_is_missing(root: Path = ROOT) -> tuple[str, str]:
    """Why memory and processes are not both bounded here, and the cure; both empty where they are.
    It makes groups and takes them away."""
    if not any((root / place / "cgroup.procs").exists() for place in ("", *CONTROLLERS)):
        return f"none are mounted at {root}", f"mount -t cgroup2 none {root}"
    lacking = _lacking(root)
    if lacking:
        return f"the kernel has none for {lacking}", "boot it with cgroup_enable=memory"
    system = f"colonnade-look-{os.getpid()}"
    made = found(system, Bounds(memory_bytes=MIB, processes=1), root)
    remove_all(system, root)
    if {file.partition(".")[0] for limits in made.places.values() for file in limits} == {
        *CONTROLLERS
    }:
        return "", ""
    if os.geteuid() != 0:
        return "not writable for an ordinary user", "start as root where that matters"
    return f"{root} is not writable", "let the container write its control groups, or start outside"


def _lacking(root: Path) -> str:
    if (root / "cgroup.controllers").exists():
        there = set((root / "cgroup.controllers").read_text().split())
    else:
        there = {name for name in CONTROLLERS if (root / name / "cgroup.procs").exists()}
    return " and ".join(name for name in CONTROLLERS if name not in there)


def remove_all(system: str, root: Path = ROOT) -> None:
    """What a system that has ended left behind."""
    for place in (root / system, *(root / name / system for name in CONTROLLERS)):
        for group in _below(place):
            _remove(group)
        _remove(place)


def _group_of(file: Path) -> Path:
    """The group of version 2 that a file such as /proc/self/cgroup names; the root without one."""
    lines = [line.split(":", 2) for line in file.read_text().splitlines()]
    return Path(next((path for number, _, path in lines if number == "0"), "/").lstrip("/"))


def _delegated(place: Path, limits: Mapping[str, int]) -> Groups:
    """The part is the lab's, so there are groups even where nothing can be bounded."""
    there = (place / "cgroup.controllers").read_text().split()
    wanted = [name for name in CONTROLLERS if name in there]
    if wanted:
        enabled = " ".join(f"+{name}" for name in wanted)
        (place / "cgroup.subtree_control").write_text(enabled)
    kept = {file: limit for file, limit in limits.items() if file.partition(".")[0] in wanted}
    return Groups({place: kept})


def _enabled(root: Path, place: Path) -> bool:
    """Version 2: a group's children have the controllers that it says."""
    wanted = " ".join(f"+{name}" for name in CONTROLLERS)
    try:
        if not set(CONTROLLERS) <= set((root / "cgroup.controllers").read_text().split()):
            return False
        (root / "cgroup.subtree_control").write_text(wanted)
        place.mkdir(exist_ok=True)
        (place / "cgroup.subtree_control").write_text(wanted)
    except OSError:
        return False
    return True


def _made(place: Path) -> bool:
    try:
        # Only where groups are mounted: elsewhere it would be a folder like any other.
        if not (place.parent / "cgroup.procs").exists():
            return False
        place.mkdir(exist_ok=True)
    except OSError:
        return False
    return True


def _below(place: Path) -> Sequence[Path]:
    try:
        return [path for path in place.iterdir() if path.is_dir()]
    except OSError:
        return []


def _remove(group: Path) -> None:
    deadline = time.monotonic() + REMOVE_S_MAX
    while True:
        try:
            group.rmdir()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        except OSError:  # somebody is in it still
            if time.monotonic() > deadline:
                return
            time.sleep(PAUSE_S)
        else:
            return
