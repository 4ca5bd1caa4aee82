# SPDX-License-Identifier: Apache-2.0
"""What amphorae are made of, and which of them are outdated, as rows.

What makes one outdated is said in `domain/outdated.py`; whoever looked writes it down here, so that
all who show it, or act on it, say the same.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId
from colonnade.domain.outdated import Finding
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Connection


async def record_agent(connection: Connection, amphora_id: AmphoraId, version: str) -> None:
    """The release of its agent, as it told."""
    await connection.execute(
        "UPDATE amphorae SET agent_version = %s WHERE id = %s", [version, amphora_id]
    )


async def living(connection: Connection) -> tuple[datetime, list[Amphora]]:
    """Those that are ready or serve, and the time."""
    cursor = await connection.execute("SELECT now()")
    row = await cursor.fetchone()
    assert row is not None, "there is always a time"
    return row[0], await amphora_rows.living(connection)


class Shown(msgspec.Struct, frozen=True):
    """For people."""

    amphora_id: str
    reason: str


async def everyone(connection: Connection, most: int) -> list[Shown]:
    """Those that are known to be, the longest first."""
    cursor = await connection.execute(
        """SELECT id, outdated FROM amphorae WHERE outdated <> ''
        ORDER BY outdated_since, created_at, id LIMIT %s""",
        [most],
    )
    return [Shown(*row) for row in await cursor.fetchall()]


async def mark(connection: Connection, found: Mapping[AmphoraId, Finding]) -> list[AmphoraId]:
    """What was found of each is so from now on. Those of which it was not known."""
    cursor = await connection.execute(
        """UPDATE amphorae a SET outdated = n.words,
            outdated_since = CASE WHEN n.cured THEN coalesce(a.outdated_since, now()) END
        FROM unnest(%s::uuid[], %s::text[], %s::boolean[]) AS n (id, words, cured)
        WHERE a.id = n.id AND (a.outdated <> n.words OR (a.outdated_since IS NULL) = n.cured)
        RETURNING a.id""",
        [
            list(found),
            [one.words for one in found.values()],
            [one.is_cured for one in found.values()],
        ],
    )
    return [row[0] for row in await cursor.fetchall()]
