# SPDX-License-Identifier: Apache-2.0
"""Whether this amphora announces its VIPs to routers, and whether they have heard it.

It does while haproxy runs and answers, and was not told to let go of its clients. Invariant: what
is announced is served here. An amphora to which nobody is named runs nothing of this. It knows no
controller; what becomes of an announcement is the router's own affair.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from colonnade.agent.bgp.process import Bird
from colonnade.agent.bgp.text import hearers, text, versions
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.watchdog import Silence, silence
from colonnade.protocol.bundle import Bundle

log = logging.getLogger(__name__)
LOOK_S: Final = 0.1
IDLE_S: Final = 0.5  # between two looks whether there is somebody to hear
ANSWER_S_MAX: Final = 0.12
MISSES_MAX: Final = 2  # one after the other
ASKED_EACH: Final = 5  # looks, while routers hear: it is what is announced that must be quick
AGAIN_S: Final = 1.0  # between two starts of a BIRD that ends
LEAVING_S_MAX: Final = 30.0
TAKEN_BACK_S: Final = 0.2  # until routers lead here no more


class Speaker:
    def __init__(self, haproxy: Haproxy, bird: Bird) -> None:
        self.is_heard = False
        self.on_heard: Callable[[], None] = lambda: None  # called when it is another
        self.served: Callable[[], Bundle | None] = lambda: None
        self._haproxy = haproxy
        self._bird = bird
        self._misses = 0
        self._is_well = True
        self._looks = 0
        self._up: set[int] = set()  # IP versions with a session
        self._silent_until = float("-inf")
        self._started_at = float("-inf")

    async def check(self, wanted: Bundle) -> str:
        """ "" when the VIPs of this bundle could be announced, else why not."""
        if not hearers(wanted):
            return ""
        try:
            return await self._bird.check(text(wanted, announces=True))
        except ValueError as error:
            return f"the VIPs cannot be announced: {error}"

    async def serve(self, wanted: Bundle) -> None:
        """Announce the VIPs of a bundle that is served from now on, or none. It was checked."""
        if not hearers(wanted):
            await self._bird.stop()
        else:
            self._silent_until = float("-inf")
            self._bird.serve(text(wanted, announces=self._may(wanted)))

    def haproxy_ended(self) -> None:
        """At once, for it may be back before anybody looks: others serve meanwhile."""
        self._mark(MISSES_MAX)
        self._say()

    async def let_go(self) -> None:
        """Announce nothing until another bundle is served, or it is clear that nobody ends this
        amphora. Returns when routers have had time to lead elsewhere."""
        bundle = self.served()
        if bundle is None or not hearers(bundle):
            return
        self._silent_until = asyncio.get_running_loop().time() + LEAVING_S_MAX
        self._say()
        await asyncio.sleep(TAKEN_BACK_S)

    async def resume(self, served: Bundle | None) -> None:
        """After a start of the agent: go on as this bundle says."""
        adopted = self._bird.adopt()
        if served is None or not hearers(served):
            await self._bird.stop()
        elif not adopted:
            self._start()

    async def end(self) -> None:
        """Nobody announces any more. `run` was cancelled."""
        await self._bird.stop()

    async def run(self) -> None:
        """Look for ever. Ends only when cancelled."""
        while True:
            bundle = self.served()
            if bundle is None or not hearers(bundle) or not self._bird.is_wanted:
                self._note(is_heard=False)
                await asyncio.sleep(IDLE_S)
            else:
                await self._look(bundle)
                await asyncio.sleep(LOOK_S)

    async def _look(self, bundle: Bundle) -> None:
        await self._listen()
        if self._bird.pid is not None:
            self._bird.forget_output()
            self._say()
        else:
            self._start()
        sessions = versions(bundle)
        self._looks += 1
        if not self.is_heard or self._looks % ASKED_EACH == 0:
            established = await self._bird.established()
            self._up = {sessions[name] for name in established if name in sessions}
        self._note(is_heard=self._up == set(sessions.values()) and self._may(bundle))

    async def _listen(self) -> None:
        if not self._haproxy.is_running:
            self._mark(MISSES_MAX)
            return
        match await silence(self._haproxy, ANSWER_S_MAX):
            case Silence.NONE:
                self._mark(max(self._misses - 1, 0))
            case Silence.IDLE:
                self._mark(min(self._misses + 1, MISSES_MAX))
            case Silence.STOPPED:
                self._mark(MISSES_MAX)

    def _mark(self, misses: int) -> None:
        """As many looks make it well again as made it unwell: one that is just being ended says
        nothing either."""
        self._misses = misses
        if misses in (0, MISSES_MAX):
            self._is_well = misses == 0

    def _may(self, bundle: Bundle) -> bool:
        now = asyncio.get_running_loop().time()
        is_well = self._haproxy.is_running and self._is_well
        return now >= self._silent_until and is_well and bundle.serves

    def _say(self) -> None:
        bundle = self.served()
        if bundle is not None and hearers(bundle) and self._bird.pid is not None:
            self._bird.serve(text(bundle, announces=self._may(bundle)))

    def _start(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._started_at >= AGAIN_S:
            self._started_at = now
            self._bird.start()

    def _note(self, *, is_heard: bool) -> None:
        if is_heard != self.is_heard:
            log.warning("routers %s of the VIPs", "hear" if is_heard else "no more hear")
            self.is_heard = is_heard
            self.on_heard()
