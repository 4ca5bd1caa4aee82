# SPDX-License-Identifier: Apache-2.0
"""The last words in a process's log, which mostly say why it ended.

That is the sentence in which a command of ours ended, else the last line, be it an event, the end
of a traceback or another program's words. Knows no process.
"""

import os
from pathlib import Path
from typing import Any, Final

import msgspec

BYTES_MAX: Final = 16 * 1024  # of the log, to look for them in
WORDS_MAX: Final = 1000
SENTENCE: Final = "colonnade: "  # what our own command says when it ends with an error


def last_words(path: Path, written: int = 0) -> str:
    """What was said last behind the first `written` bytes."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begun = written if written <= size else 0  # the log was emptied meanwhile
            file.seek(max(begun, size - BYTES_MAX))
            text = file.read(BYTES_MAX).decode(errors="replace")
    except OSError:
        text = ""
    return said_last(text) or f"it said nothing; its log is {path}"


def said_last(text: str) -> str:
    """The same of all that a process said; empty when that is nothing."""
    said = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not said:
        return ""
    for place in range(len(said) - 1, -1, -1):
        if said[place].startswith(SENTENCE):
            return "\n".join(said[place:]).removeprefix(SENTENCE)[:WORDS_MAX]
    return _in_words(said[-1])[:WORDS_MAX]


def _in_words(line: str) -> str:
    """An event of our own logs is an object: what happened, and why."""
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return line.strip()
    words = [str(event.get("event", line))]
    for name in ("reason", "error", "exception"):
        if event.get(name):
            words.append(str(event[name]).strip().splitlines()[-1])
    return ": ".join(words)
