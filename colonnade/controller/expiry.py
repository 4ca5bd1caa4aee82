# SPDX-License-Identifier: Apache-2.0
"""Tell owners in time that a certificate, CA or CRL of theirs ends.

What ends soon is an issue of the listener or pool that refers to it, from the day that it does
until another is in its place. Nothing that is served changes, and no generation is raised.
"""

from typing import Final

import structlog

from colonnade.domain.errors import ColonnadeError
from colonnade.domain.secrets import READERS
from colonnade.store.postgres.database import Database
from colonnade.store.secrets import references

LOOK_S: Final = 3600.0

log = structlog.get_logger()


class Expiry:
    """The reconciler of `expiry:all`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reconcile(self, _name: str) -> float | None:
        async with self._database.read() as connection:
            found = await references.concerned(connection, READERS)
        for load_balancer_id in found:
            async with self._database.transaction() as connection:
                if await references.note(connection, load_balancer_id):
                    log.info("secrets that expire soon", load_balancer=load_balancer_id)
        return LOOK_S

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Nothing to tell an owner: the loop has logged it."""
