# SPDX-License-Identifier: Apache-2.0
"""Each noun of a tree is shown alike, whoever asks: in a list, alone, and as it is made; and from
whatever row there is: with all attributes, or as a release wrote it that knew only those that
must be given."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
from msgspec.structs import replace

from colonnade.api.resources.objects import object_of
from colonnade.domain.attributes import described
from colonnade.domain.ids import ProjectId
from colonnade.domain.shape import L7POLICIES, LOAD_BALANCERS, MEMBERS, OF_TYPE, Noun
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.postgres.listing import Wanted
from colonnade.store.postgres.times import time, time_sql
from colonnade.store.trees.sources import SOURCES
from tests.contract.api_client import Api, api

__all__ = ["api"]

# What another attribute or a check makes of one that is not stored.
BOUND = {"insert_headers"}


async def made(api: Api) -> dict[str, tuple[str, Any]]:
    """One of each noun, as it was answered, by the name of its table: (path, object)."""
    root = await api.load_balancer(name="web", tags=["a"], description="x")
    listener = await api.listener(
        root, name="l", allowed_cidrs=["198.51.100.0/24"], connection_limit=9
    )
    pool = await api.pool(root, name="p", session_persistence={"type": "SOURCE_IP"})
    member = await api.member(pool, weight=7, backup=True)
    monitor = await api.monitor(pool, url_path="/x")
    wish: dict[str, Any] = {"listener_id": listener["id"], "action": "REJECT", "position": 1}
    policy = (await api.post("l7policies", {"l7policy": wish}))["l7policy"]
    rules = f"l7policies/{policy['id']}/rules"
    wish = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/x", "invert": True}
    rule = (await api.post(rules, {"rule": wish}))["rule"]
    return {
        "load_balancers": ("loadbalancers", root),
        "listeners": ("listeners", listener),
        "pools": ("pools", pool),
        "members": (f"pools/{pool['id']}/members", member),
        "health_monitors": ("healthmonitors", monitor),
        "l7policies": ("l7policies", policy),
        "l7rules": (rules, rule),
    }


async def both(api: Api, path: str, object_id: str) -> list[Any]:
    """The object, as its list and its own answer show it."""
    listed = next(value for value in (await api.get(path)).values() if value)
    (alone,) = (await api.get(f"{path}/{object_id}")).values()
    return [next(one for one in listed if one["id"] == object_id), alone]


async def test_an_object_is_shown_alike_in_a_list_alone_and_as_it_is_made(api: Api) -> None:
    everything = await made(api)
    assert everything.keys() == {table.name for table in OF_TYPE.values()}
    changing = {"updated_at", "listeners", "pools", "l7policies", "members", "rules",
                "healthmonitor_id"}  # fmt: skip
    for name, (path, answered) in everything.items():
        listed, alone = await both(api, path, answered["id"])
        assert listed == alone, name
        assert {n: v for n, v in alone.items() if n not in changing} == {
            n: v for n, v in answered.items() if n not in changing
        }, name
        table = next(table for table in OF_TYPE.values() if table.name == name)
        msgspec.convert(alone, object_of(table))
        some = await api.get(f"{path}?fields=id&fields=created_at,name")
        (one, *_), *_ = (value for value in some.values() if value)
        assert one == {n: listed[n] for n in ("id", "created_at", "name") if n in listed}


async def test_a_row_of_an_older_release_is_shown_with_defaults(
    api: Api, database: Database
) -> None:
    everything = await made(api)
    for table in OF_TYPE.values():
        path, answered = everything[table.name]
        fields = msgspec.structs.fields(table.type)
        kept = [field.name for field in fields if field.required]
        async with database.transaction() as connection:
            await connection.execute(
                f"UPDATE {table.name} SET body = (SELECT jsonb_object_agg(key, value)"
                " FROM jsonb_each(body) WHERE key = ANY(%s::text[]))",
                [kept],
            )
        for shown in await both(api, path, answered["id"]):
            msgspec.convert(shown, object_of(table))
            assert {n: shown[n] for n in defaults(table)} == defaults(table)


def defaults(table: Noun) -> dict[str, Any]:
    """What is shown of attributes that are not stored."""
    found = described(table.type).items()
    plain = {
        name: one.default
        for name, one in found
        if one.about.shown and not one.required and not one.within and name not in BOUND
    }
    shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plain))
    empty = {name for name, one in found if one.about.null_when_empty and not one.default}
    return shown | dict.fromkeys(empty & shown.keys())


async def test_times_are_shown_alike_by_python_and_by_the_database(database: Database) -> None:
    at = datetime(2026, 1, 31, 23, 59, 59, 999999, UTC)
    zones = (UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=5, minutes=45)))
    async with database.read() as connection:
        for moment in (at.astimezone(zone) for zone in zones):
            cursor = await connection.execute(
                f"SELECT {time_sql('%s::timestamptz')}".encode(), [moment]
            )
            assert await cursor.fetchone() == (time(moment),) == ("2026-01-31T23:59:59",)


class Explaining:
    """A connection that answers with the plan of what it is asked."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def execute(self, query: bytes, parameters: Any) -> Any:
        return await self.connection.execute(b"EXPLAIN " + query, parameters)


async def plan(connection: Connection, table: Noun, wanted: Wanted) -> str:
    explaining: Any = Explaining(connection)
    return "\n".join(row[0] for row in await listing.rows(explaining, SOURCES[table.name], wanted))


async def test_a_page_is_found_by_an_index_wherever_it_is(api: Api, database: Database) -> None:
    """Whatever stands before it is not read, and no order is made of everything."""
    everything = await made(api)
    async with database.transaction() as connection:
        # Which would be cheaper for so few rows.
        await connection.execute("SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off")
        for table in OF_TYPE.values():
            path, shown = everything[table.name]
            within: dict[str, Any] = {}
            if table is MEMBERS or table.above is L7POLICIES:  # listed in their parent only
                within = {table.parent: [path.split("/")[1]]}
            for project in (ProjectId("p"), None):
                wanted = Wanted(project=project, filters=within, limit=10)
                for marker in (None, shown["id"]):
                    steps = await plan(connection, table, replace(wanted, marker=marker))
                    assert "Sort Key: t." not in steps, steps
                    assert "Sort Key: lb." not in steps, steps
                    assert marker is None or re.search(r"Index Cond: .*ROW\(", steps), steps


# So many, and counted, that an index is the cheapest way whenever the planner last looked.
TWINS = """
    INSERT INTO load_balancers (id, cluster_id, project_id, body, created, changed)
    SELECT gen_random_uuid(), cluster_id, project_id,
           (body - 'vip') || jsonb_build_object('name', i::text), created, changed
    FROM load_balancers, generate_series(1, 2000) AS i;
    ANALYZE load_balancers
"""


async def test_a_load_balancer_is_found_by_its_name_through_an_index(
    api: Api, database: Database
) -> None:
    await made(api)
    async with database.transaction() as connection:
        await connection.execute(TWINS)
        steps = await plan(connection, LOAD_BALANCERS, Wanted(filters={"name": ["web"]}))
    assert "load_balancers_name" in steps, steps
    assert len((await api.get("loadbalancers?name=web"))["loadbalancers"]) == 1
    assert (await api.get("loadbalancers?name="))["loadbalancers"] == []
