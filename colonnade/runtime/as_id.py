# SPDX-License-Identifier: Apache-2.0
"""The command line that runs a program as an id without rights, when root starts it.

The program reads what it needs as far as modes of files let it. Folders above, such as /root, may
be closed to it: they are covered in a mount namespace of its own, and what it needs is put back
there, so that no file's mode has to be changed. It knows no process by name.
"""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from colonnade.runtime import program

SCRIPT: Final = Path(__file__).with_name("as-id.sh")
SCRATCH: Final = ("/mnt", "/media", "/srv", "/opt", "/var/tmp", "/home")  # noqa: S108 - covered


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """`readable` and `writable`: what it needs beside our program, with modes that let it; what
    does not exist is passed over.

    `account`: a file in the place of /etc/passwd. `on_end`: its signal when its starter dies."""

    id: int
    group: int
    readable: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    account: Path | None = None
    directory: str = "/"  # to work in, if it may be entered
    on_end: str = "KILL"


def as_id(who: Who, argv: Sequence[str]) -> list[str]:
    """Root's command line; all of it is one process, the program in the end."""
    wanted = dict.fromkeys(_both((*program.places(), *who.readable)), "read")
    wanted |= dict.fromkeys(_both(who.writable), "write")
    lids = {path: lid for path in wanted if (lid := closed_folder(path)) is not None}
    covers = [
        lid for lid in set(lids.values()) if not any(up in lid.parents for up in lids.values())
    ]
    kept = [p for p in wanted if any(lid in p.parents for lid in covers)]
    kept = [p for p in kept if not any(up in p.parents and wanted[up] == wanted[p] for up in kept)]
    account = ["account", str(who.account)] if who.account is not None else []
    words = [*account, *_pairs("keep", kept), *_pairs("cover", sorted(covers))]
    for path in kept:
        words += [wanted[path], str(path)]
    scratch = _scratch(list(wanted)) if kept else ""
    alone = ["unshare", "--mount", "--"] if words else []
    fixed = [str(who.id), str(who.group), who.on_end, who.directory, scratch]
    return [*alone, "sh", str(SCRIPT), *fixed, *words, "run", *argv]


def _both(paths: Sequence[Path]) -> Iterator[Path]:
    """Each by its name and by its real one, for a link may lie in what is covered."""
    for path in paths:
        if path.exists():
            yield from (path.absolute(), path.resolve())


def _pairs(word: str, paths: Sequence[Path]) -> list[str]:
    return [text for path in paths for text in (word, str(path))]


def closed_folder(path: Path) -> Path | None:
    """The first folder above the path that is closed to others."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def _scratch(used: Sequence[Path]) -> str:
    """A folder of the machine's in which nothing of ours lies."""
    for name in SCRATCH:
        place = Path(name)
        if place.is_dir() and not any(place == one or place in one.parents for one in used):
            return name
    raise OSError(f"none of {', '.join(SCRATCH)} is a folder in which nothing of ours lies")
