# SPDX-License-Identifier: Apache-2.0
"""What health receivers say of themselves, so that any of them may judge for all.

All times are the store's own, told as ages in seconds, so no two clocks are compared. How many
of them it takes to call an amphora silent is decided in `health/coverage.py`.
"""

from typing import Final

import msgspec

from colonnade.store.fleet.daemons import LIVE_S
from colonnade.store.postgres.database import Connection

GAP_S: Final = 2.0  # between two writes of one receiver: longer, and it did not write all the time
FORGOTTEN_S: Final = 3600.0
EVER_S: Final = 10 * 365 * 86_400.0


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Ages. What it heard until `written_s` ago is in the store."""

    address: str
    written_s: float
    watched_s: float
    heard_s: float
    listed_s: float


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver knows of itself; ages, as above."""

    id: str
    address: str
    written_s: float
    watched_s: float
    heard_s: float


async def record(connection: Connection, told: Told) -> None:
    """Record a receiver that has just written what it heard. Its watch begins anew when it did not
    write for longer than `GAP_S`, or is another process than before. Receivers that ended so long
    ago that no amphora sends to them any more are forgotten."""
    await connection.execute(
        """INSERT INTO receivers AS r
            (address, id, written_at, watching_since, heard_at, listed_since)
        SELECT %(address)s, %(id)s, now() - make_interval(secs => %(written_s)s),
            now() - make_interval(secs => %(watched_s)s),
            now() - make_interval(secs => %(heard_s)s),
            CASE WHEN EXISTS (SELECT FROM receivers WHERE address <> %(address)s)
                THEN now() ELSE to_timestamp(0) END
        ON CONFLICT (address) DO UPDATE SET id = EXCLUDED.id,
            written_at = EXCLUDED.written_at, heard_at = EXCLUDED.heard_at,
            watching_since = CASE
                WHEN r.id = EXCLUDED.id
                    AND r.written_at >= EXCLUDED.written_at - make_interval(secs => %(gap_s)s)
                THEN greatest(r.watching_since, EXCLUDED.watching_since)
                ELSE EXCLUDED.written_at END,
            -- Nobody forgets an address while no other is there to be told of.
            listed_since = CASE
                WHEN r.written_at < now() - make_interval(secs => %(live_s)s) AND EXISTS (
                    SELECT FROM receivers o WHERE o.address <> r.address
                        AND o.written_at > r.written_at + make_interval(secs => %(live_s)s))
                THEN now() ELSE r.listed_since END""",
        msgspec.structs.asdict(told) | {"gap_s": GAP_S, "live_s": LIVE_S},
    )
    await connection.execute(
        "DELETE FROM receivers WHERE written_at < now() - make_interval(secs => %s)", [FORGOTTEN_S]
    )
    await connection.execute(
        "INSERT INTO heartbeats_remembered (since) VALUES (now()) ON CONFLICT DO NOTHING"
    )


async def everyone(connection: Connection) -> list[Receiver]:
    """The receivers of the last hour, also those that ended. No watch is older than that."""
    cursor = await connection.execute(
        """SELECT r.address, extract(epoch FROM now() - r.written_at)::float,
            extract(epoch FROM now() - greatest(r.watching_since, m.since))::float,
            extract(epoch FROM now() - r.heard_at)::float,
            extract(epoch FROM now() - r.listed_since)::float
        FROM receivers r, heartbeats_remembered m ORDER BY r.address"""
    )
    names = Receiver.__struct_fields__
    return [Receiver(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]
