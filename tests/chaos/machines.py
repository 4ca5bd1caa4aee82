# SPDX-License-Identifier: Apache-2.0
"""Amphorae of the world: machines that boot, beat, serve, freeze, forget and die.

What they are told is kept by the fakes (tests/fakes), which pass the drivers' contract tests. A
frozen one answers when it goes on. One that is cut off serves, and no control plane reaches it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from colonnade.domain.errors import Unreachable
from colonnade.domain.fleet import Amphora, Cluster, Role
from colonnade.domain.ids import AmphoraId, ClusterId
from colonnade.drivers.compute.protocol import Boot
from colonnade.protocol.bundle import Interface, Pair
from tests.chaos.history import History
from tests.chaos.loop import Process
from tests.fakes.amphora import FakeAmphorae
from tests.fakes.compute import FakeCompute
from tests.fakes.network import FakeNetwork

BEAT_S: Final = 1.5
SPARE_BEAT_S: Final = 4.0
BOOT_S: Final = (0.3, 2.0)
DESTROY_S: Final = 0.1

Hear = Callable[[AmphoraId, int, int], None]  # amphora, sequence, generation


class Machine:
    """`carrier_id`: of a seat, which is no machine of its own, and ends with that one."""

    def __init__(
        self, amphora_id: AmphoraId, number: int, carrier_id: AmphoraId | None = None
    ) -> None:
        self.id = amphora_id
        self.number = number
        self.carrier_id = carrier_id
        self.is_open = carrier_id is None
        self.born = asyncio.get_running_loop().time()
        self.process = Process(f"amphora {number}")
        self.runs = asyncio.Event()  # not frozen
        self.runs.set()
        self.is_dead = False

    def freeze(self) -> None:
        self.process.stop()
        self.runs.clear()

    def go_on(self) -> None:
        self.process.go_on()
        self.runs.set()

    def end(self) -> None:
        self.is_dead = True
        self.process.kill()
        self.runs.set()


class Machines(FakeCompute):
    """The compute service. `machines`: all that ever booted, in that order."""

    def __init__(
        self, network: FakeNetwork, history: History, beats: Callable[[Machine], Any]
    ) -> None:
        super().__init__(network)
        self.machines: dict[AmphoraId, Machine] = {}
        self.clusters: dict[AmphoraId, ClusterId] = {}  # that they were last told to serve
        self._history = history
        self._beats = beats

    async def create(self, boot: Boot) -> None:
        before = self.boots.get(boot.amphora_id)
        await super().create(boot)
        if self.boots.get(boot.amphora_id) is not before:
            machine = Machine(boot.amphora_id, len(self.machines) + 1, boot.carrier_id)
            self.machines[boot.amphora_id] = machine
            if machine.is_open:
                machine.process.begin(self._beats(machine))

    def open(self, amphora_id: AmphoraId) -> None:
        """A seat, by the agent of its carrier."""
        machine = self.machines[amphora_id]
        if not machine.is_open and not machine.is_dead:
            machine.is_open = True
            machine.process.begin(self._beats(machine))

    def beside(self, machine: Machine) -> Sequence[Machine]:
        """All that is on the same amphora, itself too, the amphora first."""
        carrier = machine.carrier_id or machine.id
        found = [m for m in self.machines.values() if carrier in (m.id, m.carrier_id)]
        return sorted(found, key=lambda one: one.id != carrier)

    async def destroy(self, amphora_id: AmphoraId) -> None:
        machine = self.machines.get(amphora_id)
        if machine is not None and not machine.is_dead:
            self._history.fence_begins(self.clusters.get(amphora_id, ""), amphora_id)
            await asyncio.sleep(DESTROY_S)
            self._end(amphora_id)
            self._history.fence_ends(amphora_id)
        await super().destroy(amphora_id)

    def power_cut(self, amphora_id: AmphoraId) -> None:
        """Of the amphora, with all that is on it."""
        assert self._network is not None
        for one in self.beside(self.machines[amphora_id]):
            if not one.is_dead:
                self._end(one.id)
                self.kill(one.id)
                self._network.amphorae.discard(one.id)
                self._network.stopped.add(one.id)

    def acts(self, amphora_id: AmphoraId) -> bool:
        """It runs, and is not frozen."""
        machine = self.machines.get(amphora_id)
        return machine is not None and not machine.is_dead and machine.runs.is_set()

    def running(self) -> Sequence[Machine]:
        return [m for m in self.machines.values() if not m.is_dead]

    def _end(self, amphora_id: AmphoraId) -> None:
        machine = self.machines.get(amphora_id)
        for one in [] if machine is None else self.beside(machine):
            if not one.is_dead and amphora_id in (one.id, one.carrier_id):
                one.end()


class Agents(FakeAmphorae):
    """The agents on these machines."""

    def __init__(self, network: FakeNetwork, machines: Machines, history: History) -> None:
        super().__init__(network)
        self._machines = machines
        self._history = history

    async def apply(
        self,
        amphora: Amphora,
        wanted: Cluster,
        interfaces: Sequence[Interface],
        pair: Pair | None = None,
    ) -> int:
        machine = self._machines.machines.get(amphora.id)
        if machine is not None:
            await machine.runs.wait()
            self._machines.clusters[amphora.id] = wanted.id
            if machine.is_dead:
                raise Unreachable(f"amphora {amphora.id} ended")
        applied = await super().apply(amphora, wanted, interfaces, pair)
        self._history.served.add(amphora.id)
        return applied

    async def open_seat(self, carrier: Amphora, seat: Amphora, drive: Mapping[str, str]) -> None:
        await self._machines.machines[carrier.id].runs.wait()
        await super().open_seat(carrier, seat, drive)
        self._machines.open(seat.id)

    async def close_seat(self, carrier: Amphora, seat: Amphora) -> None:
        await self._machines.machines[carrier.id].runs.wait()
        await super().close_seat(carrier, seat)

    def generation(self, amphora_id: AmphoraId) -> int:
        wish = self.serving.get(amphora_id)
        return 0 if wish is None else wish.generation

    def forget(self, amphora_id: AmphoraId) -> None:
        """Its agent began anew, with an empty folder."""
        self.serving.pop(amphora_id, None)
        self.interfaces.pop(amphora_id, None)
        self.vrrp.forget(amphora_id)

    def roles(self) -> dict[AmphoraId, Role]:
        machines = self._machines
        frozen = {m.id for m in machines.running() if not machines.acts(m.id)}
        return self.vrrp.roles(self._network.amphorae, frozen)
