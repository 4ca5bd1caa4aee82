# SPDX-License-Identifier: Apache-2.0
"""What processes cost, as the kernel counts it in /proc: processor time, and memory.

A process that ended meanwhile is not counted, so this is for those that run on.
"""

import os
from pathlib import Path

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def spent_us(pid: int) -> int:
    """Processor time of a process and its children so far."""
    return sum(cpu_ticks(Path(f"/proc/{one}/stat").read_text()) for one in _family(pid)) * TICK_US


def pss_mb(pid: int) -> int:
    """A process and its children: their own memory, and their part of what they share."""
    memory = (Path(f"/proc/{one}/smaps_rollup").read_text() for one in _family(pid))
    return round(sum(megabytes(text, "Pss:") for text in memory))


def megabytes(memory: str, kind: str) -> float:
    """Out of /proc/PID/smaps_rollup, which counts in KiB."""
    return next(
        int(line.split()[1]) * 1024 / 1e6 for line in memory.splitlines() if line.startswith(kind)
    )


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def cpu_ticks(stat: str) -> int:
    """User and system time. The name before them may contain anything, also brackets."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
