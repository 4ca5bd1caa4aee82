# SPDX-License-Identifier: Apache-2.0
"""Numbers that processes count together: a row of memory for each, made before they are forked.

Each process writes its own row alone, so nobody waits for anybody, and whoever takes the place of
one that died counts on where it was. What a cell means only its owner knows.
"""

import mmap
from collections.abc import Sequence
from typing import Final

CELL_BYTES: Final = 8


class Cells:
    def __init__(self, columns: int, rows: int = 1) -> None:
        self._columns = columns
        self._memory = mmap.mmap(-1, columns * rows * CELL_BYTES)
        self._cells = memoryview(self._memory).cast("d")

    def row(self, number: int) -> "memoryview[float]":
        """What one process writes."""
        return self._cells[number * self._columns : (number + 1) * self._columns]

    def each(self) -> Sequence[float]:
        """Every cell, row by row."""
        return list(self._cells)

    def sums(self) -> Sequence[float]:
        """Of each column over all rows."""
        return [sum(self._cells[n :: self._columns]) for n in range(self._columns)]
