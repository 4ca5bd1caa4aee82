# SPDX-License-Identifier: Apache-2.0
"""Keys of requests that may be repeated: what each made the first time.

For an object of a tree the key is written with the object, in one statement, so that there is
never one without the other. Of two requests that race with one key, the primary key refuses the
second, which then finds what the first has made. For other objects a claim is written first, and
the answer after it. Keys are forgotten after a while.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from colonnade.domain.errors import Conflict
from colonnade.runtime.config import KEPT, Kept
from colonnade.store.postgres.database import BATCH_ROWS, Connection
from colonnade.store.requests.context import Key

PRIMARY_KEY: Final = "idempotency_keys_pkey"

INSERT: Final = """INSERT INTO idempotency_keys (project_id, key, digest, kind, object_id)
    VALUES (%(project)s, %(word)s, %(digest)s, %(kind)s, %(object_id)s)"""


class Repeated(Conflict):
    """Another request with the same key was quicker."""

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is being carried out.")


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a key has made. Neither object nor answer: it is being made."""

    digest: bytes
    kind: str
    object_id: str | None
    answer: bytes | None
    status: int | None
    at: datetime


async def find(connection: Connection, project: str, text: str) -> Made | None:
    cursor = await connection.execute(
        "SELECT digest, kind, object_id, answer, status, at FROM idempotency_keys"
        " WHERE project_id = %s AND key = %s",
        [project, text],
    )
    row: Sequence[object] | None = await cursor.fetchone()
    if row is None:
        return None
    return msgspec.convert(dict(zip(Made.__struct_fields__, row, strict=True)), Made)


async def claim(connection: Connection, key: Key) -> bool:
    """False: somebody has it."""
    cursor = await connection.execute(
        INSERT + " ON CONFLICT DO NOTHING", msgspec.structs.asdict(key) | {"object_id": None}
    )
    return cursor.rowcount == 1


async def answered(connection: Connection, key: Key, status: int, answer: bytes) -> None:
    await connection.execute(
        "UPDATE idempotency_keys SET status = %s, answer = %s WHERE project_id = %s AND key = %s",
        [status, answer, key.project, key.word],
    )


async def unclaim(connection: Connection, key: Key) -> None:
    """Nothing was made, so the key may be used again."""
    await connection.execute(
        "DELETE FROM idempotency_keys WHERE project_id = %s AND key = %s AND answer IS NULL"
        " AND object_id IS NULL",
        [key.project, key.word],
    )


async def forget_old(connection: Connection, kept: Kept = KEPT) -> int:
    """One batch of those that are too old or too many. How many went."""
    cursor = await connection.execute(
        """DELETE FROM idempotency_keys WHERE (project_id, key) IN (
            SELECT project_id, key FROM idempotency_keys
            WHERE at < now() - make_interval(secs => %(hours)s * 3600)
                OR at < (SELECT at FROM idempotency_keys ORDER BY at DESC OFFSET %(most)s LIMIT 1)
            ORDER BY at LIMIT %(batch)s FOR UPDATE SKIP LOCKED)""",
        {"hours": kept.idempotency_hours, "most": kept.idempotency_max, "batch": BATCH_ROWS},
    )
    return cursor.rowcount
