# SPDX-License-Identifier: Apache-2.0
"""The agent's process: put its parts together and run them until it is told to end.

haproxy goes on when the agent ends, and the next agent adopts it. This is the one place with a
catch for everything: one part's bug must not silence the heartbeats of an amphora that serves.
"""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

import colonnade
from colonnade.agent.apply.amphora import Amphora
from colonnade.agent.apply.errors import NotNow, Older, Refused
from colonnade.agent.apply.vips import Vips
from colonnade.agent.bgp.process import Bird
from colonnade.agent.bgp.speaker import Speaker
from colonnade.agent.controllers import Controllers, Expired, NobodyAnswers, pause
from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.reloads import Limits, TooLittleMemory
from colonnade.agent.haproxy.status import Watch
from colonnade.agent.haproxy.watchdog import Pulse
from colonnade.agent.heartbeat import restart_notice
from colonnade.agent.heartbeat.sender import HeartbeatSender
from colonnade.agent.identity import Identity, Unusable
from colonnade.agent.keepalived.half import Half
from colonnade.agent.keepalived.process import Keepalived
from colonnade.agent.logs.shipping import Logs
from colonnade.agent.logs.spool import Spool
from colonnade.agent.network import interfaces, lb_address
from colonnade.agent.own_log import OwnLog
from colonnade.agent.own_troubles import Troubles
from colonnade.agent.place import Place
from colonnade.agent.seats import Seats
from colonnade.agent.server import application
from colonnade.protocol import paths
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.messages import PORT_AGENT, PORT_TASKS, AgentConfig, Info, Report
from colonnade.runtime.listener import Bounds, accepting, protocols_of
from colonnade.runtime.sockets import tcp_listener
from colonnade.runtime.termination import until_told

log = logging.getLogger(__name__)
STATISTICS_S: Final = 10.0
PULL_S: Final = 60.0
BOOT_BEATS_S: Final = (0.0, 1.0, 1.0, 2.0)  # a lost first heartbeat would look like a failed boot
RETRY_S: Final = 1.0
KEPT_S: Final = 3.0  # between two tries to serve again what was served before a boot
FROM_THE_CONTROL_PLANE: Final = Bounds(connections=128, of_one_peer=64)


class Agent:
    """Of an amphora, or of a seat on one. `seats`: those that it carries."""

    def __init__(self, config: AgentConfig, place: Place, seats: Seats | None = None) -> None:
        drive, folder, namespace, within, _ = place
        self._config = config
        self._is_seat = place.is_seat
        self._seats = seats
        self._tasks = asyncio.Event()
        self._haproxy = Haproxy(config.haproxy, folder, namespace, within)
        self._watch = Watch(folder, self._haproxy)
        limits = Limits(
            pause_s=config.reload_pause_s,
            old_workers_max=config.old_workers_max,
            memory_reserve_mib=config.memory_reserve_mib,
        )
        self._watch.old_workers_max = config.old_workers_max
        self._keepalived = keepalived = Keepalived(config.keepalived, folder, namespace)
        self._watch.troubles = Troubles(folder, self._haproxy, keepalived).look
        self._half = Half(self._haproxy, keepalived)
        self._half.on_role = self._watch.role_changed
        self._watch.role = lambda: self._half.role
        self._watch.gave_up = lambda: self._half.is_stuck
        self._speaker = Speaker(self._haproxy, Bird(config.bird, folder, namespace))
        self._speaker.on_heard = self._watch.look
        self._watch.is_heard = lambda: self._speaker.is_heard
        vips = Vips(self._half, self._speaker)
        self._amphora = Amphora(folder, self._haproxy, self._watch, vips, limits)
        self._identity = Identity(config.amphora_id, drive)
        self._heartbeats = HeartbeatSender(config.amphora_id, self._identity.key, folder)
        # Those of its birth may be gone since, and no controller there to say who came.
        self._heartbeats.receivers = restart_notice.told_last(folder).receivers or config.receivers
        self._heartbeats.generation = lambda: self._amphora.generation
        self._heartbeats.on_tasks = self._tasks.set
        self._watch.on_news = self._heartbeats.tell
        self._controllers = Controllers(config.controllers, self._identity.for_servers)
        spool = Spool(folder.access_logs, config.logs)
        self._logs = Logs(folder.access_socket, spool, self._controllers.log_places, namespace)

    async def run(self) -> None:
        """Until cancelled."""
        if self._is_seat:
            lb_address.add(self._config)
        else:
            await lb_address.have_lb_address(self._config)
        tasks, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self._heartbeats, local_addr=(self._config.lb_network_ip, PORT_TASKS)
        )
        try:
            await self._serve()
        finally:
            tasks.close()  # a seat that is opened after this one may be given its address

    async def _serve(self) -> None:
        await self._amphora.resume()
        runner = web.AppRunner(
            application(self._amphora, self._watch, await self._about(), self._seats),
            access_log=None,
            handle_signals=False,
        )
        await runner.setup()
        door = accepting(
            tcp_listener(self._config.lb_network_ip, PORT_AGENT),
            protocols_of(runner),
            self._identity.for_clients,
            FROM_THE_CONTROL_PLANE,
        )
        gc.collect()
        gc.freeze()
        log.info("agent is ready")
        try:
            async with door:
                await asyncio.gather(
                    _for_ever(self._return),
                    *([] if self._seats is None else [_for_ever(self._seats.run)]),
                    _for_ever(self._watch.run),
                    _for_ever(self._beat),
                    _for_ever(Pulse(self._haproxy).run),
                    _for_ever(self._half.run),
                    _for_ever(self._speaker.run),
                    _for_ever(self._count),
                    _for_ever(self._pull),
                    _for_ever(self._logs.run),
                )
        finally:
            await runner.cleanup()
            await self._amphora.close()

    async def end(self) -> None:
        """What went on when `run` was cancelled ends too."""
        await self._speaker.end()
        await self._haproxy.stop()
        await self._keepalived.stop()

    async def _about(self) -> Info:
        return Info(
            amphora_id=self._config.amphora_id,
            agent_version=colonnade.__version__,
            haproxy_version=await self._haproxy.version(),
            generation=0,
            started_at=time.time(),
        )

    async def _return(self) -> None:
        """After a boot of the machine: to what was served before it."""
        is_back = False
        while not is_back:
            is_back = await self._amphora.serve_kept()
            await asyncio.sleep(0 if is_back else KEPT_S)
        await asyncio.get_running_loop().create_future()  # that was all

    async def _beat(self) -> None:
        for wait in BOOT_BEATS_S:
            await asyncio.sleep(wait)
            self._heartbeats.beat(await self._watch.refresh())
        while True:
            is_lent = self._amphora.is_lent
            beat_s = self._config.heartbeat_s if is_lent else self._config.heartbeat_spare_s
            await self._until_beat(beat_s, is_lent)
            self._heartbeats.beat(await self._watch.refresh())

    async def _count(self) -> None:
        """Beside the heartbeats: thousands of servers in many workers take their time."""
        while True:
            await asyncio.sleep(STATISTICS_S)
            if self._amphora.is_lent:
                self._heartbeats.count(await self._watch.count())

    async def _until_beat(self, seconds: float, is_lent: bool) -> None:
        """Wait; a spare that is lent beats at the serving rate at once."""
        deadline = time.monotonic() + seconds
        while self._amphora.is_lent == is_lent:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, self._config.heartbeat_s))

    async def _pull(self) -> None:
        while True:
            self._tasks.clear()
            await self._pull_once()
            await pause(PULL_S, self._tasks)

    async def _pull_once(self) -> None:
        try:
            wanted = await self._controllers.bundle(self._amphora.generation)
            if wanted is not None:
                await self._apply(wanted)
            elif not self._tasks.is_set():
                await self._amphora.repair()
            peers = await self._controllers.peers(self._identity.authorities())
            if peers.renew:
                await self._renew()
                # The controllers see what is in use by whoever asks: so ask once more.
                peers = await self._controllers.peers(self._identity.authorities())
        except Expired as error:
            log.warning("pull: %s", error)
            await self._come_back()
            return
        except (NobodyAnswers, NotNow, Refused, Unusable, msgspec.MsgspecError) as error:
            log.info("pull: %s", error)
            return
        if peers.controllers and peers.receivers:
            self._controllers.addresses = peers.controllers
            self._heartbeats.receivers = peers.receivers

    async def _come_back(self) -> None:
        try:
            await self._renew()
            self._tasks.set()  # what could not be asked before is asked now
        except (Expired, NobodyAnswers, Unusable, msgspec.MsgspecError) as error:
            log.warning("the certificate has expired and is not renewed: %s", error)

    async def _renew(self) -> None:
        self._identity.renew(await self._controllers.renewal(self._identity.request()))

    async def _apply(self, wanted: Bundle) -> None:
        try:
            await self._amphora.apply(wanted)
        except Older:
            return
        except (Refused, TooLittleMemory) as error:
            failure = Report(generation=wanted.generation, reason=str(error))
            await self._controllers.report(failure)


def main() -> None:
    """Serve as the amphora whose config drive is in place. Returns after SIGTERM or SIGINT."""
    drive = Path(paths.CONFIG_DRIVE)
    config = msgspec.json.decode((drive / "agent.json").read_bytes(), type=AgentConfig)
    own_log = OwnLog(config.amphora_id)
    own_log.begin()
    try:
        asyncio.run(_run_until_told(config, drive))
    except (interfaces.NotThere, interfaces.Failed, OSError) as error:
        log.error("the agent cannot work: %s", error)
        sys.exit(1)
    finally:
        own_log.end()


async def _run_until_told(config: AgentConfig, drive: Path) -> None:
    place = Place(drive, Folder(Path(paths.ROOT)), Path(paths.TRAFFIC_NAMESPACE))
    agent = Agent(config, place, Seats(place.folder.root, Agent))
    if await until_told(agent.run()):
        log.info("agent ends; haproxy goes on")


async def _for_ever(part: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await part()
        except Exception:  # see the module's docstring
            log.exception("%s failed, it is started again", getattr(part, "__qualname__", part))
        await asyncio.sleep(RETRY_S)
