# SPDX-License-Identifier: Apache-2.0
"""Which ids of this machine a system that root starts may use: a block of its own.

A block has 65 536 ids and lies between 2^30 and 2^31, far above accounts and what else gives out
ranges; a block that overlaps an account or a range of `/etc/subuid` is skipped. The state folder's
path chooses it, so it is the same at each start. The first ids are the offices', the rest go to
amphorae. Without root there is one id only, and no block.
"""

import os
from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

FIRST: Final = 2**30
BLOCK: Final = 65_536
BLOCKS: Final = 2**30 // BLOCK
OFFICES: Final = ("api", "controller", "health", "database", "notifier", "relay")
ACCOUNT: Final = "colonnade"  # accounts of ours are called so: `colonnade`, `colonnade-api`
CONTROL: Final = 1  # the group of all offices
AMPHORAE: Final = 4096  # within the block: where those of amphorae begin
OF_AN_AMPHORA: Final = 8  # 0 is its root


class HostIds(msgspec.Struct, frozen=True):
    """The ids of one system. A user id and the group id of the same number belong together."""

    first: int

    @property
    def control(self) -> int:
        """The group that may read what all offices need."""
        return self.first + CONTROL

    def office(self, name: str) -> int:
        return self.first + CONTROL + 1 + OFFICES.index(name)

    def free_for_an_amphora(self, taken: Collection[int]) -> int | None:
        """The first of its ids; None when all are taken."""
        every = range(self.first + AMPHORAE, self.first + BLOCK, OF_AN_AMPHORA)
        return next((found for found in every if found not in taken), None)


def of(state_dir: Path) -> HostIds | None:
    """None where we are not root of the machine, as in a user namespace."""
    if os.geteuid() != 0 or not _maps_all_ids():
        return None
    return chosen(str(state_dir.resolve()), list(_ranges()))


def chosen(path: str, used: Collection[range]) -> HostIds:
    """The block of this path, or the next that nobody uses. Pure."""
    wanted = int.from_bytes(sha256(path.encode()).digest()[:4], "big") % BLOCKS
    for step in range(BLOCKS):
        first = FIRST + (wanted + step) % BLOCKS * BLOCK
        if not any(one.start < first + BLOCK and first < one.stop for one in used):
            return HostIds(first)
    return HostIds(FIRST + wanted * BLOCK)


def _maps_all_ids() -> bool:
    """In a user namespace there may be one id only."""
    lines = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    last = FIRST + BLOCKS * BLOCK - 1
    return any(int(first) <= FIRST and last < int(first) + int(n) for first, _, n in lines)


def _ranges() -> Iterator[range]:
    """What accounts, groups and ranges given to them use."""
    for file in ("/etc/passwd", "/etc/group"):
        for words in _words(file):
            if words[0].partition("-")[0] != ACCOUNT:  # these only name what is chosen here
                yield from (range(int(w), int(w) + 1) for w in words[2:4] if w.isdigit())
    for file in ("/etc/subuid", "/etc/subgid"):
        for words in _words(file):
            if len(words) == 3 and words[1].isdigit() and words[2].isdigit():
                yield range(int(words[1]), int(words[1]) + int(words[2]))


def _words(file: str) -> Iterator[list[str]]:
    try:
        text = Path(file).read_text(errors="replace")
    except OSError:
        return
    yield from (line.split(":") for line in text.splitlines())
