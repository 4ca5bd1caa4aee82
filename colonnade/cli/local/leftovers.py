# SPDX-License-Identifier: Apache-2.0
"""What a run of the system left behind, looked for from outside and by marks, not by names.

Most processes of a run inherit one mark in their environment; those that do not (an amphora is born
with an environment of its own) descend from one that does. Namespaces are remembered while they
live; mounts and links are compared with what was there before. So another run beside this one is
neither seen nor blamed.
"""

import contextlib
import os
from pathlib import Path

import msgspec

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
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                words = (place / "cmdline").read_bytes().replace(b"\0", b" ")
                if words:  # a zombie has none; its parent is about to collect it
                    found[int(place.name)] = words.decode(errors="replace").strip()
        except OSError:
            continue  # gone meanwhile, or somebody else's
    return found


def family(mark: str) -> dict[int, str]:
    """The living processes that carry the mark or descend from one that does."""
    parents: dict[int, int] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                after_name = (place / "stat").read_text().rpartition(")")[2].split()
                parents[int(place.name)] = int(after_name[1])
    found = marked(mark)
    grown = True
    while grown:
        fresh = {pid: "" for pid, up in parents.items() if up in found and pid not in found}
        found |= fresh
        grown = bool(fresh)
    return found


def namespaces(pids: dict[int, str]) -> frozenset[str]:
    """The network namespaces that these processes are in, but for our own."""
    found = set()
    for pid in pids:
        try:
            found.add(str(Path(f"/proc/{pid}/ns/net").readlink()))
        except OSError:
            continue
    return frozenset(found - {str(Path("/proc/self/ns/net").readlink())})


def leftovers(mark: str, before: Before, seen: frozenset[str], folders: list[Path]) -> list[str]:
    """What is still there, one sentence each; empty is the promise."""
    left = [f"process {pid}: {words}" for pid, words in marked(mark).items()]
    every = {int(p.name): "" for p in Path("/proc").iterdir() if p.name.isdigit()}
    left += [f"network namespace {name}" for name in namespaces(every) & seen]
    left += [f"mount {line}" for line in _mounts() - before.mounts if _is_ours(line, folders, seen)]
    left += [f"link {link}" for link in _links() - before.links if link.startswith("colonnade")]
    left += [f"folder {folder}" for folder in folders if folder.exists()]
    return left


def _is_ours(line: str, folders: list[Path], seen: frozenset[str]) -> bool:
    return any(str(f) in line for f in folders) or any(name in line for name in seen)


def _mounts() -> frozenset[str]:
    return frozenset(Path("/proc/self/mountinfo").read_text().splitlines())


def _links() -> frozenset[str]:
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return frozenset(line.partition(":")[0].strip() for line in lines)
