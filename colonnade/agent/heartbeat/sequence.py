# SPDX-License-Identifier: Apache-2.0
"""The numbers of an amphora's datagrams.

Invariant: they rise for ever, also over restarts and a clock that is set back. Imports little,
because a starting agent needs it first.
"""

import time
from pathlib import Path
from typing import Final

from colonnade.agent.folder import Folder, write_if_room

RESERVED: Final = 60 * 10**9  # sequences reserved at a time, so that few writes are needed


class Sequence64:
    """Nanoseconds since 1970, made to rise always. The highest that may be in use is on file."""

    def __init__(self, folder: Folder) -> None:
        self._path = folder.sequence
        self._reserved = self._last = read_number(self._path)

    def next(self) -> int:
        self._last = max(self._last + 1, time.time_ns())
        if self._last >= self._reserved:
            self._reserved = self._last + RESERVED
            write_if_room(self._path, str(self._reserved).encode())
        return self._last


def read_number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0
