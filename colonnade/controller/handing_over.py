# SPDX-License-Identifier: Apache-2.0
"""Move VIPs from amphorae that leave to those that take their place.

Those are ready before, so that a VIP is away for as long as a port takes to move, or a pair to find
out which of the two is to have it. Invariant: who had a VIP is cut off from it before another may
have it. Where it fails on the way, the next look goes on from what there is.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from msgspec.structs import replace

from colonnade.controller.loop import together
from colonnade.controller.planning import Facts, HandOver
from colonnade.controller.standing_down import drain
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId, PortId
from colonnade.drivers.amphora.protocol import AmphoraDriver
from colonnade.drivers.network.protocol import NetworkDriver
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database

READY_S: Final = 1.0  # by then an agent that is told of a port waits for it, on a busy machine too


def moved(facts: Facts, port_ids: Sequence[PortId], into: AmphoraId | None = None) -> Facts:
    """What there is once these ports are plugged there; None: nowhere."""
    after = {name: replace(facts.ports[name], plugged_into=into) for name in port_ids}
    return replace(facts, ports={**facts.ports, **after})


class HandingOver:
    def __init__(self, database: Database, network: NetworkDriver, amphorae: AmphoraDriver) -> None:
        self._database = database
        self._network = network
        self._amphorae = amphorae

    async def to_one(self, step: HandOver, facts: Facts, push: Coroutine[Any, Any, int]) -> int:
        """The amphora serves all but the addresses, and `push` tells it of the ports before they
        come: so it waits for them. Connections that are short end before. The generation that it
        answers with."""
        pushing = asyncio.ensure_future(push)
        try:
            await self._forget([step.amphora])
            if (await asyncio.wait([pushing], timeout=READY_S))[0]:
                pushing.result()  # one that is not well gets no port
            held = (name for name in step.port_ids if facts.ports[name].plugged_into is not None)
            await self.away([*held, *step.cut], facts)
            into = step.amphora.id
            await together(*(self._network.plug(name, into) for name in step.port_ids))
            return await pushing
        finally:
            pushing.cancel()
            await asyncio.wait([pushing])

    async def from_one(
        self, halves: Sequence[Amphora], cut: Sequence[PortId], facts: Facts
    ) -> None:
        """They stand ready, and are to be told again that they may have the VIPs from now on."""
        await self._forget(halves)
        await self.away(cut, facts)

    async def away(self, cut: Sequence[PortId], facts: Facts) -> None:
        """What is short is finished where it began; whoever cannot drain loses the VIPs too."""
        owners = {facts.ports[port_id].plugged_into for port_id in cut}
        await drain(self._amphorae, [a for a in facts.amphorae if a.id in owners])
        await together(*map(self._network.unplug, cut))

    async def _forget(self, amphorae: Sequence[Amphora]) -> None:
        """What they answered for does not hold for what they are told now."""
        async with self._database.transaction() as connection:
            for amphora in amphorae:
                await amphora_rows.forget_applied(connection, amphora)
