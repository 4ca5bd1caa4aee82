# SPDX-License-Identifier: Apache-2.0
"""What stands around an amphora: the id that it is outside, and what of the machine it may see.

An amphora runs in a user namespace of its own. Started by root it is an id there that no other
amphora and no account has, so that its root is nobody's outside. Such an id may not even read our
own program where that lies below a folder of root's alone; there that folder is covered, and only
the program is left in it. Started by somebody else there is one id only, and what hides the
control plane's folders are mounts that the amphora cannot take away. Pure but for looks at modes.
"""

import os
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import colonnade
from colonnade.domain.errors import OutOfCapacity

FIRST_ID: Final = 2**30  # far above those of accounts and of what else gives out ranges
IDS_MAX: Final = 65_536
OPEN: Final = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 - to be covered
OUTER: Final = Path(__file__).with_name("amphora-outer.sh")
PROGRAM: Final = (Path(sys.prefix), Path(sys.base_prefix), Path(colonnade.__file__).parent)


def free_id(taken: Collection[int]) -> int:
    """An id for a new amphora; 0 where we are not root. Raises OutOfCapacity."""
    if os.geteuid() != 0 or not _maps_all_ids():
        return 0
    for found in range(FIRST_ID, FIRST_ID + IDS_MAX):
        if found not in taken:
            return found
    raise OutOfCapacity(f"this machine has its {IDS_MAX} amphorae")


def arguments(id_outside: int, hidden: Sequence[Path], program: Sequence[Path]) -> Iterator[str]:
    """Those of `amphora-outer.sh` before `run`. `program`: what must be readable inside."""
    yield str(id_outside)
    lids = {lid for place in program if id_outside and (lid := _lid(place)) is not None}
    open_to_all = [place for place in OPEN if place.is_dir() and not place.is_symlink()]
    kept = [
        place
        for place in dict.fromkeys(program)
        if any(place.is_relative_to(cover) for cover in (*lids, *open_to_all))
    ]
    for place in kept:
        yield from ("keep", str(place))
    for lid in sorted(lids):
        yield from ("cover", str(lid))
    for place in open_to_all:
        yield from ("empty", str(place))
    for place in kept:
        yield from ("back", str(place))
    for place in hidden:
        if not any(one.is_relative_to(place) for one in (*program, OUTER)):
            yield from ("hide", str(place))


def _lid(place: Path) -> Path | None:
    """The first folder above the place that is closed to others."""
    for folder in reversed(place.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def _maps_all_ids() -> bool:
    """Whether root here is the machine's: in a user namespace there may be one id only."""
    lines = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(int(first) <= FIRST_ID < int(first) + int(count) for first, _, count in lines)
