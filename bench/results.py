# SPDX-License-Identifier: Apache-2.0
"""Figures on disk and side by side: one JSON file for each run, compared with the run before.

A part is compared with the newest earlier file that has the same part, since a run may be of some
parts only. What a figure means, and whether more is better, is not known here: a ratio says it.
"""

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

FOLDER = Path(__file__).parent / "results"

Figures = dict[str, float | None]  # None: what was to be measured did not happen


class Run(msgspec.Struct, kw_only=True):
    """One run. `load_before`: the machine's load average over a minute as it began."""

    began: str  # UTC, and the file's name
    machine: str
    load_before: float
    commit: str = ""  # that was measured; with a plus when not all of it was committed
    parts: dict[str, Figures] = {}
    beside: dict[str, str] = {}  # what else a part has measured: whose, which versions


def begin() -> Run:
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return Run(
        began=time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime()),
        machine=f"{os.cpu_count()} cores, {memory_gb:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, "
        f"{'root' if os.geteuid() == 0 else 'an ordinary user'}",
        load_before=round(os.getloadavg()[0], 2),
        commit=_commit(),
    )


def _commit() -> str:
    """The last one that changed the package. Empty outside of a clone."""
    git = ("git", "-C", str(FOLDER.parent))
    package = ("--", ":/colonnade")
    try:
        last = subprocess.run(
            (*git, "log", "-1", "--format=%h", *package), capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run((*git, "diff", "--quiet", "HEAD", *package), check=False)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return last + "+" * bool(changed.returncode)


def save(run: Run) -> Path:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{run.began}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")
    return path


def before(part: str, began: str) -> Figures:
    """The figures of the newest earlier run that has this part; empty when there is none."""
    for path in sorted(FOLDER.glob("*.json"), reverse=True):
        if path.stem < began:
            found = msgspec.json.decode(path.read_bytes(), type=Run).parts.get(part)
            if found is not None:
                return found
    return {}


def flat(figures: Mapping[str, Any], prefix: str = "") -> Figures:
    """Nested figures with dots in their names; what is no number is left out."""
    found: Figures = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, int | float):
            found[prefix + name] = value
    return found


def compared(part: str, now: Figures, earlier: Figures, goals: Mapping[str, str]) -> Table:
    table = Table(title=part, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("now", "before", "ratio"):
        table.add_column(heading, justify="right")
    table.add_column("goal")
    for name, value in now.items():
        old = earlier.get(name)
        ratio = f"{value / old:.2f}" if value is not None and old else ""
        table.add_row(name, _words(value), _words(old), ratio, goals.get(name, ""))
    return table


def percentile(took: list[float], share: float) -> float:
    """The value that `share` of all are not above."""
    ordered = sorted(took)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _words(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
