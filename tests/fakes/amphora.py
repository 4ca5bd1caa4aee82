# SPDX-License-Identifier: Apache-2.0
"""Agents in memory, for tests of what stands above them.

Each remembers the newest wish that it was given and refuses an older one, as a real agent does.
One that does not run, or was cut off, is unreachable. `before` is called with the name of each
call and may raise.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace

from colonnade.domain.errors import Rejected, Unreachable
from colonnade.domain.fleet import Amphora, Cluster, Role
from colonnade.domain.ids import AmphoraId
from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.amphora.protocol import Objection
from colonnade.protocol.bundle import Interface, Pair
from colonnade.protocol.messages import StatusReport
from tests.fakes.network import FakeNetwork
from tests.fakes.vrrp import Vrrp


def _nothing(call: str) -> None:
    """The default of `before`."""


class FakeAmphorae:
    """`network` knows which amphorae run. `cut_off` run, and serve, but do not answer us; `frozen`
    never end a call. A wish with a listener on a port of `hated_ports` is rejected, as by a
    haproxy. No router hears what those in `unheard` announce. `notified` got a notice, `drained`
    let nobody in for a moment. `meanwhile`: what others do as a wish has been taken."""

    name = "fake"

    def __init__(self, network: FakeNetwork, before: Callable[[str], None] = _nothing) -> None:
        self.before = before
        self.cut_off: set[AmphoraId] = set()
        self.frozen: set[AmphoraId] = set()
        self.holding = asyncio.Event()  # a frozen one was called
        self.notified: list[AmphoraId] = []
        self.drained: list[AmphoraId] = []
        self.hated_ports: set[int] = set()
        self.unheard: set[AmphoraId] = set()
        self.serving: dict[AmphoraId, Cluster] = {}
        self.seats: dict[AmphoraId, AmphoraId] = {}  # those open, and on which amphora each is
        self.interfaces: dict[AmphoraId, Sequence[Interface]] = {}
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.vrrp = Vrrp()
        self._network = network
        self._looks: dict[AmphoraId, int] = {}

    def objections(self, tree: LoadBalancer) -> Sequence[Objection]:
        return []

    async def apply(
        self,
        amphora: Amphora,
        wanted: Cluster,
        interfaces: Sequence[Interface],
        pair: Pair | None = None,
    ) -> int:
        self.before("amphora.apply")
        if amphora.id in self.frozen:
            self.holding.set()
            await asyncio.Event().wait()
        self._reach(amphora.id)
        for load_balancer in wanted.load_balancers:
            for listener in load_balancer.listeners:
                if listener.protocol_port in self.hated_ports:
                    raise Rejected(f"cannot bind port {listener.protocol_port}")
        present = self.serving.get(amphora.id)
        served = (0, 0) if present is None else (present.generation, self._looks[amphora.id])
        if served <= (wanted.generation, wanted.look):
            self.serving[amphora.id] = replace(wanted, look=0)  # which is no wish
            self._looks[amphora.id] = wanted.look
            self.interfaces[amphora.id] = interfaces
            if pair is not None:
                self.vrrp.tell(amphora.id, wanted.id, pair)
                self.roles()
        applied = self.serving[amphora.id].generation
        if self.meanwhile is not None:
            await self.meanwhile()
        return applied

    async def observe(self, amphora: Amphora) -> StatusReport:
        self.before("amphora.observe")
        self._reach(amphora.id)
        present = self.serving.get(amphora.id)
        generation = 0 if present is None else present.generation
        role = self.roles().get(amphora.id, "")
        announces = any(one.hearers for one in self.interfaces.get(amphora.id, ()))
        return StatusReport(
            generation=generation,
            haproxy_running=present is not None,
            role=role,
            is_heard=announces and amphora.id not in self.unheard,
        )

    def roles(self) -> dict[AmphoraId, Role]:
        """Of the halves of pairs, those that run."""
        return self.vrrp.roles(self._network.amphorae)

    async def drain(self, amphora: Amphora) -> None:
        self.before("amphora.drain")
        self._reach(amphora.id)
        self.drained.append(amphora.id)

    async def open_seat(self, carrier: Amphora, seat: Amphora, drive: Mapping[str, str]) -> None:
        self.before("amphora.open_seat")
        self._reach(carrier.id)
        if carrier.id in self._network.amphorae:
            self.seats[seat.id] = carrier.id

    async def close_seat(self, carrier: Amphora, seat: Amphora) -> None:
        self.before("amphora.close_seat")
        self._reach(carrier.id)
        self.seats.pop(seat.id, None)
        self.serving.pop(seat.id, None)

    async def notify(self, amphora: Amphora) -> None:
        self.before("amphora.notify")
        self.notified.append(amphora.id)

    def _reach(self, amphora_id: AmphoraId) -> None:
        if amphora_id not in self._network.amphorae or amphora_id in self.cut_off:
            raise Unreachable(f"amphora {amphora_id} does not answer")
