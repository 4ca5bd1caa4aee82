# SPDX-License-Identifier: Apache-2.0
"""The main job on a pair of amphorae: the other half takes over, and a spare makes two of it again.

Only what differs from one amphora is here.
"""

from typing import Final

from colonnade.cli.demo.operator_calls import allocated, make_flavor
from colonnade.cli.demo.scenario import SETTLE_S_MAX, SPARE_S_MAX, Scenario
from colonnade.cli.waiting import until
from colonnade.domain.fleet import Role, Topology

SPARES: Final = 2  # so that a pair can be made at once
DATA: Final = {"loadbalancer_topology": Topology.ACTIVE_STANDBY}


class OnPair(Scenario):
    spares = SPARES

    async def create(self) -> str:
        self.wishes["flavor_id"] = await make_flavor(self.rest, "pairs", DATA)
        said = await super().create()
        await self.serving()
        return said

    async def serving(self) -> str:
        """The id of the active half, once there are two."""

        async def both() -> str:
            halves = await allocated(self.rest, self.load_balancer["id"])
            ids = {str(half["role"]): str(half["id"]) for half in halves}
            return ids[Role.MASTER] if set(ids) == {Role.MASTER, Role.BACKUP} else ""

        within_s = SPARE_S_MAX + SETTLE_S_MAX  # a lost half is replaced by a spare
        return await until(both, within_s=within_s, what="a pair, one half of it active")
