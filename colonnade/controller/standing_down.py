# SPDX-License-Identifier: Apache-2.0
"""Have an amphora let go of its clients before others have its VIPs: one half of a pair gives them
to the other, and any other finishes what is short.

It saves clients time and broken connections. Nothing hangs on it: whatever goes wrong here, the
fence or the route that follows takes the VIPs away.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from colonnade.controller.loop import together
from colonnade.controller.topologies import Wires
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.fleet import Amphora, Cluster, Role
from colonnade.drivers.amphora.protocol import AmphoraDriver

GIVEN_S_MAX: Final = 2.0
LOOK_S: Final = 0.05
DRAIN_S_MAX: Final = 1.0
log = structlog.get_logger()


async def drain(amphorae: AmphoraDriver, leaving: Sequence[Amphora]) -> None:
    """What is short is finished where it began. Who cannot drain does not keep the VIPs."""
    with contextlib.suppress(ColonnadeError, TimeoutError):
        async with asyncio.timeout(DRAIN_S_MAX):
            await together(*map(amphorae.drain, leaving))


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
