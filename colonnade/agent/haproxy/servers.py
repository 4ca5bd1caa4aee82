# SPDX-License-Identifier: Apache-2.0
"""Changes of servers while haproxy runs, with no reload.

A new server is added before an old one leaves. One that leaves takes no new connection at once
and is deleted when its last one has ended; one with a time to drain goes on with the clients that
stick to it for just that time, and is deleted then with what is left. Whatever haproxy does not
take this way is told to the caller, who reloads; so nothing here needs to be complete.
"""

import asyncio
import contextlib
import logging
import re
from typing import Final

import msgspec

from colonnade.agent.haproxy.console import Console, Silent, speakable
from colonnade.protocol.bundle import Bundle, Change, Server

log = logging.getLogger(__name__)
REMOVAL_RETRY_S: Final = 1.0
REMOVAL_S_MAX: Final = 1800.0  # as long as an old worker may finish after a reload
ADDED: Final = r"New server registered\."
MOVED: Final = r".*(changed|no need to change).*"
DELETED: Final = ("Server deleted.", "No such server.")


class Command(msgspec.Struct, frozen=True):
    text: str
    answer: str = ""  # a pattern for what haproxy says when it did it


def commands(change: Change, leaving: dict[tuple[str, str], Server]) -> list[Command] | None:
    """What to tell haproxy; None when only a reload will do. `leaving` are the servers that wait
    to be deleted. Pure."""
    if change.reload or not all(
        speakable(f"{backend}{s.name}{s.address}{s.options}")
        for backend, s in (*change.added, *change.removed, *change.reweighted)
    ):
        return None
    gone = {(backend, server.name): server for backend, server in change.removed}
    said: list[Command] = []
    for backend, server in change.added:
        old = gone.get((backend, server.name))
        ghost = leaving.get((backend, server.name))
        if old is not None:
            moved = _move(backend, old, server)
            if moved is None:
                return None
            said += moved
        elif ghost is not None:
            if (ghost.address, ghost.options) != (server.address, server.options):
                return None
            said += _set(backend, server)
        else:
            said += _add(backend, server)
    for backend, server in change.reweighted:
        said += _set(backend, server)
    replaced = {(backend, server.name) for backend, server in change.added}
    for key, server in gone.items():
        if key not in replaced:
            state = "drain" if server.drain_seconds else "maint"
            said.append(Command(f"set server {key[0]}/{key[1]} state {state}"))
    return said


class Servers:
    """The servers of the running haproxy, and those that are leaving it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._leaving: dict[tuple[str, str], Server] = {}
        self._deadlines: dict[tuple[str, str], float] = {}
        self._removal: asyncio.Task[None] | None = None
        # Held from the plan of a change, or of a deletion, until it is carried out.
        self._telling = asyncio.Lock()

    def needs_reload(self, change: Change) -> bool:
        """Whether the change surely needs a reload; known without asking haproxy."""
        return commands(change, self._leaving) is None

    async def change(self, change: Change) -> bool:
        """True when haproxy took every change; otherwise it took some, and must reload."""
        async with self._telling:
            return await self._change(change)

    async def _change(self, change: Change) -> bool:
        said = commands(change, self._leaving)
        if said is None:
            return False
        for command in said:
            try:
                answer = await self._console.ask(command.text)
            except Silent as error:
                log.warning("no answer to a command: %s", error)
                return False
            if re.fullmatch(command.answer, answer, re.DOTALL) is None:
                log.info("haproxy wants a reload: %s", answer)
                return False
        self._remember(change)
        return True

    def forget(self) -> None:
        """Forget the servers that are leaving: a new haproxy process never had them."""
        self._leaving.clear()
        self._deadlines.clear()

    async def adopt(self, served: Bundle) -> None:
        """After a running haproxy was adopted: its servers that the bundle lacks are leaving."""
        named = {(backend.name, one.name) for backend in served.backends for one in backend.servers}
        try:
            state = await self._console.ask("show servers state")
        except Silent as error:
            log.warning("servers that leave are not known: %s", error)
            return
        for line in state.splitlines()[2:]:
            fields = line.split(" ")
            key = (fields[1], fields[3]) if len(fields) > 3 else None
            if key is not None and key not in named:
                self._leaves(key, Server(name=key[1], address=""))
                with contextlib.suppress(Silent):  # its time to drain is no longer known
                    await self._console.ask(f"set server {key[0]}/{key[1]} state maint")
        self._remove_soon()

    async def close(self) -> None:
        if self._removal is not None:
            self._removal.cancel()
            await asyncio.gather(self._removal, return_exceptions=True)

    def _remember(self, change: Change) -> None:
        back = {(backend, server.name) for backend, server in change.added}
        for key in back:
            self._leaving.pop(key, None)
        for backend, server in change.removed:
            if (backend, server.name) not in back:
                self._leaves((backend, server.name), server)
        self._remove_soon()

    def _leaves(self, key: tuple[str, str], server: Server) -> None:
        self._leaving[key] = server
        stays_s = server.drain_seconds or REMOVAL_S_MAX
        self._deadlines[key] = asyncio.get_running_loop().time() + stays_s

    def _remove_soon(self) -> None:
        if self._leaving and (self._removal is None or self._removal.done()):
            self._removal = asyncio.create_task(self._remove_when_idle())

    async def _remove_when_idle(self) -> None:
        now = asyncio.get_running_loop().time
        while self._leaving:
            for backend, name in list(self._leaving):
                if (backend, name) not in self._leaving:
                    continue
                overdue = now() > self._deadlines[backend, name]
                if not overdue and self._leaving[backend, name].drain_seconds:
                    continue
                async with self._telling:
                    await self._try_to_delete(backend, name, force=overdue)
            await asyncio.sleep(REMOVAL_RETRY_S)

    async def _try_to_delete(self, backend: str, name: str, *, force: bool) -> None:
        if (backend, name) not in self._leaving:  # it came back while we waited
            return
        try:
            if force:
                await self._console.ask(f"set server {backend}/{name} state maint")
                await self._console.ask(f"shutdown sessions server {backend}/{name}")
            answer = await self._console.ask(f"del server {backend}/{name}")
        except Silent:
            return
        if answer in DELETED:
            self._leaving.pop((backend, name), None)


def _add(backend: str, server: Server) -> list[Command]:
    name = f"{backend}/{server.name}"
    said = [
        Command(
            f"add server {name} {server.address} weight {server.weight} {server.options}".strip(),
            ADDED,
        )
    ]
    if server.enabled:
        said.append(Command(f"enable server {name}"))
    if "check" in server.options.split():
        said.append(Command(f"enable health {name}"))
    return said


def _set(backend: str, server: Server) -> list[Command]:
    name = f"{backend}/{server.name}"
    return [
        Command(f"set server {name} weight {server.weight}"),
        Command(f"set server {name} state {'ready' if server.enabled else 'maint'}"),
    ]


def _move(backend: str, old: Server, new: Server) -> list[Command] | None:
    """The same server at another address. Other options: only a reload will do."""
    if old.options != new.options:
        return None
    address, _, port = new.address.rpartition(":")
    moved = f"set server {backend}/{new.name} addr {address.strip('[]')} port {port}"
    return [Command(moved, MOVED), *_set(backend, new)]
