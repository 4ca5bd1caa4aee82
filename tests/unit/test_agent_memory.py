# SPDX-License-Identifier: Apache-2.0
"""Memory as the kernel's files tell it: the least of what the machine and the groups leave."""

import os
from pathlib import Path

from colonnade.agent.haproxy.memory import MIB, available_bytes, held_bytes


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def machine(root: Path, groups: str) -> tuple[Path, Path]:
    write(root / "proc/meminfo", "MemTotal: 4096000 kB\nMemAvailable: 2048000 kB\n")
    write(root / "proc/self/cgroup", groups)
    return root / "proc", root / "cgroup"


def test_without_a_limit_it_is_the_machines(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "0::/a/b\n")
    write(cgroups / "a/memory.max", "max\n")
    assert available_bytes(proc, cgroups) == 2000 * MIB
    assert available_bytes(proc, tmp_path / "nothing") == 2000 * MIB


def test_the_tightest_group_decides_and_what_it_can_drop_counts(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "0::/a/b\n")
    for folder, most, used, droppable in (("a", 100, 90, 5), ("a/b", 200, 20, 0)):
        write(cgroups / folder / "memory.max", f"{most * MIB}\n")
        write(cgroups / folder / "memory.current", f"{used * MIB}\n")
        write(cgroups / folder / "memory.stat", f"anon 1\ninactive_file {droppable * MIB}\n")
    assert available_bytes(proc, cgroups) == 15 * MIB


def test_groups_of_version_1_are_read_too(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "3:cpu:/x\n4:memory,hugetlb:/x\n")
    folder = cgroups / "memory/x"
    write(folder / "memory.limit_in_bytes", f"{64 * MIB}\n")
    write(folder / "memory.usage_in_bytes", f"{60 * MIB}\n")
    write(folder / "memory.stat", f"total_inactive_file {MIB}\n")
    write(cgroups / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert available_bytes(proc, cgroups) == 5 * MIB


def test_this_process_holds_something_and_none_holds_nothing(tmp_path: Path) -> None:
    assert held_bytes(os.getpid()) > MIB
    assert held_bytes(2**22 + 1) == 0
    write(tmp_path / "7/status", "Name: x\nRssAnon:\t  2048 kB\n")
    assert held_bytes(7, tmp_path) == 2 * MIB
    write(tmp_path / "7/smaps_rollup", "0-1 ---p 0 [rollup]\nPss:   3072 kB\n")
    assert held_bytes(7, tmp_path) == 3 * MIB
