# SPDX-License-Identifier: Apache-2.0
"""The other amphorae that this agent serves as: the seats of load balancers that share an amphora.

Each has files, a traffic namespace, haproxy and an agent of its own, of which none knows another;
what they share is this process and the address book of the LB network's interface. Invariant: a
seat is open when its config drive is whole on file, also for the next agent, until it is closed.
"""

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from colonnade.agent.apply.errors import NotNow, Refused
from colonnade.agent.folder import Folder, write
from colonnade.agent.network import lb_address
from colonnade.agent.place import Place
from colonnade.agent.programs import run, words
from colonnade.protocol.messages import AgentConfig, NewSeat

log = logging.getLogger(__name__)
SEATS_MAX: Final = 100
RETRY_S: Final = 1.0
PROGRAM_S_MAX: Final = 10.0
CONFIG: Final = "agent.json"
NAMESPACES: Final = Path("/run/netns")
# haproxy's file names what lies in the amphora's own folder. So a seat's haproxy sees the seat's in
# its place, by either name, and nothing of the others.
WITHIN: Final = """
root=$1; shift
mount --bind "$root" "$ROOT"
for other in "$NAMESPACES"/*; do umount "$other" || :; done
exec "$@"
"""


class Served(Protocol):
    """An agent of a seat."""

    async def run(self) -> None:
        """Until cancelled; what serves goes on."""

    async def end(self) -> None:
        """Nothing serves any more."""


class Seats:
    """Those on an amphora whose files are below `root`. `serve` makes the agent of one."""

    def __init__(self, root: Path, serve: Callable[[AgentConfig, Place], Served]) -> None:
        self._root = root
        self._serve = serve
        self._running: dict[str, asyncio.Task[None]] = {}
        self._agents: dict[str, Served] = {}
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Serve as all that were open when the last agent ended. Until cancelled."""
        try:
            for config in sorted(self._root.glob(f"seats/*/config/{CONFIG}")):
                await self._resume(config.parent.parent.name)
            await asyncio.Event().wait()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _resume(self, seat_id: str) -> None:
        """One that cannot be served keeps no other from being."""
        async with self._turn:
            try:
                if seat_id not in self._running:
                    await self._begin(seat_id)
            except (Refused, OSError, ValueError) as error:
                log.error("seat %s is not served: %s", seat_id, error)

    async def open(self, new: NewSeat) -> None:
        """Serve as this one too. Open already: nothing to do. Raises Refused or NotNow."""
        async with self._turn:
            if new.id in self._running:
                return
            if len(self._running) >= SEATS_MAX:
                raise NotNow(f"this amphora carries {SEATS_MAX} already")
            drive = self._place(new.id).drive
            try:
                drive.mkdir(mode=0o700, parents=True, exist_ok=True)
                for name in sorted(new.drive, key=CONFIG.__eq__):  # last, for it says that all is
                    if "/" in name or name in ("", ".", ".."):
                        raise Refused(f"bad file name {name!r}")
                    write(drive / name, new.drive[name].encode())
                await self._begin(new.id)
            except (OSError, msgspec.MsgspecError) as error:
                shutil.rmtree(drive.parent, ignore_errors=True)
                raise Refused(f"the seat cannot be opened: {error}") from error

    async def close(self, seat_id: str) -> None:
        """Nothing of it is left. Not open: nothing to do. Raises NotNow."""
        async with self._turn:
            place = self._place(seat_id)
            task = self._running.pop(seat_id, None)
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            agent = self._agents.pop(seat_id, None)
            if agent is not None:
                await agent.end()
            if place.drive.exists():
                lb_address.remove(_config(place))
            await _forget_namespace(place.namespace)
            await asyncio.to_thread(shutil.rmtree, place.folder.root, ignore_errors=True)
            log.info("seat %s is closed", seat_id)

    def _place(self, seat_id: str) -> Place:
        root = self._root / "seats" / seat_id
        return Place(
            drive=root / "config",
            folder=Folder(root),
            namespace=NAMESPACES / seat_id,
            within=("unshare", "--mount", "sh", "-euc", _script(self._root), "sh", str(root)),
            is_seat=True,
        )

    async def _begin(self, seat_id: str) -> None:
        place = self._place(seat_id)
        config = _config(place)
        await _have_namespace(place.namespace)
        again = place.folder.root / "seats" / seat_id  # inside, it is found by its own name too
        again.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            again.symlink_to("..")
        agent = self._agents[seat_id] = self._serve(config, place)
        self._running[seat_id] = asyncio.create_task(_for_ever(agent.run))
        log.info("seat %s is open", seat_id)


def _script(root: Path) -> str:
    return WITHIN.replace("$ROOT", str(root)).replace("$NAMESPACES", str(NAMESPACES))


def _config(place: Place) -> AgentConfig:
    return msgspec.json.decode((place.drive / CONFIG).read_bytes(), type=AgentConfig)


async def _have_namespace(path: Path) -> None:
    if os.path.ismount(path):
        return
    path.touch()
    code, output = await run("unshare", f"--net={path}", "true", within_s=PROGRAM_S_MAX)
    if code != 0:
        raise Refused(f"no network namespace could be made: {words(output)}")


async def _forget_namespace(path: Path) -> None:
    if os.path.ismount(path):
        code, output = await run("umount", str(path), within_s=PROGRAM_S_MAX)
        if code != 0:
            raise NotNow(f"a network namespace cannot be left: {words(output)}")
    path.unlink(missing_ok=True)


async def _for_ever(part: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """One seat's bug is not another's."""
    while True:
        try:
            await part()
        except Exception:
            log.exception("a seat failed, it is served again")
        await asyncio.sleep(RETRY_S)
