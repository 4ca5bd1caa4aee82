# SPDX-License-Identifier: Apache-2.0
"""A whole control plane with a fast clock: real planner, reconcilers, liveness and SQL.

Two controllers, two receivers and two API processes run over the fakes of the drivers and a real
PostgreSQL. Seconds pass in no time. Whatever happens by chance comes from the run's seed.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final, cast

import msgspec
from msgspec.structs import replace

from colonnade.controller.amphorae import Amphorae, Births
from colonnade.controller.clusters import Clusters
from colonnade.controller.leaks import Leaks
from colonnade.controller.loop import Loop, Reconciler
from colonnade.controller.renewals import Certificates
from colonnade.controller.spares import Spares
from colonnade.domain.errors import ColonnadeError, OutOfCapacity, Unavailable
from colonnade.domain.fleet import Role
from colonnade.domain.ids import AmphoraId, ClusterId, PortId, derived_id, new_id
from colonnade.drivers.compute.protocol import ComputeDriver
from colonnade.drivers.network.protocol import NetworkDriver, Port
from colonnade.health.process import Health
from colonnade.health.receiver import Listening
from colonnade.health.senders import Sender
from colonnade.protocol.datagram import Heartbeat
from colonnade.runtime.config import Config, Failovers, Heartbeats
from colonnade.store.fleet import amphora_rows, pairs
from colonnade.store.fleet import daemons as registered
from colonnade.store.fleet.failovers import Rules
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work
from tests.chaos.asking import Asking
from tests.chaos.database import Line, Store, WorldDatabase
from tests.chaos.history import History, Trouble
from tests.chaos.links import Link, Weather
from tests.chaos.loop import Process, outside
from tests.chaos.machines import BEAT_S, BOOT_S, SPARE_BEAT_S, Agents, Machine, Machines
from tests.fakes.network import FakeNetwork
from tests.world import AUTHORITY, SEAL

STANDING: Final = ("leaks:all", "spares:default")
ALLOWED: Final = Heartbeats(
    interval_s=BEAT_S, stale_s=6, spare_interval_s=SPARE_BEAT_S, spare_stale_s=14, boot_s=15
)
# Safe mode as it is, but for its patience: a world is small and short.
LIMITS: Final = Failovers(deaf_s=15, settle_s=8, calm_s=8, trickle_per_minute=12)
WITHOUT_SAFE_MODE: Final = replace(LIMITS, safe_mode=False)
CONFIG: Final = Config(
    state_dir=Path("/"), run_dir=Path("/"), database_url="", spares=2, heartbeats=ALLOWED
)
# Amphorae have learnt of both receivers; else one of them would not count for all of a run.
KNOWN_FOR_LONG: Final = """INSERT INTO receivers
    (address, id, written_at, watching_since, heard_at, listed_since)
    VALUES (%s, %s, now(), now(), now(), to_timestamp(0))"""
# Load balancers of this flavor share amphorae.
PACKED: Final = derived_id("packed")
PER_AMPHORA: Final = 2
SHARES: Final = f'{{"max_load_balancers": {PER_AMPHORA}}}'
PROFILE: Final = """INSERT INTO flavor_profiles (id, name, provider_name, flavor_data)
    VALUES (%s, 'packed', 'amphora', %s)"""
FLAVOR: Final = """INSERT INTO flavors (id, name, description, enabled, flavor_profile_id)
    VALUES (%s, 'packed', '', true, %s)"""
LEAK_PATIENCE_S: Final = 5.0
ROUTED_VIPS: Final = ("192.0.2.0/24", "2001:db8:2::/64")
INBOXES: Final = (0, 8, 1000)  # datagrams for which a socket has room
FLUSH_S: Final = 1.5  # slower than in earnest: most statements of a run are these


class Clock:
    """That of the loop."""

    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Fabric(FakeNetwork):
    """The network, with a witness for each VIP that moves. `is_full`: it has no address left."""

    def __init__(self, history: History) -> None:
        super().__init__(self._refuse)
        self.is_full = False
        self._history = history
        self._last: dict[PortId, AmphoraId] = {}

    async def plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        before = await self.port(port_id)
        port = await super().plug(port_id, amphora_id)
        if port.owner.startswith("lb:") and before.plugged_into != amphora_id:
            last = self._last.get(port_id)
            if before.plugged_into is None and last in self._history.leaving:
                last = None  # it was cut from one that leaves, so nobody had it
            self._history.vip_moved(port_id, last, amphora_id, self.amphorae)
            self._last[port_id] = amphora_id
        return port

    async def unplug(self, port_id: PortId) -> None:
        await super().unplug(port_id)
        self._history.holders.pop(port_id, None)

    def _refuse(self, call: str) -> None:
        if self.is_full and call == "network.create_port":
            raise OutOfCapacity("the subnet has no free address")


class Daemon:
    """A process of the control plane, with a database of its own."""

    def __init__(self, world: "World", name: str) -> None:
        self.process = Process(name)
        self.database = WorldDatabase(world.store, self.process)

    def go_on(self) -> None:
        """After it was stopped."""
        self.process.go_on()


class _Health(Health):
    clock = Clock()
    round_s = FLUSH_S


class Manner(msgspec.Struct, frozen=True):
    """How a world is set up. Whatever this is, the same must hold."""

    in_turn: bool  # amphorae speak to the receivers in turn, not to both
    inbox: int  # datagrams for which a receiver's socket has room
    safe_mode: bool
    layouts: bool = False  # load balancers of several amphorae, and routed ones
    asks: bool = False  # agents ask controllers for what they are to serve, too

    @property
    def limits(self) -> Failovers:
        return LIMITS if self.safe_mode else WITHOUT_SAFE_MODE

    @property
    def receivers(self) -> int:
        """That an amphora speaks to in turn, as it says itself."""
        return 2 if self.in_turn else 1


def by_chance(random: Random, seed: int) -> Manner:
    return Manner(
        in_turn=random.random() < 0.5,
        inbox=random.choice(INBOXES),
        safe_mode=random.random() < 0.75,
        layouts=seed % 4 >= 2,  # both kinds in a range of odd seeds, and of even ones
        asks=seed % 3 == 0,
    )


class Socket:
    """Where datagrams wait while the receiver is stopped. What it has no room for is counted."""

    def __init__(self, room: int) -> None:
        self.waiting: list[tuple[AmphoraId, int, int]] = []
        self._room = room
        self._dropped = 0

    def put(self, datagram: tuple[AmphoraId, int, int]) -> None:
        if len(self.waiting) < self._room:
            self.waiting.append(datagram)
        else:
            self._dropped += 1

    def take(self, _most: int) -> int:
        return 0  # the world hands over what waited as the receiver goes on

    def dropped(self) -> int:
        return self._dropped


class Receiver(Daemon):
    """A health receiver and what waits in its socket."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        nothing = cast(Any, None)  # keys and statuses are not asked for
        database = cast(Database, self.database)
        self._health = _Health(database, nothing, nothing, ALLOWED, world.manner.limits)
        self._senders: dict[AmphoraId, Sender] = {}
        self._agents = world.agents
        self._roles: dict[AmphoraId, Role] = {}  # that are on record
        self._receivers = world.manner.receivers
        self._socket = Socket(world.manner.inbox)
        self._health.receiver.open.append(cast(Listening, self._socket))
        self._health.senders.is_complete = True  # it is told who speaks
        daemon = registered.Daemon(new_id(), registered.Kind.HEALTH, name)
        self.process.begin(self._health.rounds().go_on(daemon))

    @property
    def listens(self) -> bool:
        process = self.process
        return self.database.reachable and not (process.is_stopped or process.is_dead)

    def hear(self, amphora_id: AmphoraId, sequence: int, generation: int) -> None:
        if self.process.is_stopped:
            self._socket.put((amphora_id, sequence, generation))
        elif not self.process.is_dead:
            self._take(amphora_id, sequence, generation)

    def go_on(self) -> None:
        waiting, self._socket.waiting = self._socket.waiting, []
        for datagram in waiting:
            self._take(*datagram)
        self.process.go_on()

    def _take(self, amphora_id: AmphoraId, sequence: int, generation: int) -> None:
        sender = self._senders.setdefault(amphora_id, Sender(amphora_id, b"", 0))
        if sequence > sender.sequence:
            sender.sequence = sequence
            sender.heard_at = self._health.receiver.heard_at = self._health.clock.monotonic()
            beat = Heartbeat(status=b"", load=0.0, haproxy_running=True, receivers=self._receivers)
            self._health.intake.heartbeat(sender, generation, beat)
            role = self._agents.roles().get(amphora_id)
            if role is not None and self._roles.get(amphora_id) is not role:
                self.process.begin(self._record(amphora_id, role))

    async def _record(self, amphora_id: AmphoraId, role: Role) -> None:
        """As `health/intake.py` does with what an amphora says of itself."""
        with suppress(ColonnadeError):
            async with cast(Database, self.database).transaction() as connection:
                await pairs.record_role(connection, amphora_id, role)
                amphora = await amphora_rows.amphora(connection, amphora_id)
            if amphora is not None and amphora.role is role:
                self._roles[amphora_id] = role


class Controller(Daemon):
    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        database = cast(Database, self.database)
        weather = world.weather
        network = cast(NetworkDriver, Link("network", world.network, self.process, weather))
        compute = cast(ComputeDriver, Link("compute", world.compute, self.process, weather))
        agents = cast(Any, Link("amphora", world.agents, self.process, weather))
        rules = Rules(heartbeats=ALLOWED, failovers=world.manner.limits)
        births = Births(CONFIG, world.certificates, SEAL, "haproxy")
        reconcilers: dict[str, Reconciler] = {
            "cluster": Clusters(database, network, compute, agents, rules),
            "amphora": Amphorae(database, network, compute, births, agents),
            "spares": Spares(database, SEAL, CONFIG.spares),
            "leaks": Leaks(database, network, compute, patience_s=LEAK_PATIENCE_S, rules=rules),
        }
        self.clusters = Clusters(database, network, compute, agents, rules)  # for those who ask
        self._loop = Loop(database, reconcilers, holder=name)
        self.process.begin(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await begin_work(cast(Database, self.database), self.process.name)
                break
            except Unavailable:  # it ends, and whoever supervises it starts it again
                await asyncio.sleep(1)
        await self._loop.run()


class World:
    """One run. Begin it with `begin`, within a `WorldLoop`."""

    def __init__(self, line: Line, seed: int, manner: Manner | None = None) -> None:
        self.random = Random(seed)
        by_seed = by_chance(self.random, seed)
        self.layouts = Random(f"layouts {seed}")  # of its own: what else happens stays the same
        self.asking = Asking(seed)
        self.manner = manner or by_seed
        self.history = History(asyncio.get_running_loop().time)
        self.certificates = Certificates(lambda: AUTHORITY, SEAL, days=365)
        self.store = Store(line, self.random)
        self.weather = Weather(self.random)
        self.network = Fabric(self.history)
        self.compute = Machines(self.network, self.history, self._beats)
        self.agents = Agents(self.network, self.compute, self.history)
        self.network.add("vips", *ROUTED_VIPS, via="public")
        self.clusters: dict[PortId, ClusterId] = {}  # by a load balancer's first VIP
        self.deaf: set[AmphoraId] = set()  # whose datagrams are lost
        self.datagrams_lost = 0.0
        self.controllers: list[Controller] = []
        self.receivers: list[Receiver] = []
        self._ended: list[Process] = []

    async def begin(self) -> None:
        await self.store.begin()
        async with self.store.transaction() as connection:
            for number in (1, 2):
                await connection.execute(KNOWN_FOR_LONG, [f"receiver {number}", new_id()])
        if self.manner.layouts:
            async with self.store.transaction() as connection:
                await connection.execute(PROFILE, [PACKED, SHARES])
                await connection.execute(FLAVOR, [PACKED, PACKED])
        self.say(f"{self.manner}")
        for number in (1, 2):
            self.controllers.append(Controller(self, f"controller {number}"))
            self.receivers.append(Receiver(self, f"receiver {number}"))

    async def end(self) -> None:
        """Kill all that is left, and wait for the end of it."""
        machines = [m.process for m in self.compute.machines.values()]
        daemons = [daemon.process for daemon in self.daemons()]
        for process in (*machines, *daemons):
            process.kill()
        for process in (*machines, *daemons, *self._ended):
            await process.ended()

    def daemons(self) -> list[Daemon]:
        return [*self.controllers, *self.receivers]

    def say(self, what: str) -> None:
        self.history.say(what)

    def kill_controller(self, place: int) -> None:
        """Another begins in its place when `again_s` have passed."""
        old = self.controllers[place]
        old.process.kill()
        self._ended.append(old.process)

    def restart_controller(self, place: int) -> None:
        if self.controllers[place].process.is_dead:
            self.controllers[place] = Controller(self, self.controllers[place].process.name)

    def kill_receiver(self, place: int) -> None:
        old = self.receivers[place]
        old.process.kill()
        self._ended.append(old.process)

    def restart_receiver(self, place: int) -> None:
        if self.receivers[place].process.is_dead:
            self.receivers[place] = Receiver(self, self.receivers[place].process.name)

    def resume(self, one: Daemon) -> None:
        one.go_on()
        self.store.next()

    async def _beats(self, machine: Machine) -> None:
        self.history.name(machine.id, machine.process.name)
        if self.manner.asks:
            machine.process.begin(self.asking.go_on(self, machine))
        await asyncio.sleep(self.random.uniform(*BOOT_S))
        sequence = unheard = 0
        trouble: Trouble | None = None
        while True:
            sequence += 1
            generation = self.agents.generation(machine.id)
            is_cut = machine.id in self.agents.cut_off or machine.id in self.deaf
            heard = [False, False]
            for place in (sequence % 2,) if self.manner.in_turn else (0, 1):
                if not is_cut and self.random.random() >= self.datagrams_lost:
                    heard[place] = True
                    outside(self._carry(place, machine.id, sequence, generation))
            listening = [place for place in (0, 1) if self.receivers[place].listens]
            if any(heard[place] for place in listening) or not listening:
                unheard = 0
            else:
                unheard += 1
            if unheard > 1 and trouble is None:
                trouble = self.history.touch(machine.id, "was not heard for a while")
            elif not unheard and trouble is not None:
                self.history.over(trouble)
                trouble = None
            is_serving = machine.id in self.agents.serving
            await asyncio.sleep(BEAT_S if is_serving else SPARE_BEAT_S)

    async def _carry(self, place: int, amphora_id: AmphoraId, sequence: int, g: int) -> None:
        await asyncio.sleep(self.random.uniform(0.0005, 0.01))
        self.receivers[place].hear(amphora_id, sequence, g)
        if self.random.random() < self.datagrams_lost:
            await asyncio.sleep(self.random.uniform(0.1, 5))
            self.receivers[place].hear(amphora_id, sequence, g)


async def begin_work(database: Database, holder: str) -> None:
    """As `controller/process.py` begins."""
    async with database.transaction() as connection:
        await work.void(connection, holder)
        for key in STANDING:
            await work.mark(connection, key)
