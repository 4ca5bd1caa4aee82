# SPDX-License-Identifier: Apache-2.0
"""This amphora as one half of an active/standby pair: may it hold the VIPs, and does it?

Whether it may is a file that keepalived watches: not while haproxy does not run or does not answer,
nor while it was told to stand down. Whether it does is what the kernel has, not what keepalived
says. Invariant: one that has no other half keeps the VIPs, whatever is wrong with it. While an
amphora serves alone, nothing here runs. It knows no controller.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from ipaddress import ip_interface
from pathlib import Path
from typing import Final

from colonnade.agent.folder import write_if_room
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.watchdog import Silence, silence
from colonnade.agent.keepalived.pair_fence import PairFence, routed_vips
from colonnade.agent.keepalived.process import Keepalived
from colonnade.agent.keepalived.text import Surroundings, text
from colonnade.agent.network.nftables import NftError
from colonnade.protocol.bundle import Bundle, Pair
from colonnade.protocol.messages import Role

log = logging.getLogger(__name__)
LOOK_S: Final = 0.1
ALONE_S: Final = 0.5  # between two looks whether there is another half by now
STANDBY_S: Final = 0.5  # between two looks whether all is well of a half without VIPs that was well
ANSWER_S_MAX: Final = 0.12
MISSES_MAX: Final = 2  # one after the other
AGAIN_S: Final = 1.0  # between two starts of a keepalived that ends


class Half:
    def __init__(self, haproxy: Haproxy, keepalived: Keepalived) -> None:
        self.role = ""
        self.is_fit = not keepalived.says_unfit
        self.on_role: Callable[[], None] = lambda: None  # called when it is another
        self.served: Callable[[], Bundle | None] = lambda: None
        self._haproxy = haproxy
        self._keepalived = keepalived
        self._fence = PairFence(keepalived.fence_files, haproxy.namespace)
        self._misses = 0
        self._looked_at = self._started_at = float("-inf")
        self._lock = asyncio.Lock()  # a look must not start again what is being ended

    @property
    def is_stuck(self) -> bool:
        """haproxy runs and does not answer."""
        return self._misses >= MISSES_MAX

    async def check(self, wanted: Bundle, names: Mapping[str, str]) -> str:
        """ "" when keepalived could serve this bundle, else why not."""
        if wanted.pair is None:
            return ""
        try:
            file = self._text(wanted, wanted.pair, names)
        except (ValueError, KeyError) as error:
            return f"the other half cannot be spoken with: {error}"
        return await self._keepalived.check(file)

    async def serve(self, wanted: Bundle, names: Mapping[str, str]) -> None:
        """Be the half that the bundle says, or none. It was checked."""
        async with self._lock:
            if wanted.pair is None:
                self._fence.retire()
                await self._keepalived.stop()
                await self._fence.forget()
                self._note("")
            else:
                await self._speak(wanted, wanted.pair, names)

    def go_on(self, served: Bundle | None) -> None:
        """What it was told to be came to nothing: it is the half that this bundle says."""
        if served is not None and served.pair is not None:
            self._keepalived.is_wanted = True
            self._fence.prepare(routed_vips(served))

    async def _speak(self, wanted: Bundle, pair: Pair, names: Mapping[str, str]) -> None:
        vips = routed_vips(wanted)
        self._fence.prepare(vips)
        if vips and self.role != Role.MASTER:
            await self._fence.put_up(vips)
        if pair.stands_down or self._keepalived.pid is None:
            self._mark(is_fit=not pair.stands_down)
        self._keepalived.serve(self._text(wanted, pair, names))

    def _text(self, wanted: Bundle, pair: Pair, names: Mapping[str, str]) -> str:
        """Raises ValueError, KeyError."""
        roles = self._keepalived.fence_files.roles if routed_vips(wanted) else None
        return text(pair, wanted.interfaces, names, Surroundings(self._keepalived.unfit, roles))

    def stand(self, wanted: Bundle) -> None:
        """Of what it serves nothing is another but whether it may hold the VIPs."""
        served = self.served()
        if wanted.pair is not None and served is not None and wanted.pair != served.pair:
            self._mark(is_fit=not wanted.pair.stands_down)

    def haproxy_ended(self) -> None:
        """At once, for it may be back before anybody looks: the other half serves meanwhile."""
        bundle = self.served()
        if bundle is not None and bundle.pair is not None and bundle.pair.peer:
            self._mark(is_fit=False)

    async def resume(self, served: Bundle | None) -> None:
        """After a start of the agent: go on as the half that this bundle says."""
        adopted = self._keepalived.adopt()
        if served is None or served.pair is None:
            await self._keepalived.stop()
        elif not adopted:
            self._start()

    async def run(self) -> None:
        """Look for ever. Ends only when cancelled."""
        while True:
            async with self._lock:
                bundle = self.served()
                if bundle is None or bundle.pair is None:
                    self._note("")
                elif self._keepalived.is_wanted:
                    await self._look(bundle, bundle.pair)
            if bundle is None or bundle.pair is None:
                await asyncio.sleep(ALONE_S)
            elif not self._keepalived.is_wanted or self._misses in (0, MISSES_MAX):
                await asyncio.sleep(LOOK_S)

    async def _look(self, bundle: Bundle, pair: Pair) -> None:
        now = asyncio.get_running_loop().time()
        is_standby = self.is_fit and self.role == Role.BACKUP
        if not is_standby or now - self._looked_at >= STANDBY_S:
            self._looked_at = now
            await self._look_after(bundle, pair)
        pid = self._keepalived.pid or self._haproxy.pid
        first = next(address for one in bundle.interfaces for address in one.floating)
        holds = pid is not None and has_address(Path(f"/proc/{pid}/net"), first)
        self._note(Role.MASTER if holds else Role.BACKUP)
        try:
            await self._fence.follow(routed_vips(bundle), holds=holds)
        except NftError as error:
            log.error("the fence of this half is not as it should be: %s", error)

    async def _look_after(self, bundle: Bundle, pair: Pair) -> None:
        """What there is to mend."""
        self._mark(is_fit=await self._may(bundle, pair))
        if self._keepalived.is_stopped:
            log.error("keepalived is stopped: it is ended")
            self._keepalived.kill()
        elif self._keepalived.pid is None:
            self._start()
        self._keepalived.forget_output()

    async def _may(self, bundle: Bundle, pair: Pair) -> bool:
        if pair.stands_down:
            return False
        if not pair.peer or not bundle.serves:
            return True
        if not self._haproxy.is_running:
            self._misses = 0
            return False
        match await silence(self._haproxy, ANSWER_S_MAX):
            case Silence.NONE:
                self._misses = 0
            case Silence.IDLE:
                self._misses = min(self._misses + 1, MISSES_MAX)
            case Silence.STOPPED:
                self._misses = MISSES_MAX
        return not self.is_stuck

    def _start(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._started_at >= AGAIN_S:
            self._started_at = now
            self._keepalived.start()

    def _mark(self, *, is_fit: bool) -> None:
        file = self._keepalived.unfit
        if is_fit != self.is_fit or not file.exists():
            log.warning("this half may%s hold the VIPs", "" if is_fit else " not")
            write_if_room(file, b"0\n" if is_fit else b"1\n")
        self.is_fit = is_fit

    def _note(self, role: str) -> None:
        if role != self.role:
            log.warning("role: %s", role or "serves alone")
            self.role = role
            self.on_role()


def has_address(net: Path, address: str) -> bool:
    """Whether an interface has it, as the files of /proc/PID/net say."""
    one = ip_interface(address).ip
    try:
        if one.version == 6:
            return one.packed.hex() in (net / "if_inet6").read_text()
        _, _, after = (net / "fib_trie").read_text().partition(f"|-- {one}\n")
        return after.lstrip().startswith("/32 host LOCAL")
    except OSError:
        return False
