# SPDX-License-Identifier: Apache-2.0
"""Bring the amphora from the bundle it serves to the one that is wanted.

Invariant: one bundle is served whole, the old or the new; a refused one changes nothing; an
older generation never replaces a newer; one apply at a time, the newest wish first. What was begun
and not finished when the agent ended is finished, by a reload, when it starts again. It knows no
network.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from colonnade.agent.apply.queue import ApplyQueue, TooMany
from colonnade.agent.folder import Folder, write_if_room
from colonnade.agent.haproxy import statistics
from colonnade.agent.haproxy.certificates import Certificates, is_in_memory
from colonnade.agent.haproxy.console import Silent
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.reloads import Limits, Reloads
from colonnade.agent.haproxy.servers import Servers
from colonnade.agent.haproxy.status import Watch
from colonnade.agent.network import interfaces
from colonnade.agent.network.firewall import Firewall, FirewallError
from colonnade.protocol.bundle import Bundle, Change, plan_change
from colonnade.protocol.messages import Applied

log = logging.getLogger(__name__)
RESTART_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)  # waits before each try; the last repeats


class Refused(Exception):
    """The bundle will not do; the text is haproxy's. What was served goes on."""


class Older(Exception):
    def __init__(self, generation: int) -> None:
        super().__init__(f"generation {generation} is served already")
        self.generation = generation


class NotNow(Exception):
    """The bundle may do later: an interface is not there yet."""


class Amphora:
    """What is served, and the way to change it."""

    def __init__(
        self,
        folder: Folder,
        haproxy: Haproxy,
        watch: Watch,
        namespace: Path,
        limits: Limits | None = None,
    ) -> None:
        self.present: Bundle | None = folder.present()
        self._folder = folder
        self._haproxy = haproxy
        self._watch = watch
        self._namespace = namespace
        self._servers = Servers(haproxy.console)
        self._certificates = Certificates(haproxy.console)
        self._reloads = Reloads(haproxy, limits or Limits())
        self._queue = ApplyQueue()
        self._firewall = Firewall(namespace)
        self._lock = asyncio.Lock()
        self._means = "nothing"  # how the present bundle came to be served
        self._restart: asyncio.Task[None] | None = None
        haproxy.on_end = self._haproxy_ended

    @property
    def generation(self) -> int:
        return self.present.generation if self.present is not None else 0

    @property
    def is_lent(self) -> bool:
        """Whether a cluster has it: it was given a bundle, be there anything to serve or not. The
        receivers expect the heartbeats of one that serves from then on."""
        return self.present is not None

    @property
    def serves(self) -> bool:
        return self.present is not None and self.present.serves

    async def resume(self) -> None:
        """After a start of the agent: adopt what runs, finish what was begun."""
        async with self._lock:
            adopted = self._haproxy.adopt()
            self._watch.served = self.present
            unfinished = self._folder.unfinished()
            log.info("resumed generation %s, haproxy adopted: %s", self.generation, adopted)
            if unfinished is not None and unfinished.generation >= self.generation:
                before, self.present = self.present, None  # a plan from nothing is a reload
                try:
                    await self._change(before, unfinished)
                    return
                except (Refused, NotNow) as error:
                    log.warning("could not finish a change: %s", error)
                    self.present = before
                    if adopted:
                        await self._reloads.reload()
            else:
                self._folder.settle(self.present)
                if adopted and self.present is not None:
                    await self._servers.adopt(self.present)
            if adopted and not self.serves:
                await self._haproxy.stop()
            if self.serves and not self._haproxy.is_running:
                self._haproxy_ended()

    async def apply(self, wanted: Bundle) -> Applied:
        """Returns when it, or a newer one, is served. Raises Older, Refused, NotNow or
        TooLittleMemory; then all is as before.

        Of those that wait for a reload the newest is served, and all are answered by that."""
        if wanted.generation < self.generation:
            raise Older(self.generation)
        if wanted.unknown_needs:
            unknown = ", ".join(wanted.unknown_needs)
            raise Refused(f"the agent is older than the controller, and does not know: {unknown}")
        try:
            with self._queue.waiting(wanted.generation):
                applied = await self._apply_in_turn(wanted)
        except TooMany as error:
            raise NotNow(str(error)) from error
        self._watch.look()
        return applied

    async def _apply_in_turn(self, wanted: Bundle) -> Applied:
        while True:
            pause_s = None
            async with self._lock:
                if self.generation > wanted.generation:
                    return Applied(generation=self.generation, means=self._means)
                if self._queue.is_newest(wanted.generation):
                    pause_s = self._pause_s(wanted)
                    if pause_s == 0:
                        means = await self._change(self.present, wanted)
                        self._means = means
                        log.info("serving generation %s by %s", wanted.generation, means)
                        return Applied(generation=wanted.generation, means=means)
            await self._queue.look_again(pause_s)

    def _pause_s(self, wanted: Bundle) -> float:
        """How long this change has to wait for its reload; 0 when it needs none."""
        if not self._haproxy.is_running or not wanted.serves or not self._reloads_for(wanted):
            return 0.0
        return self._reloads.pause_s()

    def _reloads_for(self, wanted: Bundle) -> bool:
        change = plan_change(self.present, wanted)
        return change.reload or (change.touches_servers and self._servers.needs_reload(change))

    async def repair(self) -> None:
        """Set again what somebody else may have changed: a port taken out and put back."""
        async with self._lock:
            if self.present is not None and self.present.interfaces:
                await self._firewall.repair(self.present.access)
                await self._arrange(self.present)

    async def close(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
        await self._servers.close()

    async def _change(self, before: Bundle | None, wanted: Bundle) -> str:
        change = plan_change(self.present, wanted)
        same = before is not None and before.digest == wanted.digest
        if self.present is not None and self._haproxy.is_running and wanted.serves:
            await self._afford(self.present, wanted)
        try:
            if same and self._haproxy.is_running == wanted.serves:
                self._commit(wanted)
                return "nothing"
            await self._prepare(wanted)
            self._folder.begin(wanted)
            async with self._guarded(before, wanted):
                if change.interfaces:
                    await self._arrange(wanted)
                means = await self._act(change, before, wanted)
        except (Refused, NotNow, FirewallError, OSError) as error:
            self._folder.abandon(before)
            if change.interfaces and before is not None:
                await self._restore_interfaces(before)
            if isinstance(error, OSError):
                raise Refused(f"the amphora cannot write: {error.strerror}") from error
            if isinstance(error, FirewallError):
                raise Refused(str(error)) from error
            raise
        self._commit(wanted)
        return "runtime" if means == "nothing" and change.access else means

    @contextlib.asynccontextmanager
    async def _guarded(self, before: Bundle | None, wanted: Bundle) -> AsyncIterator[None]:
        """What is done inside lets nobody in whom either bundle keeps out."""
        old = before.access if before is not None else ()
        if old == wanted.access and (self.present is not None or not old):
            yield
        else:
            # Where the ports stay the same, one list takes the place of the other at once.
            same_ports = before is not None and before.config == wanted.config
            rules = wanted.access if same_ports else (*old, *wanted.access)
            await self._firewall.set(rules)
            try:
                yield
            except (Refused, NotNow, OSError):
                await self._firewall.widen(old)
                raise
            if not same_ports:
                await self._widen(wanted)

    async def _widen(self, wanted: Bundle) -> None:
        try:
            if self._haproxy.is_running:
                await self._reloads.old_stopped()
        except Silent as error:
            self._firewall.stay_narrow(str(error))
        else:
            await self._firewall.widen(wanted.access)

    async def _afford(self, present: Bundle, wanted: Bundle) -> None:
        if self._reloads_for(wanted):
            await self._reloads.afford(len(wanted.config) / max(1, len(present.config)))

    async def _prepare(self, wanted: Bundle) -> None:
        """Files in place, then haproxy's opinion of the text. Raises Refused."""
        if wanted.secrets and not is_in_memory(self._folder.root):
            raise Refused("private keys are kept in memory only, and the amphora's folder is not")
        try:
            self._folder.write_files(wanted)
            self._folder.stage(wanted)
            objection = ""
            if wanted.serves:
                objection = await self._haproxy.check(self._folder.candidate)
        except ValueError as error:
            objection = str(error)
        if objection:
            raise Refused(objection.replace(str(self._folder.candidate), "haproxy.cfg"))

    async def _act(self, change: Change, before: Bundle | None, wanted: Bundle) -> str:
        if not wanted.serves:
            await self._haproxy.stop()
            self._servers.forget()
            self._folder.place(wanted)
            return "reload"
        if self._haproxy.is_running and not change.reload and before is not None:
            as_it_was = before.config == wanted.config
            if as_it_was and not change.replaced:
                return "nothing"
            if (
                (as_it_was or change.touches_servers)
                and await self._certificates.change(change, wanted)
                and await self._servers.change(change)
            ):
                self._folder.place(wanted)
                return "runtime"
        await self._load(before, wanted, half_done=not change.reload)
        return "reload"

    async def _load(self, before: Bundle | None, wanted: Bundle, *, half_done: bool) -> None:
        """Start or reload on the wanted file. Raises Refused, then the old one is served.

        `half_done`: the running haproxy has been told some of the change already."""
        await self._save_for_reload(before, wanted)
        self._folder.place(wanted)
        running = self._haproxy.is_running
        objection = await (self._reloads.reload() if running else self._haproxy.start())
        self._servers.forget()
        if not objection:
            return
        self._folder.abandon(before)
        if before is not None and before.serves:
            if not self._haproxy.is_running:
                await self._haproxy.start()
            elif half_done:
                await self._reloads.reload()
        raise Refused(objection)

    async def _save_for_reload(self, before: Bundle | None, wanted: Bundle) -> None:
        """What the next process should know of this one: who is down, and the counters."""
        known = {} if before is None else _servers_of(before)
        keep = {name for name, server in _servers_of(wanted).items() if known.get(name) == server}
        text = ""
        if self._haproxy.is_running:
            await self._watch.count()
            try:
                state = await self._haproxy.console.ask("show servers state")
                text = statistics.down_servers(state, keep)
            except Silent as error:
                log.warning("the servers' states are lost: %s", error)
        if not write_if_room(self._folder.server_state, text.encode() or b"1\n"):
            self._folder.server_state.unlink(missing_ok=True)  # none is better than another's

    async def _arrange(self, wanted: Bundle) -> None:
        try:
            await interfaces.arrange(wanted.interfaces, self._namespace)
        except interfaces.NotThere as error:
            raise NotNow(str(error)) from error
        except interfaces.Failed as error:
            raise Refused(str(error)) from error

    async def _restore_interfaces(self, before: Bundle) -> None:
        try:
            await self._arrange(before)
        except (Refused, NotNow) as error:
            log.warning("the interfaces of before are not back: %s", error)

    def _commit(self, wanted: Bundle) -> None:
        if wanted != self.present:
            self._folder.commit(wanted)
        self.present = self._watch.served = wanted

    def _haproxy_ended(self) -> None:
        self._watch.ended()
        if self.serves and (self._restart is None or self._restart.done()):
            log.error("haproxy ended")
            self._restart = asyncio.create_task(self._start_again())

    async def _start_again(self) -> None:
        tries = 0
        while True:
            await asyncio.sleep(RESTART_S[min(tries, len(RESTART_S) - 1)])
            async with self._lock:
                if self._haproxy.is_running or not self.serves:
                    return
                self._servers.forget()
                write_if_room(self._folder.server_state, b"1\n")
                objection = await self._haproxy.start()
            if not objection:
                log.warning("haproxy is back")
                self._watch.look()
            else:
                log.error("haproxy does not start: %s", objection)
            tries += 1


def _servers_of(bundle: Bundle) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (backend.name, server.name): (server.address, server.options)
        for backend in bundle.backends
        for server in backend.servers
    }
