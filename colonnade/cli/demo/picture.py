# SPDX-License-Identifier: Apache-2.0
"""A row of characters that shows when requests were answered and when not."""

from collections.abc import Iterable
from typing import Final

from colonnade.cli.lab.visits import Visit

ANSWERED: Final = "█"
IN_PART: Final = "▒"
SILENT: Final = "·"
WIDTH: Final = 48


def answers(visits: Iterable[Visit], since: float, until: float) -> str:
    """Each character stands for the same part of the time: by when answers came, and when requests
    began that failed."""
    each = (until - since) / WIDTH
    good, bad = [0] * WIDTH, [0] * WIDTH
    for visit in visits:
        place = int(((visit.ended if visit.ok else visit.began) - since) // each)
        if 0 <= place < WIDTH:
            (good if visit.ok else bad)[place] += 1
    row = "".join(
        (IN_PART if wrong else ANSWERED) if right else SILENT
        for right, wrong in zip(good, bad, strict=True)
    )
    return f"{row} {1000 * each:.0f} ms each"
