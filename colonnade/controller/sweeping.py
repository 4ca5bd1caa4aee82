# SPDX-License-Identifier: Apache-2.0
"""Forget what is kept for a time only (`store/retention.py`). It is one key of work, so one process
does it at a time, however many there are.
"""

from typing import Final

from colonnade.controller import account
from colonnade.controller.metrics import FORGOTTEN
from colonnade.domain.errors import ColonnadeError
from colonnade.runtime.config import Kept
from colonnade.store.postgres.database import Database
from colonnade.store.retention import sweep

SWEEP_S: Final = 600.0


class Sweeping:
    """The reconciler of `sweeping:all`."""

    def __init__(self, database: Database, kept: Kept) -> None:
        self._database = database
        self._kept = kept

    async def reconcile(self, _name: str) -> float | None:
        gone = await sweep(self._database, self._kept)
        account.looked("nothing beyond what is kept", f"{sum(gone.values())} rows so")
        for what, count in gone.items():
            FORGOTTEN.labels(what).inc(count)
        return SWEEP_S

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Nothing to tell an owner: the loop has logged it."""
