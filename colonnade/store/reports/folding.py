# SPDX-License-Identifier: Apache-2.0
"""Counters of amphorae that are gone become one row for each object: the sums stay what they were.

Each failover leaves rows behind that nobody writes any more, and sums must never go back. So what
such amphorae counted is added to the row of `NOBODY`, and their own rows go, in one statement. What
is of now (open connections) has ended with them.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from colonnade.runtime.config import Kept
from colonnade.store.postgres.database import BATCH_ROWS, ILL_VALUED, Connection
from colonnade.store.reports.traffic import OF_NOW, ListenerTraffic, MemberTraffic
from colonnade.store.trees.records import Statistics, bounded

NOBODY: Final = "00000000-0000-0000-0000-000000000000"


class _Counted(msgspec.Struct, frozen=True):
    """A table of counters, by an object and an amphora. `time`: the column that says when;
    `newest`: those of which the newest value stays."""

    name: str
    key: str
    columns: Sequence[str]
    time: str = "at"
    newest: Sequence[str] = ()


TABLES: Final = (
    _Counted("statistics", "listener_id", Statistics.__struct_fields__),
    _Counted("listener_traffic", "listener_id", ListenerTraffic.__struct_fields__),
    _Counted("member_traffic", "member_id", MemberTraffic.__struct_fields__),
    _Counted("log_counts", "listener_id", ("sent", "dropped"), "updated_at", ("failure",)),
)


def _statement(table: _Counted) -> bytes:
    sums = [name for name in table.columns if name not in OF_NOW]
    ended = [name for name in table.columns if name in OF_NOW]
    columns = [table.key, "amphora_id", table.time, *sums, *ended, *table.newest]
    values = [
        *(table.key, f"'{NOBODY}'", f"max({table.time})"),
        *(bounded(f"sum({name})") for name in sums),
        *("0" for _ in ended),
        *(f"(array_agg({name} ORDER BY {table.time} DESC))[1]" for name in table.newest),
    ]
    changes = [
        f"{table.time} = greatest(t.{table.time}, EXCLUDED.{table.time})",
        *(f"{name} = {bounded(f't.{name}::numeric + EXCLUDED.{name}')}" for name in sums),
        *(f"{name} = EXCLUDED.{name}" for name in table.newest),
    ]
    return f"""WITH gone AS (
            DELETE FROM {table.name} WHERE ctid = ANY(ARRAY(
                SELECT t.ctid FROM {table.name} t
                WHERE t.amphora_id <> '{NOBODY}'
                  AND t.{table.time} < now() - make_interval(secs => %(days)s * 86400)
                  AND NOT EXISTS (SELECT FROM amphorae a WHERE a.id = t.amphora_id)
                LIMIT %(batch)s FOR UPDATE OF t SKIP LOCKED))
            RETURNING {", ".join([table.key, table.time, *sums, *table.newest])}),
        folded AS (
            INSERT INTO {table.name} AS t ({", ".join(columns)})
            SELECT {", ".join(values)} FROM gone GROUP BY {table.key} ORDER BY {table.key}
            ON CONFLICT ({table.key}, amphora_id) DO UPDATE SET {", ".join(changes)})
        SELECT count(*) FROM gone""".encode()  # noqa: S608 - names of our own


_STATEMENTS: Final = [_statement(table) for table in TABLES]


async def forget_old(connection: Connection, kept: Kept) -> int:
    """One batch of each table. How many rows went."""
    gone = 0
    for statement in _STATEMENTS:
        try:
            cursor = await connection.execute(
                statement, {"days": kept.counters_days, "batch": BATCH_ROWS}
            )
        except ILL_VALUED:
            continue  # the object went meanwhile, and all of its rows with it
        (row,) = await cursor.fetchall()
        gone += row[0]
    return gone
