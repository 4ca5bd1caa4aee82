# SPDX-License-Identifier: Apache-2.0
"""How much memory there is, and how much processes hold, read from the kernel's own files.

What is available is the least of what the machine has and what each control group above this
process still allows; what a group could drop at once counts as available. Folders are arguments,
so that any tree of such files can be read. It knows no haproxy.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")
KIB: Final = 1024
MIB: Final = 1024 * KIB
_NO_LIMIT: Final = 1 << 60  # version 1 says "no limit" with a number near 2**63


def available_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """What may still be taken before the kernel ends somebody."""
    machine = _fields(proc / "meminfo").get("MemAvailable", 0) * KIB
    return min([machine, *_left_in_groups(proc, cgroups)])


def held_bytes(pid: int, proc: Path = PROC) -> int:
    """What one process would hold if it shared with nobody; 0 when it is gone.

    A worker shares what its master had read before the fork, but only until the next reload: so
    all that is backed by no file counts whole, and what is backed by one in part."""
    try:
        alone = _fields(proc / str(pid) / "status").get("RssAnon", 0)
    except OSError:
        return 0
    try:
        in_part = _fields(proc / str(pid) / "smaps_rollup").get("Pss", 0)
    except OSError:  # not every process may read it
        in_part = 0
    return max(alone, in_part) * KIB


def _left_in_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    """For each control group with a limit, what is left of it. Both versions of groups."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, limit, used = cgroups, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            root, limit, used = cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = root / path.strip("/")
        # The path is the one outside of this mount namespace: what is not there tells nothing.
        for folder in (group, *(above for above in group.parents if above.is_relative_to(root))):
            left = _left(folder, limit, used)
            if left is not None:
                yield left


def _left(folder: Path, limit: str, used: str) -> int | None:
    try:
        most = (folder / limit).read_text().strip()
        if not most.isdigit() or int(most) > _NO_LIMIT:
            return None
        taken = int((folder / used).read_text())
        stat = _fields(folder / "memory.stat")
    except (OSError, ValueError):
        return None
    droppable = stat.get("total_inactive_file", stat.get("inactive_file", 0))
    return max(0, int(most) - taken + droppable)


def _fields(path: Path) -> dict[str, int]:
    """Lines of "name: number unit" or "name number"."""
    found = {}
    for line in path.read_text().splitlines():
        parts = line.replace(":", " ").split()
        if len(parts) > 1 and parts[1].isdigit():
            found[parts[0]] = int(parts[1])
    return found
