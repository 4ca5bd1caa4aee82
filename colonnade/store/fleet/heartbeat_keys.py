# SPDX-License-Identifier: Apache-2.0
"""What a receiver must know of an amphora before it believes a word of it.

The key is as sealed as it lies in the table; who opens it is not known here.
"""

from collections.abc import Sequence

from colonnade.domain.ids import AmphoraId
from colonnade.store.postgres.database import Connection


async def sealed_keys(
    connection: Connection, amphora_ids: Sequence[AmphoraId]
) -> dict[AmphoraId, tuple[bytes, int]]:
    """Sealed heartbeat key and the sequence recorded last (0: none), of those that exist."""
    cursor = await connection.execute(
        """SELECT a.id, a.heartbeat_key, coalesce(h.sequence, 0)
        FROM amphorae a LEFT JOIN heartbeats h ON h.amphora_id = a.id
        WHERE a.id = ANY(%s::uuid[])""",
        [list(amphora_ids)],
    )
    return {AmphoraId(row[0]): (bytes(row[1]), row[2]) for row in await cursor.fetchall()}


async def names(connection: Connection) -> list[AmphoraId]:
    """Of all amphorae that exist."""
    cursor = await connection.execute("SELECT id FROM amphorae")
    return [AmphoraId(row[0]) for row in await cursor.fetchall()]
