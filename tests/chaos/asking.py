# SPDX-License-Identifier: Apache-2.0
"""Agents ask controllers for what they are to serve, as they do when they start, when they are told
that there is something, and now and then besides.

Who answers is chance, and so is when the answer comes: what was pushed may have come before. It has
a chance of its own, so that what else happens to a seed stays the same.
"""

import asyncio
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

from colonnade.domain.errors import ColonnadeError
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import AmphoraId
from colonnade.domain.lifecycle import State
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from tests.chaos.loop import outside
from tests.chaos.machines import Machine

if TYPE_CHECKING:
    from tests.chaos.world import Controller, World

ASK_S: Final = (0.5, 10.0)  # more often than in earnest: worlds are short
ANSWER_S: Final = (0.01, 4.0)


class Asking:
    """`given`: bundles that agents have got by asking, by the state that their amphora was in."""

    def __init__(self, seed: int) -> None:
        self.given: dict[State, int] = dict.fromkeys(State, 0)
        self._random = Random(f"asking {seed}")

    async def go_on(self, world: "World", machine: Machine) -> None:
        """For as long as the machine's process lives."""
        while True:
            await asyncio.sleep(self._random.uniform(*ASK_S))
            controller = self._random.choice(world.controllers)
            if machine.id not in world.agents.cut_off and not controller.process.is_dead:
                controller.process.begin(self._answer(world, controller, machine.id))

    async def _answer(self, world: "World", controller: "Controller", name: AmphoraId) -> None:
        """As `controller/amphora_api.py` does."""
        with suppress(ColonnadeError):
            async with cast(Database, controller.database).read() as connection:
                amphora = await amphora_rows.amphora(connection, name)
            if amphora is None or amphora.state is State.RETIRING:
                return
            found = await controller.clusters.bundle_facts(amphora)
            if found is not None and found[0].generation > world.agents.generation(name):
                outside(self._take(world, amphora, *found))

    async def _take(self, world: "World", amphora: Amphora, wanted: Cluster, wires: Any) -> None:
        await asyncio.sleep(self._random.uniform(*ANSWER_S))
        with suppress(ColonnadeError):
            await world.agents.apply(amphora, wanted, *wires)
            self.given[amphora.state] += 1
