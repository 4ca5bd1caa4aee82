# SPDX-License-Identifier: Apache-2.0
"""Carry out one transition: files, firewall, interfaces, haproxy, keepalived, BIRD, in this order.

Invariant: a transition ends with the whole of the wanted bundle served, or, when it is refused,
with the whole of the one before. What was begun and not finished is on file, so that the next
agent can finish it. It knows no generation and no queue: its caller is alone.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

from colonnade.agent.apply.errors import NotNow, Refused
from colonnade.agent.apply.transition import Transition
from colonnade.agent.apply.vips import Vips
from colonnade.agent.folder import Folder, write_if_room
from colonnade.agent.haproxy import statistics
from colonnade.agent.haproxy.certificates import Certificates, is_in_memory
from colonnade.agent.haproxy.console import Silent
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.reloads import Limits, Reloads
from colonnade.agent.haproxy.servers import Servers
from colonnade.agent.haproxy.status import Watch
from colonnade.agent.network import interfaces
from colonnade.agent.network.closed_doors import close_doors
from colonnade.agent.network.firewall import Firewall, FirewallError
from colonnade.agent.network.nftables import NftError
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.messages import Means

log = logging.getLogger(__name__)


class Applier:
    def __init__(
        self, folder: Folder, haproxy: Haproxy, watch: Watch, vips: Vips, limits: Limits
    ) -> None:
        self._half, self._speaker = vips
        self._folder = folder
        self._haproxy = haproxy
        self._watch = watch
        self._namespace = haproxy.namespace
        self._servers = Servers(haproxy.console)
        self._certificates = Certificates(haproxy.console)
        self._reloads = Reloads(haproxy, limits)
        self._firewall = Firewall(haproxy.namespace)

    async def carry_out(self, transition: Transition) -> Means:
        """Apply it, and say by which means. Raises Refused, NotNow or TooLittleMemory; then all
        is as before."""
        before, wanted, change = transition.before, transition.wanted, transition.change
        await self._afford(transition)
        try:
            quick = transition.is_same or transition.only_stands
            if quick and self._haproxy.is_running == wanted.serves:
                self._half.stand(wanted)
                self._commit(transition)
                return Means.NOTHING
            await self._prepare(wanted)
            self._folder.begin(wanted)
            async with self._guarded(transition):
                if wanted.pair is None and transition.moves_vips:
                    await self._half.serve(wanted, {})  # it takes away addresses that are to stay
                names = await self._arrange(wanted) if transition.names_interfaces else {}
                if transition.moves_vips and (objection := await self._half.check(wanted, names)):
                    raise Refused(objection)
                if change.interfaces and (objection := await self._speaker.check(wanted)):
                    raise Refused(objection)
                means = await self._act(transition)
            if transition.moves_vips:
                await self._half.serve(wanted, names)
            await self._speaker.serve(wanted)
        except (Refused, NotNow, FirewallError, NftError, OSError) as error:
            self._folder.abandon(before)
            self._half.go_on(before)
            if change.interfaces and before is not None:
                await self._restore_interfaces(before)
            if isinstance(error, OSError):
                raise Refused(f"the amphora cannot write: {error.strerror}") from error
            if isinstance(error, FirewallError | NftError):
                raise Refused(str(error)) from error
            raise
        self._commit(transition)
        return Means.RUNTIME if means is Means.NOTHING and change.access else means

    def pause_s(self, transition: Transition) -> float:
        """Seconds that the transition must wait for its reload; 0 when it needs none."""
        if self._haproxy.is_running and transition.wanted.serves and self._needs_reload(transition):
            return self._reloads.pause_s()
        return 0.0

    async def reload(self) -> None:
        """Have haproxy read its file again, whatever it was told since."""
        await self._reloads.reload()

    async def adopt(self, served: Bundle) -> None:
        """Take note that haproxy runs already and serves this bundle."""
        await self._servers.adopt(served)

    async def start(self) -> str:
        """Start haproxy: "" when it runs, else its words. What an earlier process was told of
        servers is lost."""
        self._servers.forget()
        write_if_room(self._folder.server_state, b"1\n")
        return await self._haproxy.start()

    async def repair(self, served: Bundle) -> None:
        """Set firewall and interfaces again."""
        await self._firewall.repair(served.access)
        await self._arrange(served)

    async def hold_off(self, for_s: int) -> None:
        """Nobody opens a connection for so long. Raises NotNow."""
        try:
            await close_doors(self._namespace, for_s)
        except NftError as error:
            raise NotNow(f"new connections cannot be held off: {error}") from error

    async def close(self) -> None:
        await self._servers.close()

    def _needs_reload(self, transition: Transition) -> bool:
        change = transition.change
        return change.reload or (change.touches_servers and self._servers.needs_reload(change))

    async def _afford(self, transition: Transition) -> None:
        """Raises TooLittleMemory. A forced reload was checked when it was begun the first time."""
        if transition.before is None or transition.force_reload or not transition.wanted.serves:
            return
        if self._haproxy.is_running and self._needs_reload(transition):
            await self._reloads.afford(transition.growth)

    @contextlib.asynccontextmanager
    async def _guarded(self, transition: Transition) -> AsyncIterator[None]:
        """Inside, a client must be allowed by both bundles to open a connection."""
        wanted = transition.wanted
        old = transition.before.access if transition.before is not None else ()
        if old == wanted.access and not (transition.force_reload and old):
            yield
        else:
            # Where the ports stay the same, one list takes the place of the other at once.
            same_ports = transition.keeps_config
            await self._firewall.set(wanted.access if same_ports else (*old, *wanted.access))
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

    async def _act(self, transition: Transition) -> Means:
        wanted, change = transition.wanted, transition.change
        if not wanted.serves:
            await self._haproxy.stop()
            self._servers.forget()
            self._folder.place(wanted)
            return Means.RELOAD
        if self._haproxy.is_running and not change.reload and transition.before is not None:
            if transition.keeps_config and not change.replaced:
                return Means.NOTHING
            if (
                (transition.keeps_config or change.touches_servers)
                and await self._certificates.change(change, wanted)
                and await self._servers.change(change)
            ):
                self._folder.place(wanted)
                return Means.RUNTIME
        await self._load(transition)
        return Means.RELOAD

    async def _load(self, transition: Transition) -> None:
        """Start or reload on the wanted file. Raises Refused, then the old one is served."""
        await self._save_for_reload(transition)
        self._folder.place(transition.wanted)
        running = self._haproxy.is_running
        objection = await (self._reloads.reload() if running else self._haproxy.start())
        self._servers.forget()
        if not objection:
            return
        before = transition.before
        self._folder.abandon(before)
        if before is not None and before.serves:
            if not self._haproxy.is_running:
                await self._haproxy.start()
            elif not transition.change.reload:  # it has been told some of the change already
                await self._reloads.reload()
        raise Refused(objection)

    async def _save_for_reload(self, transition: Transition) -> None:
        """Save which servers are down, and the counters, for the next haproxy process."""
        text = ""
        if self._haproxy.is_running:
            await self._watch.count()
            try:
                state = await self._haproxy.console.ask("show servers state")
                text = statistics.down_servers(state, transition.kept_servers)
            except Silent as error:
                log.warning("the servers' states are lost: %s", error)
        if not write_if_room(self._folder.server_state, text.encode() or b"1\n"):
            self._folder.server_state.unlink(
                missing_ok=True
            )  # an old state would be wrong; none is safe

    async def _arrange(self, wanted: Bundle) -> Mapping[str, str]:
        try:
            return await interfaces.arrange(wanted.interfaces, self._namespace)
        except interfaces.NotThere as error:
            raise NotNow(str(error)) from error
        except interfaces.Failed as error:
            raise Refused(str(error)) from error

    async def _restore_interfaces(self, before: Bundle) -> None:
        try:
            await self._arrange(before)
        except (Refused, NotNow) as error:
            log.warning("the interfaces of before are not back: %s", error)

    def _commit(self, transition: Transition) -> None:
        if transition.force_reload or transition.wanted != transition.before:
            self._folder.commit(transition.wanted)
