# SPDX-License-Identifier: Apache-2.0
"""What was kept for long enough goes, in batches that wait for nobody; all else stays."""

import asyncio
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest

from colonnade.domain.ids import LoadBalancerId
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.runtime.config import Kept
from colonnade.store.postgres.database import BATCH_ROWS, Database
from colonnade.store.queue import events
from colonnade.store.reports import traffic
from colonnade.store.reports.folding import NOBODY
from colonnade.store.retention import sweep
from colonnade.store.trees.records import statistics
from tests.contract.api_client import Api, api

__all__ = ["api"]

MANY = BATCH_ROWS + 500


async def count(database: Database, sentence: LiteralString) -> int:
    async with database.read() as connection:
        row = await (await connection.execute(sentence)).fetchone()
    assert row is not None
    return int(row[0])


async def run(database: Database, sentence: LiteralString, *values: Any) -> None:
    async with database.read() as connection:
        await connection.execute(sentence, values)


async def with_events(database: Database, number: int, days: float) -> None:
    await run(
        database,
        "INSERT INTO events (object_kind, object_id, kind, message, at)"
        " SELECT 'amphora', gen_random_uuid(), 'spare', '', now() - make_interval(secs => %s)"
        " FROM generate_series(1, %s)",
        days * 86400,
        number,
    )


async def test_old_events_go_in_batches_and_young_ones_stay(database: Database) -> None:
    await with_events(database, MANY, days=91)
    await with_events(database, 7, days=89)
    async with database.read() as connection:
        assert await events.forget_old(connection) == BATCH_ROWS, "one statement, one batch"
    assert (await sweep(database))["events"] == MANY - BATCH_ROWS
    assert await count(database, "SELECT count(*) FROM events") == 7
    assert set((await sweep(database)).values()) == {0}


async def test_of_many_events_the_newest_stay(database: Database) -> None:
    await with_events(database, 50, days=0)
    newest = await count(database, "SELECT max(id) FROM events")
    assert (await sweep(database, Kept(events_max=20)))["events"] == 30
    assert await count(database, "SELECT count(*) FROM events") == 20
    assert await count(database, "SELECT max(id) FROM events") == newest


async def test_of_many_generations_the_newest_stay(api: Api, database: Database) -> None:
    busy, quiet = await api.load_balancer(), await api.load_balancer()
    for number in range(5):
        body = {"loadbalancer": {"name": f"n{number}"}}
        await api.put(f"loadbalancers/{busy['id']}", body)
    assert (await sweep(database, Kept(generations_max=3)))["generations"] == 3
    await run(database, "UPDATE generations SET at = now() - interval '1 year'")
    assert (await sweep(database))["generations"] == 2
    for root, generation in ((busy, 6), (quiet, 1)):
        found = (await api.get(f"loadbalancers/{root['id']}/history"))["history"]
        assert [one["generation"] for one in found] == [generation]


async def test_tokens_go_a_while_after_their_end(database: Database) -> None:
    for name, end in (("over", "31 days"), ("just over", "29 days"), ("good", "-1 day")):
        await run(
            database,
            "INSERT INTO tokens (id, digest, project_id, roles, name, expires_at)"
            " VALUES (gen_random_uuid(), sha256(%s::bytea), 'p', '{}', %s, now() - %s::interval)",
            name,
            name,
            end,
        )
    await run(
        database,
        "INSERT INTO tokens (id, digest, project_id, roles)"
        " VALUES (gen_random_uuid(), sha256('for ever'), 'p', '{}')",
    )
    assert (await sweep(database))["tokens"] == 1
    assert await count(database, "SELECT count(*) FROM tokens WHERE name = 'over'") == 0
    assert await count(database, "SELECT count(*) FROM tokens") == 3


async def test_what_gone_amphorae_counted_stays_in_the_sums(api: Api, database: Database) -> None:
    root = await api.load_balancer(provider="amphora")
    listener = await api.listener(root)
    pool = await api.pool(root, listener_id=listener["id"])
    member = await api.member(pool)
    living, gone = str(uuid4()), [str(uuid4()) for _ in range(3)]
    await run(
        database,
        "INSERT INTO amphorae (id, state, heartbeat_key) VALUES (%s, 'SPARE', '')",
        living,
    )
    for amphora in (living, *gone):
        await _counted(database, listener["id"], member["id"], amphora)

    async def sums() -> list[Any]:
        root_id = LoadBalancerId(root["id"])
        async with database.read() as connection:
            five = await statistics(connection, LOAD_BALANCERS, root_id)
            return [five, *await traffic.of_load_balancer(connection, root_id)]

    before = await sums()
    assert before[1][0].traffic.requests == 40
    assert (await sweep(database))["counters"] == 0, "they may still come back"
    for table in ("statistics", "listener_traffic", "member_traffic"):
        await run(database, f"UPDATE {table} SET at = now() - interval '2 days'")
    before = await sums()
    assert (await sweep(database))["counters"] == 9
    assert await sums() == before
    rows = "SELECT count(*) FROM listener_traffic"
    assert await count(database, rows) == 2, "one that lives, and one for all that are gone"
    await _counted(database, listener["id"], member["id"], str(uuid4()), days=2)
    again = await sums()
    assert (await sweep(database))["counters"] == 3
    assert await sums() == again
    assert await count(database, f"{rows} WHERE amphora_id = '{NOBODY}'") == 1
    assert (await sweep(database))["counters"] == 0, "the sum itself is no amphora that is gone"


async def _counted(
    database: Database, listener: str, member: str, amphora: str, days: float = 0
) -> None:
    at = days * 86400
    await run(
        database,
        "INSERT INTO statistics VALUES (%s, %s, 0, 1, 2, 3, 4, now() - make_interval(secs => %s))",
        *(listener, amphora, at),
    )
    await run(
        database,
        "INSERT INTO listener_traffic VALUES"
        " (%s, %s, 0, 1, 2, 3, 10, 5, 6, 7, 8, 9, 1, now() - make_interval(secs => %s))",
        *(listener, amphora, at),
    )
    await run(
        database,
        "INSERT INTO member_traffic VALUES"
        " (%s, %s, 0, 0, 0, 1, 2, 3, 10, 4, 5, 6, 7, 8, 9, now() - make_interval(secs => %s))",
        *(member, amphora, at),
    )


async def test_lines_of_logs_that_gone_amphorae_sent_stay_in_the_sum(
    api: Api, database: Database
) -> None:
    listener = await api.listener(await api.load_balancer(provider="amphora"))
    for hours, failure in ((50, "older"), (40, "newer")):
        await run(
            database,
            "INSERT INTO log_counts VALUES"
            " (%s, gen_random_uuid(), 5, 1, %s, now() - make_interval(hours => %s))",
            *(listener["id"], failure, hours),
        )
    assert (await sweep(database))["counters"] == 2
    async with database.read() as connection:
        cursor = await connection.execute("SELECT sent, dropped, failure FROM log_counts")
        assert await cursor.fetchall() == [(10, 2, "newer")]


async def test_it_waits_for_nobody_and_nobody_waits_for_it(
    database: Database, database_url: str
) -> None:
    """A row that somebody holds is left for the next time."""
    await with_events(database, 3, days=91)
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SELECT FROM events WHERE id = (SELECT min(id) FROM events) FOR UPDATE")
        async with asyncio.timeout(5):
            assert (await sweep(database))["events"] == 2
    assert (await sweep(database))["events"] == 1


@pytest.mark.parametrize("name", Kept.__struct_fields__)
def test_nothing_is_forgotten_at_once_by_default(name: str) -> None:
    assert getattr(Kept(), name) >= 1
