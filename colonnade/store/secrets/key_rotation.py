# SPDX-License-Identifier: Apache-2.0
"""Everything that is sealed with the master key, and a new seal for all of it.

The rotation may be ended at any moment and begun again: each row is sealed with the old key or the
new one, and both open while the file has both keys. A new kind of sealed row needs a line in
`SEALED`.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from colonnade.domain.errors import Broken
from colonnade.drivers.secrets.database import Seal
from colonnade.store.postgres.database import Connection, Database

ROWS_MAX: Final = 500  # in one transaction
# Table and column; the row's id is the owner that is sealed in.
SEALED: Final = (
    ("amphorae", "heartbeat_key"),
    ("issuer_accounts", "key"),
    ("log_targets", "credentials"),
    ("secrets", "wrapped_key"),
    ("webhooks", "secrets"),
)


class Renewed(msgspec.Struct, frozen=True):
    rows: int = 0  # that were under another key
    lost: int = 0  # that no key opens; they were lost before


async def renew(database: Database, seal: Seal) -> Renewed:
    """All rows under the first key of the file."""
    rows = lost = 0
    for table, column in SEALED:
        after = "00000000-0000-0000-0000-000000000000"
        while True:
            async with database.transaction() as connection:
                some = await _some(connection, table, column, after)
                for row_id, sealed in some:
                    try:
                        fresh = seal.renew(bytes(sealed), row_id)
                    except Broken:
                        lost += 1
                        continue
                    if fresh is not None:
                        rows += await _exchange(connection, table, column, (row_id, sealed, fresh))
            if len(some) < ROWS_MAX:
                break
            after = some[-1][0]
    return Renewed(rows, lost)


async def _some(
    connection: Connection, table: str, column: str, after: str
) -> Sequence[tuple[str, bytes]]:
    cursor = await connection.execute(
        f"SELECT id, {column} FROM {table} WHERE id > %s AND {column} IS NOT NULL"  # noqa: S608
        f" ORDER BY id LIMIT {ROWS_MAX}",
        [after],
    )
    return await cursor.fetchall()


async def _exchange(
    connection: Connection, table: str, column: str, change: tuple[str, bytes, bytes]
) -> int:
    """1, or 0 when somebody else wrote the row meanwhile; the next pass looks at it again."""
    row_id, old, new = change
    cursor = await connection.execute(
        f"UPDATE {table} SET {column} = %s WHERE id = %s AND {column} = %s",  # noqa: S608
        [new, row_id, old],
    )
    return cursor.rowcount
