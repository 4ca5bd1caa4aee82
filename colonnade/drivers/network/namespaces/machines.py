# SPDX-License-Identifier: Apache-2.0
"""Machines of the lab: processes with network, mount and pid namespaces of their own.

Invariant: all of a machine ends with its process 1, and a record lies beside each, so that a
restarted daemon finds them. Machines outlive the daemon, for each is in a control group of its own,
and never the lab. It does not know what
a machine runs.
"""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from colonnade.domain.errors import Broken, Unavailable
from colonnade.drivers.network.namespaces.groups import Groups
from colonnade.drivers.network.namespaces.inside import open_inside
from colonnade.drivers.network.namespaces.processes import (
    ProcessName,
    child_of,
    gone,
    kill,
    name_of,
)
from colonnade.runtime.readiness import readable

log = structlog.get_logger()
READY = b"ready\n"
START_S_MAX = 10.0
MACHINES_MAX = 4000
TRAFFIC = "run/netns/traffic"  # of machines that have one
SEAT = "seat"  # the kind of what is on another's machine, with traffic of its own, and ends with it


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is unique among all kinds and fit for a file name. `about` is its maker's own."""

    id: str
    kind: str
    init: ProcessName
    about: Mapping[str, str] = {}

    @property
    def is_running(self) -> bool:
        return self.init.is_alive

    @property
    def traffic(self) -> str:
        """Where its traffic namespace is, if it has one. A seat's is made by its agent."""
        return TRAFFIC if self.kind != SEAT else f"run/netns/{self.id}"

    def open_namespace(self, name: str = "") -> int:
        """A descriptor of the machine's network namespace, or of one that it keeps under that name,
        for the caller to close.

        Raises Unavailable when the machine ends meanwhile."""
        if not self.is_running:
            raise Unavailable(f"{self.kind} {self.id} is not running")
        try:
            if name:
                return open_inside(self.init, name)
            return os.open(f"/proc/{self.init.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(f"{self.kind} {self.id} has just ended") from error


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine is made from. The init says `ready` and then waits for its input."""

    id: str
    kind: str
    init: Path
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str = "/"
    about: Mapping[str, str] = {}
    makes_network: bool = False  # the init makes the network namespace, inside others
    is_bounded: bool = False  # in memory and processes


class Newborn(msgspec.Struct, frozen=True):
    """A machine whose init waits for its input."""

    machine: Machine
    child: subprocess.Popen[bytes]


class Machines:
    def __init__(self, folder: Path, groups: Groups) -> None:
        self._folder = folder  # on a tmpfs that ends with the lab
        self._groups = groups
        self._machines: dict[str, Machine] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}

    def load(self) -> None:
        """Find the machines that an earlier daemon started in this lab."""
        for torn in self._folder.glob("*.new"):  # it was killed while it wrote
            torn.unlink()
        for path in self._folder.glob("*.json"):
            machine = msgspec.json.decode(path.read_bytes(), type=Machine)
            self._machines[machine.id] = machine

    def all(self, kind: str) -> list[Machine]:
        return [m for m in self._machines.values() if m.kind == kind]

    def find(self, machine_id: str, kind: str) -> Machine | None:
        """None as well while it is being destroyed."""
        found = self._machines.get(machine_id)
        if found is None or found.kind != kind or machine_id in self._endings:
            return None
        return found

    async def conceive(self, start: Start) -> Newborn:
        """Start a machine up to the point where its namespaces exist and can be furnished.

        The caller makes sure that none of that id runs."""
        await self.destroy(start.id)
        if len(self._machines) >= MACHINES_MAX:
            raise Unavailable(f"the lab has {MACHINES_MAX} machines, and may have no more")
        child = _spawn(start)
        try:
            async with asyncio.timeout(START_S_MAX):
                await _said_ready(child)
            pid = child_of(child.pid)
            init = name_of(pid) if pid is not None else None
            if init is None:
                raise Broken(f"{start.kind} {start.id} ended at once")
        except (TimeoutError, Broken):
            child.kill()
            await asyncio.to_thread(child.wait)
            raise
        await self._group(start, child.pid, init.pid)
        machine = Machine(id=start.id, kind=start.kind, init=init, about=start.about)
        self._record(machine)
        self._machines[machine.id] = machine
        self._watches[machine.id] = asyncio.create_task(_reap(child))
        return Newborn(machine, child)

    def seat(self, machine: Machine, seat_id: str) -> None:
        """From now on there is something of that id on the machine."""
        about = {"carrier": machine.id}
        self._machines[seat_id] = Machine(id=seat_id, kind=SEAT, init=machine.init, about=about)
        self._record(self._machines[seat_id])

    def seats(self, machine_id: str) -> list[str]:
        """Of what is on that machine, the ids."""
        return [seat.id for seat in self.all(SEAT) if seat.about["carrier"] == machine_id]

    def forget_seat(self, seat_id: str) -> None:
        """No such seat: nothing to do."""
        if self.find(seat_id, SEAT) is not None:
            self._path(seat_id).unlink(missing_ok=True)
            del self._machines[seat_id]

    async def deliver(self, newborn: Newborn, content: bytes) -> None:
        """Give a conceived machine its input, on which it begins its work."""
        pipe = newborn.child.stdin
        assert pipe is not None
        try:
            await asyncio.to_thread(_write_and_close, pipe.fileno(), content)
        except BrokenPipeError as error:
            raise Unavailable(f"{newborn.machine.id} ended while it started") from error
        finally:
            pipe.close()

    async def destroy(self, machine_id: str) -> None:
        """Return when no process of it is left. No such machine: nothing to do."""
        ending = self._endings.get(machine_id)
        if ending is None and machine_id in self._machines:
            ending = asyncio.create_task(self._end(self._machines[machine_id]))
            self._endings[machine_id] = ending
        if ending is not None:
            await asyncio.shield(ending)

    async def _group(self, start: Start, *pids: int) -> None:
        """The one that waits for the machine's init comes along: if it ends, the machine does."""
        try:
            await asyncio.to_thread(self._groups.put, start.id, pids, is_bounded=start.is_bounded)
        except OSError as error:  # it serves without, too
            log.warning("a machine has no control group", machine=start.id, error=str(error))

    async def _end(self, machine: Machine) -> None:
        kill(machine.init)
        await gone(machine.init)
        watch = self._watches.pop(machine.id, None)
        if watch is not None:
            await watch
        await asyncio.to_thread(self._groups.remove, machine.id)
        self._path(machine.id).unlink(missing_ok=True)
        del self._machines[machine.id]
        del self._endings[machine.id]

    def _record(self, machine: Machine) -> None:
        path = self._path(machine.id)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(machine))
        fresh.replace(path)

    def _path(self, machine_id: str) -> Path:
        return self._folder / f"{machine_id}.json"


def _spawn(start: Start) -> "subprocess.Popen[bytes]":
    kinds = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if not start.makes_network:
        kinds.append("--net")
    # A session of its own: a signal to the daemon's group is not one to its machines.
    return subprocess.Popen(
        ["unshare", *kinds, "--", "sh", str(start.init), *start.arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(start.environment),
        cwd=start.directory,
        start_new_session=True,
    )


async def _said_ready(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdout is not None
    with child.stdout as pipe:
        await readable(pipe.fileno())
        if os.read(pipe.fileno(), len(READY)) != READY:
            raise Broken("a machine could not be made", detail="its init ended; see the log")


async def _reap(child: "subprocess.Popen[bytes]") -> None:
    """Collect the corpse when the machine ends, whoever ended it."""
    handle = os.pidfd_open(child.pid)
    try:
        await readable(handle)
    finally:
        os.close(handle)
    child.wait()


def _write_and_close(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
