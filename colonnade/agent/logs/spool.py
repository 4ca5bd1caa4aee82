# SPDX-License-Identifier: Apache-2.0
"""Access logs between haproxy and wherever they go: files in a folder, bounded in bytes.

Invariant: the files never hold more than the limit; what must go is the oldest file, and its
lines are counted as dropped. All that is known of a file is in its name, so a new agent goes on
where the last one was killed. Lines are written as they come: nothing waits in memory.
Knows no network.
"""

import gzip
import logging
import os
import re
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from colonnade.agent.folder import write
from colonnade.protocol.logs import COUNTS_MAX, LogCount, LogFile, LogLimits

log = logging.getLogger(__name__)
_NAME: Final = re.compile(r"(\d+)_([0-9a-f-]{36})_(\d+)(?:_(\d+))?\.(log|gz)")
_COUNTS: Final = "counts.json"


class File(msgspec.Struct):
    """`packed`: compressed and ready to go. `opened`: the descriptor that lines are added by."""

    listener: str
    sequence: int
    begun_ms: int
    lines: int
    size: int = 0
    packed: bool = False
    opened: int | None = None

    @property
    def name(self) -> str:
        begin = f"{self.sequence}_{self.listener}_{self.begun_ms}"
        return f"{begin}_{self.lines}.gz" if self.packed else f"{begin}.log"

    def told(self) -> LogFile:
        return LogFile(
            listener=self.listener,
            sequence=self.sequence,
            begun_at=self.begun_ms / 1000,
            lines=self.lines,
        )


class Spool:
    def __init__(self, folder: Path, limits: LogLimits) -> None:
        self.limits = limits
        self.size = 0
        self._folder = folder
        self._files: dict[int, File] = {}  # by sequence: the oldest first
        self._open: dict[str, File] = {}  # by listener
        self._counts = _read_counts(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._find()
        self._last = max(self._files, default=0)

    @property
    def counts(self) -> tuple[LogCount, ...]:
        return tuple(self._counts.values())

    def append(self, listener: str, lines: Sequence[bytes]) -> None:
        """Add lines to the listener's open file."""
        file = self._open.get(listener) or self._begin(listener)
        if file is None or file.opened is None:
            self._count(listener, dropped=len(lines))
            return
        text = b"".join(line + b"\n" for line in lines)
        try:
            written = os.write(file.opened, text)
        except OSError as error:
            self._make_room(error)
            self._count(listener, dropped=len(lines))
            return
        file.lines += text[:written].count(b"\n")
        file.size += written
        self.size += written
        if written < len(text):
            self._count(listener, dropped=text[written:].count(b"\n"))
            self._end_line(file, text[:written])
        if file.size >= self.limits.file_bytes:
            self._close(file)
        while self.size > self.limits.spool_bytes and self._files:
            self.drop(self._files[next(iter(self._files))])

    def rotate(self, patient: Collection[str] = ()) -> None:
        """Close what has been open for long enough; that of `patient` listeners, whose targets
        take files and not lines, may be open for longer."""
        now_ms = time.time() * 1000
        limits = self.limits
        soon_s = min(limits.stream_age_s, limits.file_age_s)
        for file in list(self._open.values()):
            age_s = limits.file_age_s if file.listener in patient else soon_s
            if not 0 <= now_ms - file.begun_ms < age_s * 1000:
                self._close(file)

    def unpacked(self) -> list[File]:
        return [f for f in self._files.values() if f.opened is None and not f.packed]

    def ready(self) -> list[File]:
        """Files to be sent, the oldest first."""
        return [f for f in self._files.values() if f.packed]

    def path(self, file: File) -> Path:
        return self._folder / file.name

    def packed(self, file: File, size: int) -> None:
        """What `pack` made, of this size, takes the file's place, if that is still there."""
        fresh = _fresh(self.path(file))
        if file.sequence not in self._files:
            fresh.unlink(missing_ok=True)
        elif size == 0:
            self.drop(file)
        else:
            plain = self.path(file)
            self.size += size - file.size
            file.packed, file.size = True, size
            fresh.replace(self.path(file))
            plain.unlink(missing_ok=True)

    def sent(self, file: File) -> None:
        """It is where it should be."""
        if self._remove(file):
            self._count(file.listener, sent=file.lines)

    def drop(self, file: File) -> None:
        """Nobody will get it."""
        if self._remove(file):
            self._count(file.listener, dropped=file.lines)

    def failed(self, listener: str, reason: str) -> None:
        """`reason`: what hinders the listener's files from going; "" nothing does."""
        self._counts[listener] = msgspec.structs.replace(self._counted(listener), failure=reason)

    def save(self) -> None:
        """Keep the counts for the next agent; those of listeners long gone are forgotten."""
        present = {file.listener for file in self._files.values()}
        for listener in list(self._counts):
            if len(self._counts) <= COUNTS_MAX:
                break
            if listener not in present:
                del self._counts[listener]
        try:
            write(self._folder / _COUNTS, msgspec.json.encode(list(self._counts.values())))
        except OSError as error:
            log.warning("the counts of logs are not kept: %s", error)

    def close(self) -> None:
        for file in list(self._open.values()):
            self._close(file)
        self.save()

    def _begin(self, listener: str) -> File | None:
        now_ms = int(time.time() * 1000)
        self._last = max(self._last + 1, now_ms)  # rises, though the spool may be empty again
        file = File(listener=listener, sequence=self._last, begun_ms=now_ms, lines=0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            file.opened = os.open(self.path(file), flags, 0o600)
        except OSError as error:
            self._make_room(error)
            return None
        self._files[file.sequence] = self._open[listener] = file
        return file

    def _close(self, file: File) -> None:
        if file.opened is not None:
            os.close(file.opened)
            file.opened = None
            self._open.pop(file.listener, None)

    def _end_line(self, file: File, text: bytes) -> None:
        """Half a line was written on a full disk: take it back."""
        tail = len(text) - (text.rfind(b"\n") + 1)
        if tail and file.opened is not None:
            os.truncate(file.opened, file.size - tail)
            file.size -= tail
            self.size -= tail

    def _make_room(self, error: OSError) -> None:
        """Nothing could be written: the oldest file goes, for the next lines."""
        log.warning("the log spool cannot be written: %s", error.strerror)
        if self._files:
            self.drop(self._files[next(iter(self._files))])

    def _remove(self, file: File) -> bool:
        if self._files.pop(file.sequence, None) is None:
            return False
        self._close(file)
        self.path(file).unlink(missing_ok=True)
        self.size -= file.size
        return True

    def _count(self, listener: str, *, sent: int = 0, dropped: int = 0) -> None:
        before = self._counted(listener)
        self._counts[listener] = msgspec.structs.replace(
            before, sent=before.sent + sent, dropped=before.dropped + dropped
        )

    def _counted(self, listener: str) -> LogCount:
        return self._counts.get(listener) or LogCount(listener=listener)

    def _find(self) -> None:
        """What the last agent left. Of a file that is there packed and plain, packing ended."""
        found = [m for path in self._folder.iterdir() if (m := _NAME.fullmatch(path.name))]
        packed = {m[1] for m in found if m[5] == "gz"}
        for path in self._folder.glob(".*.new"):
            path.unlink()
        for match in sorted(found, key=lambda m: int(m[1])):
            path = self._folder / match.string
            if match[5] == "log" and match[1] in packed:
                path.unlink()
                continue
            file = File(
                listener=match[2],
                sequence=int(match[1]),
                begun_ms=int(match[3]),
                lines=int(match[4] or 0) or _lines(path),
                size=path.stat().st_size,
                packed=match[5] == "gz",
            )
            self._files[file.sequence] = file
            self.size += file.size


def pack(plain: Path) -> int:
    """Compress a closed file, beside it. For a thread: it changes nothing that the spool knows.
    The size, or 0 when it could not be done."""
    fresh = _fresh(plain)
    try:
        with plain.open("rb") as lines, gzip.open(fresh, "wb", 5) as packed:
            shutil.copyfileobj(lines, packed)
        return fresh.stat().st_size
    except OSError as error:
        log.warning("a log file cannot be packed: %s", error)
        fresh.unlink(missing_ok=True)
        return 0


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name.partition('_')[0]}.new")


def _lines(path: Path) -> int:
    if path.suffix == ".gz":
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _read_counts(folder: Path) -> dict[str, LogCount]:
    try:
        found = msgspec.json.decode((folder / _COUNTS).read_bytes(), type=list[LogCount])
    except (FileNotFoundError, msgspec.MsgspecError):
        return {}
    return {one.listener: one for one in found}
