# SPDX-License-Identifier: Apache-2.0
"""Interfaces that a guest is given: from where they appear to the traffic namespace.

A cloud plugs into the machine, which is where the agent is; a machine of namespaces is plugged
into its traffic namespace at once, and nothing is done here. Only what a bundle names is handed
over, so the interface on the LB network never is.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Final

from colonnade.agent.network.links import give_away, mac_of

log = logging.getLogger(__name__)
LOOK_S: Final = 0.05


@contextlib.asynccontextmanager
async def handing_over(macs: Collection[str], namespace: Path) -> AsyncIterator[None]:
    """Meanwhile, whichever of them is here or appears is handed over."""
    looking = asyncio.create_task(_look(macs, namespace))
    try:
        yield
    finally:
        looking.cancel()


async def _look(macs: Collection[str], namespace: Path) -> None:
    while True:
        for index, name in socket.if_nameindex():
            mac = mac_of(name)
            if mac in macs:
                # The kernel would give the next one the same name again.
                _hand_over(index, namespace, f"v{mac.replace(':', '')}")
        await asyncio.sleep(LOOK_S)


def _hand_over(index: int, namespace: Path, name: str) -> None:
    try:
        give_away(index, namespace, name)
        log.info("%s was plugged in", name)
    except OSError as error:
        log.warning("%s stays outside of the traffic namespace: %s", name, error.strerror)
