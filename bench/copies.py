# SPDX-License-Identifier: Apache-2.0
"""Many load balancers at once: copies of one that the API has made, in SQL.

A copy has every row of the first, with its listeners, events and history, under ids of its own:
whatever looks like an id is replaced, wherever it stands. So it needs to know which tables there
are, and no column of them. Copies are a second apart, the first one is a second older than now.
"""

import re
from collections.abc import Collection, Mapping
from typing import LiteralString

from psycopg import Connection, sql
from psycopg.rows import TupleRow

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

OF_A_TREE: LiteralString = "load_balancer_id = %(root)s"
# In the order of their references: which rows are the first one's.
ROWS: Mapping[str, LiteralString] = {
    "clusters": "id = (SELECT cluster_id FROM load_balancers WHERE id = %(root)s)",
    "load_balancers": "id = %(root)s",
    "listeners": OF_A_TREE,
    "pools": OF_A_TREE,
    "members": OF_A_TREE,
    "generations": OF_A_TREE,
    "events": OF_A_TREE,
}


def copy(database: Connection[TupleRow], root: str, count: int, name: str) -> None:
    """`name` is that of the first one; a copy has its number behind it."""
    values = {"root": root, "count": count, "name": name}
    for table, which in ROWS.items():
        query = sql.SQL("SELECT row_to_json(a)::text FROM {} AS a WHERE " + which)
        rows = database.execute(query.format(sql.Identifier(table)), values).fetchall()
        found = ids([text for (text,) in rows])
        database.execute(statement(table, which, _columns(database, table), found), values)


def ids(texts: Collection[str]) -> list[str]:
    """Whatever looks like one, each once."""
    return sorted({one for text in texts for one in UUID.findall(text)})


def statement(
    table: str, which: LiteralString, columns: Collection[str], found: Collection[str]
) -> sql.Composed:
    text: sql.Composable = sql.SQL("replace(to_jsonb(a)::text, %(name)s, %(name)s || '-' || n)")
    for one in found:
        text = sql.SQL("replace({}, {id}, md5({id} || n)::uuid::text)").format(text, id=one)
    return sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {copied} FROM {table} AS a,"
        " generate_series(1, %(count)s) AS n, jsonb_populate_record(NULL::{table}, ({text})::jsonb"
        " || jsonb_build_object('created_at', now() - n * interval '1 second')) AS b WHERE a."
        + which
    ).format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        copied=sql.SQL(", ").join(sql.Identifier("b", column) for column in columns),
        text=text,
    )


def _columns(database: Connection[TupleRow], table: str) -> list[str]:
    """But for those that PostgreSQL fills by itself."""
    rows = database.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND table_name = %s AND is_generated = 'NEVER' AND is_identity = 'NO'",
        (table,),
    )
    return [name for (name,) in rows]
