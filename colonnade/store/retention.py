# SPDX-License-Identifier: Apache-2.0
"""What is kept for a time and then forgotten: events, generations, keys of requests, tokens that
expired, counters of amphorae that are gone.

The configuration says for how long. Rows are deleted in batches, each in a statement of its own
that skips locked rows and holds its own locks only for a moment. Any number of processes may sweep
at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from colonnade.runtime.config import KEPT, Kept
from colonnade.store.fleet import failovers, upgrade_rows
from colonnade.store.postgres.database import BATCH_ROWS, PATIENT_S, Connection, Database
from colonnade.store.queue import events
from colonnade.store.reports import folding
from colonnade.store.requests import idempotency, tokens
from colonnade.store.rows import history

PAUSE_S: Final = 0.05  # between two batches, for whoever else works there
# Each removes a batch, and says how many rows went.
FORGOTTEN: Final[Mapping[str, Callable[[Connection, Kept], Awaitable[int]]]] = {
    "events": events.forget_old,
    "generations": history.forget_old,
    "idempotency_keys": idempotency.forget_old,
    "tokens": tokens.forget_old,
    "counters": folding.forget_old,
    "failovers": failovers.forget_old,
    "upgrades": upgrade_rows.forget_old,
}


async def sweep(database: Database, kept: Kept = KEPT) -> Mapping[str, int]:
    """Until nothing is left to forget. How many rows of each went."""
    return {what: await _all(database, kept, forget) for what, forget in FORGOTTEN.items()}


async def _all(
    database: Database, kept: Kept, forget: Callable[[Connection, Kept], Awaitable[int]]
) -> int:
    total = 0
    while True:
        async with database.read(answer_s=PATIENT_S) as connection:
            gone = await forget(connection, kept)
        total += gone
        if gone < BATCH_ROWS:
            return total
        await asyncio.sleep(PAUSE_S)
