# SPDX-License-Identifier: Apache-2.0
"""Watch an amphora that an operator has replaced, and that serves until another does.

As long as its key is there and it is heard, its cluster does not fence it. When it falls silent
the key ends, its cluster is marked, and it goes the way of any that failed.
"""

from typing import Final

from colonnade.domain.errors import ColonnadeError
from colonnade.domain.ids import AmphoraId
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work

LOOK_S: Final = 1.0


class Leaving:
    """The reconciler of `leaving:<id>`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reconcile(self, name: str) -> float | None:
        async with self._database.transaction() as connection:
            amphora = await amphora_rows.amphora(connection, AmphoraId(name))
            if amphora is not None and amphora.is_leaving:
                return LOOK_S
            if amphora is not None and amphora.cluster_id is not None:
                await work.mark(connection, f"cluster:{amphora.cluster_id}")
        return None

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Nothing to tell an owner: the loop has logged it."""
