# SPDX-License-Identifier: Apache-2.0
"""What is kept of amphorae on disk, so that they serve again after a boot of the machine.

One file each: what it was born with, and what it has become since: the bundle that it serves, its
renewed certificate, its counters, and the same of each seat on it. These are looked at from
outside, for an amphora writes nothing to the machine. Invariant: a file is whole and durable, read
by the daemon alone, and gone before its amphora is. Nothing here knows what the files say.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from colonnade.domain.ids import AmphoraId
from colonnade.drivers.compute.protocol import Boot
from colonnade.drivers.network.namespaces.inside import mark_inside, reading_as, text_inside
from colonnade.drivers.network.namespaces.machines import Machine
from colonnade.protocol import paths
from colonnade.protocol.bundle import BUNDLE_BYTES_MAX
from colonnade.runtime.files import replace_file

LOOK_S: Final = 1.0
REST: Final = 20  # times as long as a copy took, the same amphora is not copied again
COUNTED_S: Final = 300.0  # between two copies for nothing but newer counters
FILE_BYTES_MAX: Final = 2 * BUNDLE_BYTES_MAX  # a bundle as JSON, with the escapes that takes
ROOT: Final = paths.ROOT.lstrip("/")
log = structlog.get_logger()


class _Seen(msgspec.Struct):
    """Of one amphora: the files that were copied last, when, and from when on it may be again."""

    mark: tuple[tuple[int, int, int], ...] = ()
    at: float = 0.0
    next_at: float = 0.0


class Kept:
    """`is_wanted`: else nothing of them is to lie on the disk, nor what did before. `seats`: the
    ids of those on an amphora."""

    def __init__(
        self,
        folder: Path,
        *,
        is_wanted: bool,
        seats: Callable[[AmphoraId], Sequence[str]] = lambda _: (),
    ) -> None:
        self._folder = folder
        self._seats = seats
        self._is_wanted = is_wanted
        self._seen: dict[AmphoraId, _Seen] = {}
        self._turn = asyncio.Lock()  # one that was forgotten is not written again

    def load(self) -> None:
        """Find what an earlier daemon kept."""
        if not self._is_wanted:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for torn in self._folder.glob("*.new"):
            torn.unlink()
        self._seen = {AmphoraId(path.stem): _Seen() for path in self._folder.glob("*.json")}

    @property
    def ids(self) -> set[AmphoraId]:
        return set(self._seen)

    def read(self, amphora_id: AmphoraId) -> Boot | None:
        """What to start it with again; None where the file cannot be read."""
        try:
            return msgspec.json.decode(self._path(amphora_id).read_bytes(), type=Boot)
        except (OSError, msgspec.DecodeError) as error:
            log.error("what was kept of an amphora is lost", id=amphora_id, error=str(error))
            return None

    async def begin(self, boot: Boot) -> None:
        """From now on it is kept. Where the disk has no room it is not, and that is said."""
        if self._is_wanted:
            async with self._turn:
                self._seen[boot.amphora_id] = _Seen()
                await asyncio.to_thread(self._write, boot)

    async def forget(self, amphora_id: AmphoraId) -> None:
        async with self._turn:
            if self._seen.pop(amphora_id, None) is not None:
                self._path(amphora_id).unlink(missing_ok=True)

    async def look(self, machines: Sequence[Machine], *, at_last: bool = False) -> float:
        """Keep what they have become since the last look; the seconds that it took. `at_last`: of
        each, whatever its turn is."""
        began = time.monotonic()
        async with self._turn:
            await asyncio.to_thread(self._look, machines, at_last)
        return time.monotonic() - began

    def _look(self, machines: Sequence[Machine], at_last: bool) -> None:
        for machine in machines:
            seen, now = self._seen.get(AmphoraId(machine.id)), time.monotonic()
            roots = _roots(self._seats(AmphoraId(machine.id)))
            if seen is None or not machine.is_running or (now < seen.next_at and not at_last):
                continue
            mark = _mark(machine, [root + name for root in roots for name in paths.KEPT_WHEN_NEW])
            if mark != seen.mark or at_last or now - seen.at > COUNTED_S:
                self._copy(machine, roots)
                seen.mark, seen.at = mark, now
                seen.next_at = now + REST * (time.monotonic() - now)

    def _copy(self, machine: Machine, roots: Sequence[str]) -> None:
        boot = self.read(AmphoraId(machine.id))
        if boot is None:
            return
        known = {n: text for n, text in boot.config_drive.items() if _root(n) in roots}
        files = {**known, **_files(machine, roots)}
        if files != boot.config_drive:
            self._write(msgspec.structs.replace(boot, config_drive=files))

    def _write(self, boot: Boot) -> None:
        try:
            replace_file(self._path(boot.amphora_id), msgspec.json.encode(boot).decode())
        except OSError as error:
            log.error("an amphora is not kept as it is", id=boot.amphora_id, error=str(error))

    def _path(self, amphora_id: AmphoraId) -> Path:
        return self._folder / f"{amphora_id}.json"


def _mark(machine: Machine, names: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    with reading_as(id_of(machine)):
        return tuple(mark_inside(machine.init, f"{ROOT}/{name}") for name in names)


def _roots(seats: Sequence[str]) -> list[str]:
    """The amphora's own folder and those of its seats, as the beginnings of their files' names."""
    return ["", *(f"{paths.SEATS}/{seat}/" for seat in seats)]


def _root(name: str) -> str:
    folder, seat, *_ = (*name.split("/"), "")
    return f"{folder}/{seat}/" if folder == paths.SEATS else ""


def _files(machine: Machine, roots: Sequence[str]) -> Mapping[str, str]:
    """What is there of an amphora's own files, under the names that it is to find them by."""
    names = [r + n for r in roots for n in (*paths.KEPT_WHEN_NEW, *paths.KEPT_ALONG)]
    with reading_as(id_of(machine)):
        found = {n: text_inside(machine.init, f"{ROOT}/{n}", FILE_BYTES_MAX) for n in names}
    return {_kept_name(name): text for name, text in found.items() if text is not None}


def _kept_name(name: str) -> str:
    root = _root(name)
    return root + paths.KEPT if name == root + paths.PRESENT else name


def id_of(machine: Machine) -> int:
    """The first of its ids outside; 0 where there is one id only."""
    return int(machine.about.get("id", "0"))


def seats_of(boot: Boot) -> list[str]:
    """The ids of the seats on it."""
    ends = "/config/agent.json"
    return [_root(n).split("/")[1] for n in boot.config_drive if n.endswith(ends) and _root(n)]


def serves(machine: Machine, boot: Boot) -> bool:
    """Whether it and its seats serve all that they served before, as their agents write down."""
    roots = [_root(name) for name in boot.config_drive if name == _root(name) + paths.KEPT]
    return all(any(mark) for mark in _mark(machine, [root + paths.PRESENT for root in roots]))
