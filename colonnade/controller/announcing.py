# SPDX-License-Identifier: Apache-2.0
"""Wait until a router has heard of the VIPs from an amphora that announces them.

Nobody leaves on account of one that no router leads to. It knows no BGP: an agent says it.
"""

import asyncio
from typing import Final

from colonnade.domain.errors import Unavailable
from colonnade.domain.fleet import Amphora
from colonnade.drivers.amphora.protocol import AmphoraDriver

HEARD_S_MAX: Final = 5.0  # a session takes one or two
LOOK_S: Final = 0.1


async def heard(amphorae: AmphoraDriver, amphora: Amphora) -> None:
    """Raises Unavailable when no router has: it serves what it was told all the same."""
    try:
        async with asyncio.timeout(HEARD_S_MAX):
            while not (await amphorae.observe(amphora)).is_heard:  # noqa: ASYNC110 - asked
                await asyncio.sleep(LOOK_S)
    except TimeoutError as error:
        raise Unavailable(
            f"no router hears of the VIPs from amphora {amphora.id}: look at its BGP sessions there"
        ) from error
