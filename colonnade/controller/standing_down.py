# SPDX-License-Identifier: Apache-2.0
"""Have one half of a pair give the VIPs to the other before it is fenced.

It saves clients the time in which the other half would notice that it is gone. Nothing hangs on it:
whatever goes wrong here, the fence that follows makes the other half take the VIPs.
"""

import asyncio
from typing import Final

import structlog
from msgspec.structs import replace

from colonnade.controller.topologies import Wires
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.fleet import Amphora, Cluster, Role
from colonnade.drivers.amphora.protocol import AmphoraDriver

GIVEN_S_MAX: Final = 2.0
LOOK_S: Final = 0.05
log = structlog.get_logger()


async def stand_down(
    amphorae: AmphoraDriver, amphora: Amphora, wanted: Cluster, wires: Wires
) -> None:
    """Return when it says that it does not hold the VIPs, or cannot be waited for any longer."""
    if wires.pair is None:
        return
    pair = replace(wires.pair, stands_down=True)
    try:
        async with asyncio.timeout(GIVEN_S_MAX):
            await amphorae.apply(amphora, wanted, wires.interfaces, pair)
            while (await amphorae.observe(amphora)).role == Role.MASTER:  # noqa: ASYNC110 - asked
                await asyncio.sleep(LOOK_S)
    except (ColonnadeError, TimeoutError) as error:
        log.warning("a half does not stand down", amphora=amphora.id, reason=str(error))
