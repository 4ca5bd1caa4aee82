# SPDX-License-Identifier: Apache-2.0
"""What is kept for a time and then forgotten: events, generations, keys of requests.

Each says itself for how long. Any number of processes may sweep at once.
"""

import asyncio
from typing import Final

import structlog

from colonnade.domain.errors import Unavailable
from colonnade.store import events, history, idempotency
from colonnade.store.database import Database

SWEEP_S: Final = 600.0

log = structlog.get_logger()


async def sweep(database: Database) -> None:
    async with database.read() as connection:
        await events.forget_old(connection)
        await history.forget_old(connection)
        await idempotency.forget_old(connection)


async def sweep_for_ever(database: Database) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        try:
            await sweep(database)
        except Unavailable as error:
            log.warning("nothing was forgotten", reason=str(error))
