# SPDX-License-Identifier: Apache-2.0
"""What the amphora serves, and the way from there to the bundle that is wanted.

Invariant: one bundle is served whole, the old or the new; a refused one changes nothing; an
older generation never replaces a newer; one apply at a time, the newest wish first. What was begun
and not finished when the agent ended is finished, by a reload, when it starts again. It knows no
network.
"""

import asyncio
import logging
import time
from typing import Final

from colonnade.agent.apply.applier import Applier
from colonnade.agent.apply.errors import NotNow, Older, Refused
from colonnade.agent.apply.queue import ApplyQueue, TooMany
from colonnade.agent.apply.transition import Transition
from colonnade.agent.apply.vips import Vips
from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.reloads import Limits
from colonnade.agent.haproxy.status import Watch
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.messages import Applied, Drain, Drained, Means

log = logging.getLogger(__name__)
CLOSED_S_MAX: Final = 10
DRAIN_LOOK_S: Final = 0.02
RESTART_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)  # waits before each try; the last repeats


class Amphora:
    def __init__(
        self,
        folder: Folder,
        haproxy: Haproxy,
        watch: Watch,
        vips: Vips,
        limits: Limits | None = None,
    ) -> None:
        self.present: Bundle | None = folder.present()
        self._folder = folder
        self._haproxy = haproxy
        self._watch = watch
        self._vips = vips
        vips.half.served = vips.speaker.served = lambda: self.present
        self._applier = Applier(folder, haproxy, watch, vips, limits or Limits())
        self._lock = asyncio.Lock()
        self._queue = ApplyQueue(self._lock)
        self._means = Means.NOTHING  # how the present bundle came to be served
        self._restart: asyncio.Task[None] | None = None
        haproxy.on_end = self._haproxy_ended

    @property
    def generation(self) -> int:
        return self.present.generation if self.present is not None else 0

    @property
    def is_lent(self) -> bool:
        """Whether a cluster uses this amphora: it was given a bundle, though that may be empty.
        From then on receivers expect heartbeats at the rate of a serving amphora."""
        return self.present is not None

    @property
    def serves(self) -> bool:
        return self.present is not None and self.present.serves

    async def resume(self) -> None:
        """After a start of the agent: adopt what runs, finish what was begun."""
        async with self._lock:
            adopted = self._haproxy.adopt()
            await self._vips.half.resume(self.present)
            await self._vips.speaker.resume(self.present)
            self._watch.served = self.present
            unfinished = self._folder.unfinished()
            log.info("resumed generation %s, haproxy adopted: %s", self.generation, adopted)
            if unfinished is not None and not self._is_older(unfinished):
                try:
                    await self._change(Transition(self.present, unfinished, force_reload=True))
                    return
                except (Refused, NotNow) as error:
                    log.warning("could not finish a change: %s", error)
                    if adopted:
                        await self._applier.reload()
            else:
                self._folder.settle(self.present)
                if adopted and self.present is not None:
                    await self._applier.adopt(self.present)
            if adopted and not self.serves:
                await self._haproxy.stop()
            if self.serves and not self._haproxy.is_running:
                self._haproxy_ended()

    async def serve_kept(self) -> bool:
        """Serve what was served before the machine was booted, if nothing is served: whether
        nothing is left to do. No controller is needed for it, and whatever one says goes before."""
        kept = self._folder.kept()
        if kept is not None and self.present is None:
            try:
                await self.apply(kept)
            except (Refused, NotNow) as error:
                log.warning("generation %s is not served again yet: %s", kept.generation, error)
                return False
            except Older:
                pass
        self._folder.forget_kept()
        return True

    async def apply(self, wanted: Bundle) -> Applied:
        """Returns when it, or a newer one, is served. Raises Older, Refused, NotNow or
        TooLittleMemory; then all is as before.

        When several bundles wait for a reload, the newest is served and answers for all."""
        if self._is_older(wanted):
            raise Older(self.generation)
        if wanted.unknown_needs:
            unknown = ", ".join(wanted.unknown_needs)
            raise Refused(f"the agent is older than the controller, and does not know: {unknown}")
        try:
            async with self._queue.turn(
                wanted.generation, lambda is_newest: self._pause_s(wanted, is_newest)
            ):
                if not self._is_older(wanted):
                    self._means = await self._change(Transition(self.present, wanted))
                    log.info("serving generation %s by %s", self.generation, self._means)
                applied = Applied(generation=self.generation, means=self._means)
        except TooMany as error:
            raise NotNow(str(error)) from error
        self._watch.look()
        return applied

    def _pause_s(self, wanted: Bundle, is_newest: bool) -> float | None:
        if self._is_older(wanted):
            return 0.0  # a newer one is served, and answers for this one
        return self._applier.pause_s(Transition(self.present, wanted)) if is_newest else None

    def _is_older(self, wanted: Bundle) -> bool:
        return self.present is not None and wanted.is_older(self.present)

    async def repair(self) -> None:
        """Set firewall and interfaces again: a port may have been taken out and put back."""
        async with self._lock:
            if self.present is not None and self.present.interfaces:
                await self._applier.repair(self.present)

    async def drain(self, asked: Drain) -> Drained:
        """Nobody opens a connection for a moment. Returns when none is open, or the time is up; by
        then routers are told no more of the VIPs. Raises NotNow when they cannot be held off."""
        await self._applier.hold_off(min(max(asked.closed_s, 1), CLOSED_S_MAX))
        drained = await self._emptied(asked)
        await self._vips.speaker.let_go()
        return drained

    async def _emptied(self, asked: Drain) -> Drained:
        deadline = time.monotonic() + min(asked.within_ms / 1000, CLOSED_S_MAX)
        while True:
            counted = await self._watch.count()
            active = sum(listener.active_connections for listener in counted.listeners)
            if not active or time.monotonic() >= deadline:
                return Drained(open_connections=active)
            await asyncio.sleep(DRAIN_LOOK_S)

    async def close(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
        await self._applier.close()

    async def _change(self, transition: Transition) -> Means:
        means = await self._applier.carry_out(transition)
        self.present = self._watch.served = transition.wanted
        return means

    def _haproxy_ended(self) -> None:
        self._watch.ended()
        self._vips.half.haproxy_ended()
        self._vips.speaker.haproxy_ended()
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
                objection = await self._applier.start()
            if not objection:
                log.warning("haproxy is back")
                self._watch.look()
            else:
                log.error("haproxy does not start: %s", objection)
            tries += 1
