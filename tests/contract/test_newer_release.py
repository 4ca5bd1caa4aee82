# SPDX-License-Identifier: Apache-2.0
"""This release reads what the next one has written: rows, bundles, messages, datagrams.

An attribute that nobody here has heard of is put into every object of every type, found by
walking the types, not by a list.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec import inspect

from colonnade.domain.errors import Broken
from colonnade.domain.shape import OF_TYPE
from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.amphora import answers
from colonnade.protocol import datagram, messages
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.datagram import Edge, Heartbeat, Statistics
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.lenient import LenientDecoder, Newer
from colonnade.store.postgres.migrations import migrate
from colonnade.store.queue import work
from colonnade.store.rows.tables import body_of
from tests.contract.api_client import Api, api
from tests.haproxy_extras import EXTRAS
from tests.haproxy_trees import FEATURES
from tests.unit.test_agent_messages import TYPES, examples

__all__ = ["api"]

NEWER = "zz_newer"


def nodes_of(tree: LoadBalancer) -> Iterator[Any]:
    yield tree
    for listener in tree.listeners:
        yield from (listener, *listener.l7policies)
        yield from (rule for policy in listener.l7policies for rule in policy.rules)
    for pool in tree.pools:
        yield from (pool, *pool.members)
        if pool.health_monitor is not None:
            yield pool.health_monitor


NODES = {
    (type(node).__name__, body_of(node)): node
    for cluster in (FEATURES | EXTRAS).values()
    for tree in cluster.load_balancers
    for node in nodes_of(tree)
}


def grown(value: Any, kind: inspect.Type) -> Any:
    """The plain value with something unheard of in each object."""
    if isinstance(kind, inspect.UnionType):
        structs = [one for one in kind.types if isinstance(one, inspect.StructType)]
        return grown(value, structs[0]) if structs and value is not None else value
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        more = {name: grown(one, fields[name]) for name, one in value.items()}
        return more | {NEWER: {"a": [1, {"b": None}]}}
    items = getattr(kind, "item_type", None)
    if items is not None and isinstance(value, list):
        return [grown(one, items) for one in value]
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {name: grown(one, kind.value_type) for name, one in value.items()}
    return value


def test_every_row_of_every_tree_is_read_with_more_in_it() -> None:
    assert {name for name, _ in NODES} == {kind.__name__ for kind in OF_TYPE}
    for (_, body), node in NODES.items():
        kind = type(node)
        text = json.dumps(grown(json.loads(body), inspect.type_info(kind)))
        assert NEWER in text
        read = LenientDecoder[Any](kind).decode(text)
        assert body_of(read) == body


def test_a_row_with_a_word_that_is_not_known_is_told_from_a_broken_one() -> None:
    listener = next(node for (name, _), node in NODES.items() if name == "Listener")
    body = json.loads(body_of(listener)) | {"protocol": "QUIC"}
    with pytest.raises(Newer, match="newer release"):
        LenientDecoder[Any](type(listener)).decode(json.dumps(body))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_message_is_read_with_more_in_it(name: str) -> None:
    kind = TYPES[name]
    body = json.loads(examples()[name])
    more = json.dumps(grown(body, inspect.type_info(kind))).encode()
    assert NEWER in more.decode()
    assert answers.decoded(more, kind) == answers.decoded(json.dumps(body).encode(), kind)
    assert kind is not Bundle or msgspec.json.decode(more, type=Bundle)


@pytest.mark.parametrize(
    "payload",
    [
        Heartbeat(b"x" * 16, 0.5, True),
        Edge((("p", "m", "DOWN"),), True),
        Statistics((("l", 1, 2, 3, 4, 5),)),
    ],
)
def test_every_payload_is_read_with_more_at_its_end(payload: Any) -> None:
    row = msgspec.msgpack.decode(msgspec.msgpack.encode(payload))
    more = msgspec.msgpack.encode([*row, "newer", {"a": 1}])
    assert msgspec.msgpack.decode(more, type=type(payload)) == payload


def test_all_that_goes_over_the_wire_is_tried_here() -> None:
    said = {
        name
        for module in (messages, datagram)
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == module.__name__
    }
    parts = {
        "AgentConfig", "BackendStatus", "CheckResult", "Datagram", "ListenerStatistics",
        "ListenerStatus", "MemberStatistics", "ServerStatus", "Trouble",
    }  # fmt: skip
    assert said - parts <= {*TYPES, "Heartbeat", "Edge", "Statistics"}


async def test_an_object_of_a_newer_release_is_shown_edited_and_keeps_what_is_not_known(
    api: Api, database: Database
) -> None:
    root = await api.load_balancer()
    pool = await api.pool(root, session_persistence={"type": "SOURCE_IP"})
    member = await api.member(pool)
    more = json.dumps({NEWER: {"x": 1}})
    async with database.transaction() as connection:
        for table in ("load_balancers", "pools", "members"):
            await connection.execute(f"UPDATE {table} SET body = body || %s::jsonb", [more])
        await connection.execute(
            "UPDATE pools SET body = jsonb_set(body, '{session_persistence,zz_newer}', '1')"
        )
    place = f"pools/{pool['id']}/members/{member['id']}"
    assert (await api.put(place, {"member": {"weight": 7}}))["member"]["weight"] == 7
    assert (await api.put(f"pools/{pool['id']}", {"pool": {"name": "x"}}))["pool"]["name"] == "x"
    tree = {"loadbalancer": {"name": "y"}}
    assert (await api.put(f"loadbalancers/{root['id']}", tree))["loadbalancer"]["name"] == "y"
    for path in ("loadbalancers", "pools", f"pools/{pool['id']}/members"):
        (listed,) = next(iter((await api.get(path)).values()))
        assert NEWER not in listed
    async with database.read() as connection:
        for table in ("load_balancers", "pools", "members"):
            row = await (
                await connection.execute(f"SELECT body -> '{NEWER}' FROM {table}")
            ).fetchone()
            assert row == ({"x": 1},), f"an older release dropped it from {table}"


async def test_one_object_that_cannot_be_read_hides_no_other(api: Api, database: Database) -> None:
    root = await api.load_balancer()
    await api.listener(root)
    other = await api.listener(root, protocol_port=81)
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE listeners SET body = jsonb_set(body, '{protocol}', '\"QUIC\"') WHERE id <> %s",
            [other["id"]],
        )
        await connection.execute("UPDATE load_balancers SET operating_status = 'PAUSED'")
    assert [one["id"] for one in (await api.get("listeners"))["listeners"]] == [other["id"]]
    assert len((await api.get("loadbalancers"))["loadbalancers"]) == 1
    again = await api.load_balancer()
    await api.listener(again)


async def test_work_of_a_kind_that_is_not_known_is_left_to_those_who_know_it(
    database: Database,
) -> None:
    async with database.transaction() as connection:
        for key in ("mirrors:1", "cluster:1"):
            await work.mark(connection, key)
        leased = await work.lease(connection, work.Free(9, 9), 60, kinds=["cluster"])
        assert [lease.key for lease in leased] == ["cluster:1"]
        later = await work.next_due_s(connection, kinds=["cluster"])
        assert later is not None
        assert later > 50, "nor does it wake anybody"


async def test_an_amphora_in_a_state_that_is_not_known_hides_no_other(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("ALTER TABLE amphorae DROP CONSTRAINT amphorae_state_check")
        await connection.execute(
            "INSERT INTO amphorae (id, state, heartbeat_key) VALUES"
            " (gen_random_uuid(), 'HIBERNATING', ''), (gen_random_uuid(), 'SPARE', '')"
        )
        assert [one.state.value for one in await amphora_rows.everyone(connection)] == ["SPARE"]


def test_a_schema_that_is_newer_is_refused_with_a_sentence(database_url: str) -> None:
    migrate(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
            " VALUES ('x', '9999-far-away', now())"
        )
        with pytest.raises(Broken, match=r"newer than this release \(9999-far-away was applied\)"):
            migrate(database_url)
        # The database is another test's afterwards; rows of this table stay in it.
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_hash = 'x'")


def test_a_vip_port_that_two_have_from_before_is_told_and_nothing_is_changed(
    database_url: str,
) -> None:
    port = "00000000-0000-0000-0000-00000000abcd"
    migrate(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP INDEX load_balancers_vip_port")
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0013-vip-ports'")
        connection.execute(
            "INSERT INTO clusters (id, provider, topology, flavor)"
            " VALUES (gen_random_uuid(), 'noop', 'SINGLE', 'default')"
        )
        rows = connection.execute(
            "INSERT INTO load_balancers (id, cluster_id, project_id, body, created, changed)"
            " SELECT gen_random_uuid(), id, 'p', %s::jsonb, 1, 1"
            " FROM clusters, generate_series(1, 2) RETURNING id::text",
            [f'{{"vip": {{"port_id": "{port}"}}}}'],
        ).fetchall()
        both = sorted(row[0] for row in rows)
        named = f"port {port} of the load balancers {both[0]}, {both[1]}. Start the release"
        with pytest.raises(Broken, match=re.escape(named)):
            migrate(database_url)
        connection.execute("UPDATE load_balancers SET deleted = true WHERE id = %s", [both[0]])
        migrate(database_url)
        found = connection.execute("SELECT to_regclass('load_balancers_vip_port')").fetchone()
        assert found is not None
        assert found[0] is not None
