# SPDX-License-Identifier: Apache-2.0
"""A compute service in memory, for tests of what stands above it.

It keeps the promises of `ComputeDriver` (tests/contract proves it). `before` is called with
the name of each call and may raise; `kill` is a power cut. Nothing boots: a test that wants
an agent plays it, with what `boots` says it was born with.
"""

from collections.abc import Callable, Sequence

from colonnade.domain.errors import NotFound, Unavailable
from colonnade.domain.ids import AmphoraId
from colonnade.drivers.compute.protocol import Boot, Instance, InstanceState
from tests.fakes.network import FakeNetwork


def _nothing(call: str) -> None:
    """The default of `before`."""


class FakeCompute:
    name = "fake"

    def __init__(
        self, network: FakeNetwork | None = None, before: Callable[[str], None] = _nothing
    ) -> None:
        self.before = before
        self.boots: dict[AmphoraId, Boot] = {}
        self._network = network
        self._instances: dict[AmphoraId, Instance] = {}

    async def create(self, boot: Boot) -> None:
        self.before("compute.create")
        known = self._instances.get(boot.amphora_id)
        if known is not None and known.state is InstanceState.RUNNING:
            return
        if self._network is not None and not self._network.has_port(boot.lb_port_id):
            raise NotFound(f"there is no port {boot.lb_port_id}")
        if boot.carrier_id is not None:
            carrier = self._instances.get(boot.carrier_id)
            if carrier is None:
                raise NotFound(f"there is no amphora {boot.carrier_id}")
            if carrier.state is InstanceState.STOPPED:
                raise Unavailable(f"amphora {boot.carrier_id} does not run")
        if self._network is not None:
            self._network.amphorae.add(boot.amphora_id)
        self.boots[boot.amphora_id] = boot
        self._set(boot.amphora_id, InstanceState.RUNNING)

    async def instance(self, amphora_id: AmphoraId) -> Instance | None:
        self.before("compute.instance")
        return self._instances.get(amphora_id)

    async def instances(self) -> Sequence[Instance]:
        self.before("compute.instances")
        return list(self._instances.values())

    async def destroy(self, amphora_id: AmphoraId) -> None:
        self.before("compute.destroy")
        for seat in self.seats(amphora_id):
            self._set(seat, InstanceState.STOPPED)
            if self._network is not None:
                self._network.lost(seat)
        self._instances.pop(amphora_id, None)
        self.boots.pop(amphora_id, None)
        if self._network is not None:
            self._network.lost(amphora_id)

    def kill(self, amphora_id: AmphoraId) -> None:
        """All of it stops at once, with the seats on it, and nobody is told."""
        for one in (amphora_id, *self.seats(amphora_id)):
            self._set(one, InstanceState.STOPPED)

    def seats(self, amphora_id: AmphoraId) -> list[AmphoraId]:
        """Those on this amphora."""
        return [name for name, boot in self.boots.items() if boot.carrier_id == amphora_id]

    def _set(self, amphora_id: AmphoraId, state: InstanceState) -> None:
        self._instances[amphora_id] = Instance(amphora_id=amphora_id, state=state, host="fake")
