# SPDX-License-Identifier: Apache-2.0
"""What is kept for a time and then forgotten: events, generations, keys of requests.

Each says itself for how long. Any number of processes may sweep at once.
"""

from colonnade.store.fleet import failovers
from colonnade.store.postgres.database import PATIENT_S, Database
from colonnade.store.queue import events
from colonnade.store.requests import idempotency
from colonnade.store.rows import history


async def sweep(database: Database) -> None:
    async with database.read(answer_s=PATIENT_S) as connection:
        await events.forget_old(connection)
        await history.forget_old(connection)
        await idempotency.forget_old(connection)
        await failovers.forget_old(connection)
