# SPDX-License-Identifier: Apache-2.0
"""What processes cost, as the kernel counts it in /proc: processor time, and memory.

Processor time is that of threads that run on, to the nanosecond: counted in ticks (in
/proc/PID/stat) that of a few requests would be lost. What ended meanwhile is not counted.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def spent_us(pid: int) -> int:
    """Processor time of a process and its children so far."""
    return sum(run_ns(text) for one in _family(pid) for text in _threads(one)) // 1000


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


def _threads(pid: int) -> Iterator[str]:
    for place in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            yield (place / "schedstat").read_text()


def run_ns(schedstat: str) -> int:
    """Of a thread: the first of three numbers. The second is how long it has waited."""
    return int(schedstat.split(maxsplit=1)[0])
