# SPDX-License-Identifier: Apache-2.0
"""What a user asked for is what a controller is told to serve, and nothing of it is lost."""

from typing import Any
from uuid import uuid4

from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import ClusterId
from colonnade.domain.shape import BELOW
from colonnade.store.fleet import clusters
from colonnade.store.postgres.database import Database
from colonnade.store.trees import wishes
from tests.contract.api_client import Api, api

__all__ = ["api"]


async def _wanted(database: Database, root: Any) -> Cluster | None:
    async with database.read() as connection:
        cursor = await connection.execute(
            "SELECT cluster_id FROM load_balancers WHERE id = %s", [root["id"]]
        )
        row = await cursor.fetchone()
        return await wishes.wanted(connection, row[0]) if row is not None else None


async def test_a_controller_is_told_the_whole_tree(api: Api, database: Database) -> None:
    root = await api.load_balancer("amphora", name="web")
    listener = await api.listener(root)
    pool = await api.pool(root, listener_id=listener["id"])
    for number in (1, 2, 3):
        await api.member(pool, address=f"10.0.0.{number}", weight=number)
    monitor = await api.monitor(pool)
    wanted = await _wanted(database, root)
    assert wanted is not None
    assert (wanted.generation, wanted.deleted) == (7, False)
    (tree,) = wanted.load_balancers
    assert (tree.id, tree.name, tree.vip.address) == (root["id"], "web", root["vip_address"])
    assert tree.listeners[0].default_pool_id == pool["id"]
    assert [m.weight for m in tree.pools[0].members] == [1, 2, 3]
    assert tree.pools[0].health_monitor is not None
    assert tree.pools[0].health_monitor.id == monitor["id"]


async def test_what_is_deleted_is_no_longer_wanted_but_shown_until_applied(
    api: Api, database: Database
) -> None:
    root = await api.load_balancer("amphora")
    pool = await api.pool(root)
    member = await api.member(pool)
    await api.delete(f"pools/{pool['id']}/members/{member['id']}")
    wanted = await _wanted(database, root)
    assert wanted is not None
    assert wanted.load_balancers[0].pools[0].members == ()
    shown = (await api.get(f"pools/{pool['id']}/members/{member['id']}"))["member"]
    assert shown["provisioning_status"] == "PENDING_DELETE"
    async with database.transaction() as connection:
        await connection.execute("UPDATE clusters SET applied_lowest = generation")
    # Whoever waited for the load balancer finds it gone, before any controller purged the row.
    assert (await api.get(f"pools/{pool['id']}/members"))["members"] == []
    await api.get(f"pools/{pool['id']}/members/{member['id']}", 404)
    async with database.transaction() as connection:
        await clusters.settle(connection, wanted.id, wanted.generation)
        cursor = await connection.execute("SELECT count(*) FROM members")
        assert await cursor.fetchone() == (0,)


async def test_a_deleted_load_balancer_tells_its_vip_until_it_is_gone(
    api: Api, database: Database
) -> None:
    root = await api.load_balancer("amphora")
    await api.listener(root)
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    wanted = await _wanted(database, root)
    assert wanted is not None
    assert wanted.deleted
    (tree,) = wanted.load_balancers
    assert (tree.vip.port_id, tree.listeners) == (root["vip_port_id"], ())
    async with database.transaction() as connection:
        await clusters.settle(connection, wanted.id, wanted.generation)
    await api.get(f"loadbalancers/{root['id']}", 404)
    async with database.read() as connection:
        assert await wishes.wanted(connection, ClusterId(str(uuid4()))) is None
        assert await wishes.wanted(connection, wanted.id) is None


async def test_a_failure_is_shown_on_what_failed_with_its_reason(
    api: Api, database: Database
) -> None:
    root = await api.load_balancer("amphora")
    wanted = await _wanted(database, root)
    assert wanted is not None
    async with database.transaction() as connection:
        await clusters.settle(connection, wanted.id, wanted.generation)
        await connection.execute(
            "UPDATE clusters SET applied_lowest = 1, failed_at = 2,"
            """ last_error = '{"code": "Rejected", "message": "haproxy said no","""
            """ "at": "2030-01-02T03:04:05Z", "retry_at": "2030-01-02T03:05:00Z"}'"""
        )
    listener = await api.listener(root)
    assert listener["provisioning_status"] == "ERROR"
    shown = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert shown["provisioning_status"] == "ERROR"
    assert shown["last_error"] == {
        "code": "Rejected",
        "message": "haproxy said no",
        "at": "2030-01-02T03:04:05",
        "retry_at": "2030-01-02T03:05:00",
    }
    assert "haproxy said no" not in shown["issues"]
    failed = (await api.get(f"listeners/{listener['id']}"))["listener"]
    assert failed["last_error"] == shown["last_error"]


async def test_operators_see_amphorae_and_projects_do_not(api: Api, database: Database) -> None:
    root = await api.load_balancer("amphora")
    serving, spare = str(uuid4()), str(uuid4())
    async with database.transaction() as connection:
        for amphora_id, state in ((serving, "SERVING"), (spare, "SPARE")):
            await connection.execute(
                "INSERT INTO amphorae (id, state, cluster_id, heartbeat_key) VALUES (%s, %s,"
                " (SELECT cluster_id FROM load_balancers WHERE %s = 'SERVING'), '')",
                [amphora_id, state, state],
            )
    path = "/v2.0/octavia/amphorae"
    assert len((await api.ask("GET", path))["amphorae"]) == 2
    query = f"{path}?loadbalancer_id={root['id']}&status=ALLOCATED"
    (shown,) = (await api.ask("GET", query))["amphorae"]
    assert (shown["id"], shown["role"]) == (serving, "STANDALONE")
    assert shown["ha_ip"] == root["vip_address"]
    shown = (await api.ask("GET", f"{path}/{spare}"))["amphora"]
    assert (shown["status"], shown["loadbalancer_id"]) == ("READY", None)
    await api.ask("GET", f"{path}/{uuid4()}", 404)
    await api.ask("GET", path, 403, headers={"X-Project-Id": "somebody"})


async def test_with_the_row_of_a_load_balancer_go_all_rows_below_it(
    api: Api, database: Database
) -> None:
    root = await api.load_balancer("amphora")
    listener, pool = await api.listener(root), await api.pool(root)
    await api.member(pool)
    await api.monitor(pool)
    wish = {"listener_id": listener["id"], "action": "REJECT"}
    policy = (await api.post("l7policies", {"l7policy": wish}))["l7policy"]
    rule = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/"}
    await api.post(f"l7policies/{policy['id']}/rules", {"rule": rule})
    async with database.read() as connection:

        async def left() -> dict[str, int]:
            counts = (f"SELECT '{table.name}', count(*) FROM {table.name}" for table in BELOW)
            cursor = await connection.execute(" UNION ALL ".join(counts).encode())
            return dict(await cursor.fetchall())

        assert await left() == dict.fromkeys((table.name for table in BELOW), 1)
        await connection.execute("DELETE FROM load_balancers WHERE id = %s", [root["id"]])
        assert await left() == dict.fromkeys((table.name for table in BELOW), 0)
