# SPDX-License-Identifier: Apache-2.0
"""Find what a run of the system left behind: from outside, by marks and not by names.

Most processes of a run inherit one mark in their environment; those that do not (an amphora is born
with an environment of its own) descend from one that does, and are remembered by pid and start
time before the run is stopped. A namespace is left where a process in it is: its number says
nothing, for the kernel gives it to the next namespace of anybody at once. Mounts and links are
compared with what was there before. So another run beside this one is neither seen nor blamed.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from colonnade.drivers.network.namespaces.host_table import CABLE, LEG
from colonnade.drivers.network.namespaces.processes import ProcessName, name_of

OUR_LINKS = ("colonnade", CABLE, LEG)
MARK = "COLONNADE_RUN"


class Before(msgspec.Struct, frozen=True):
    """How the machine looked before the run."""

    mounts: frozenset[str]
    links: frozenset[str]


def look() -> Before:
    return Before(_mounts(), _links())


def marked(mark: str) -> dict[int, str]:
    """The living processes that carry the mark, with their command lines."""
    wanted = f"{MARK}={mark}".encode()
    found: dict[int, str] = {}
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        try:
            has_mark = wanted in (place / "environ").read_bytes().split(b"\0")
            if has_mark and (words := _words(int(place.name))):
                found[int(place.name)] = words
        except OSError:
            continue  # gone meanwhile, or somebody else's
    return found


def family(mark: str) -> dict[int, str]:
    """The living processes that carry the mark or descend from one that does."""
    return with_descendants(marked(mark))


def with_descendants(found: dict[int, str]) -> dict[int, str]:
    """These processes, and all that descend from one of them."""
    parents: dict[int, int] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                after_name = (place / "stat").read_text().rpartition(")")[2].split()
                parents[int(place.name)] = int(after_name[1])
    grown = True
    while grown:
        fresh = {
            pid: _words(pid) for pid, up in parents.items() if up in found and pid not in found
        }
        found |= fresh
        grown = bool(fresh)
    return found


def _words(pid: int) -> str:
    """The command line; a zombie, whose parent is about to collect it, has none."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        return words.decode(errors="replace").strip()
    return ""


def named(pids: dict[int, str]) -> dict[ProcessName, str]:
    """Those of these processes that still live, by a name that no other ever has."""
    return {name: words for pid, words in pids.items() if (name := name_of(pid)) is not None}


def leftovers(
    mark: str, before: Before, seen: dict[ProcessName, str], folders: list[Path]
) -> list[str]:
    """What is still there, one sentence each; empty is the promise."""
    living = {name.pid: words for name, words in seen.items() if name.is_alive}
    left = [f"process {pid}: {words}" for pid, words in (living | marked(mark)).items()]
    left += [f"mount {line}" for line in _mounts() - before.mounts if _is_ours(line, folders)]
    left += [f"link {link}" for link in _links() - before.links if link.startswith(OUR_LINKS)]
    left += [f"folder {folder}" for folder in folders if folder.exists()]
    return left


def _is_ours(line: str, folders: list[Path]) -> bool:
    return any(str(folder) in line for folder in folders)


def _mounts() -> frozenset[str]:
    return frozenset(Path("/proc/self/mountinfo").read_text().splitlines())


def _links() -> frozenset[str]:
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return frozenset(line.partition(":")[0].strip() for line in lines)
