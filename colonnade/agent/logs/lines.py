# SPDX-License-Identifier: Apache-2.0
"""Lines of a packed file, some at a time, and when each was written.

The time is read from lines in the JSON format; for a line in the combined format none is given.
"""

import gzip
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

AT_ONCE: Final = 500


class _Line(msgspec.Struct):
    time: float


def batches(path: str) -> Iterator[list[bytes]]:
    """Up to `AT_ONCE` lines each, without their ends."""
    with gzip.open(path, "rb") as file:
        lines = (line.rstrip(b"\n") for line in file)
        while some := list(islice(lines, AT_ONCE)):
            yield some


def time_of(line: bytes) -> float | None:
    """Seconds since 1970."""
    try:
        return msgspec.json.decode(line, type=_Line).time
    except msgspec.MsgspecError:
        return None
