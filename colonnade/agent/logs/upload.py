# SPDX-License-Identifier: Apache-2.0
"""A packed file as one object of an object store, by a URL that was signed for it.

The same object put twice is one object, so a lost answer costs a repetition and nothing else.
"""

from pathlib import Path

from colonnade.agent.logs.web import send
from colonnade.protocol.logs import LogPlace


def put(path: str, place: LogPlace) -> None:
    """Raises Failed, OSError."""
    with Path(path).open("rb") as file:
        size = Path(path).stat().st_size
        send("PUT", place, file, size, {"Content-Type": "application/gzip"})
