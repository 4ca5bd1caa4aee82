# SPDX-License-Identifier: Apache-2.0
"""Forget what is kept for a time only: events, generations, keys of requests.

Each says itself for how long (`forget_old` in the store). It is one key of work, so one process
does it at a time, however many there are.
"""

from typing import Final

from colonnade.domain.errors import ColonnadeError
from colonnade.store.postgres.database import Database
from colonnade.store.retention import sweep

SWEEP_S: Final = 600.0


class Sweeping:
    """The reconciler of `sweeping:all`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reconcile(self, _name: str) -> float | None:
        await sweep(self._database)
        return SWEEP_S

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Nothing to tell an owner: the loop has logged it."""
