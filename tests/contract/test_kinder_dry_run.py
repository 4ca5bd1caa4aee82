# SPDX-License-Identifier: Apache-2.0
"""`?dry_run=true` says what a write would do, and does none of it."""

from typing import Any

from colonnade.store.postgres.database import Database
from tests.certificates import authority
from tests.certificates import made as certificate
from tests.contract.api_client import Api, api
from tests.contract.test_kinder_tree import TREE, made
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

CA = authority("Test CA")
WEB, OTHER = certificate("www.example.org", CA), certificate("www.example.org", CA)

TABLES = (
    "load_balancers",
    "listeners",
    "pools",
    "members",
    "health_monitors",
    "l7policies",
    "l7rules",
    "clusters",
    "generations",
    "events",
    "work",
    "idempotency_keys",
)


async def stored(database: Database) -> Any:
    """Everything that a write could leave."""
    async with database.read() as connection:
        found = {}
        for table in TABLES:
            cursor = await connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            found[table] = await cursor.fetchall()
        return found


async def test_each_write_is_told_and_nothing_is_kept(api: Api, database: Database) -> None:
    root = await made(api, provider="amphora")
    blue = next(one for one in root["pools"] if one["name"] == "blue")
    one, two = blue["members"]
    listener = root["listeners"][0]
    pool_path, member = f"pools/{blue['id']}", f"pools/{blue['id']}/members/{one['id']}"
    root_path = f"loadbalancers/{root['id']}"
    fresh = {"address": "10.0.0.9", "protocol_port": 80}
    subnet = {"vip_subnet_id": PRIVATE_SUBNET, "provider": "amphora"}
    port = {"loadbalancer_id": root["id"], "protocol": "HTTP", "protocol_port": 81}
    # method, path, body, what it takes, a line of the diff, what changes
    cases: list[tuple[str, str, Any, str, str, set[tuple[str, str]]]] = [
        ("PUT", member, {"member": {"weight": 9}}, "runtime", "weight 9", {("altered", "member")}),
        ("PUT", member, {"member": {"name": "x"}}, "nothing", "", {("altered", "member")}),
        ("DELETE", member, None, "runtime", f"-    server {one['id']}", {("removed", "member")}),
        (
            "POST",
            f"{pool_path}/members",
            {"member": fresh},
            "runtime",
            "10.0.0.9",
            {("added", "member")},
        ),
        ("POST", "listeners", {"listener": port}, "reload", ":81", {("added", "listener")}),
        (
            "PUT",
            f"listeners/{listener['id']}",
            {"listener": {"connection_limit": 7}},
            "reload",
            "7",
            {("altered", "listener")},
        ),
        (
            "PUT",
            f"{pool_path}/members",
            {"members": [fresh]},
            "runtime",
            "10.0.0.9",
            {("added", "member"), ("removed", "member")},
        ),
        ("PUT", f"{root_path}/tree", {"loadbalancer": TREE}, "nothing", "", set()),
        ("POST", f"{root_path}/rollback", {"generation": 1}, "nothing", "", set()),
        ("DELETE", f"{member}?wait=60", None, "runtime", "-    server", set()),
        (
            "PUT",
            root_path,
            {"loadbalancer": {"name": "x"}},
            "nothing",
            "",
            {("altered", "loadbalancer")},
        ),
        (
            "POST",
            "loadbalancers",
            {"loadbalancer": subnet},
            "build",
            "",
            {("added", "loadbalancer")},
        ),
        ("POST", "loadbalancers", {"loadbalancer": TREE | subnet}, "build", "192.0.2.1:80", set()),
        ("DELETE", f"{root_path}?cascade=true", None, "remove", "-    server", set()),
    ]
    before, ports = await stored(database), await api.network.ports()
    for method, path, body, action, line, changes in cases:
        trial = f"/v2/lbaas/{path}{'&' if '?' in path else '?'}dry_run=true"
        key: dict[str, Any] = {"headers": {"Idempotency-Key": "never used"}}
        told = (await api.ask(method, trial, json=body, **key))["dry_run"]
        assert told["configuration"]["action"] == action, (method, path, told["configuration"])
        assert line in told["configuration"]["diff"], (method, path, told["configuration"])
        found = {(one["action"], one["type"]) for one in told["changes"]}
        assert not changes or found == changes, (method, path)
        assert await stored(database) == before, (method, path)
    assert await api.network.ports() == ports
    assert two["id"]


async def test_what_would_be_refused_is_refused(api: Api, database: Database) -> None:
    root = await made(api, provider="amphora")
    blue = next(one for one in root["pools"] if one["name"] == "blue")
    port = {"loadbalancer_id": root["id"], "protocol": "HTTP", "protocol_port": 80}
    subnet = {"vip_subnet_id": "00000000-0000-4000-8000-000000000001", "provider": "amphora"}
    member = {"address": "10.0.0.1", "protocol_port": 80}
    before = await stored(database)
    cases: list[tuple[str, str, Any, int]] = [
        ("POST", "listeners", {"listener": port}, 409),
        ("POST", "listeners", {"listener": port | {"protocol": "SCTP"}}, 501),
        ("POST", f"pools/{blue['id']}/members", {"member": member}, 409),
        ("POST", "loadbalancers", {"loadbalancer": subnet}, 400),
        ("POST", "pools", {"pool": {}}, 400),
        ("DELETE", f"loadbalancers/{root['id']}", None, 400),
        ("POST", f"loadbalancers/{root['id']}/rollback", {"generation": 9}, 404),
        # What is not of a tree cannot be tried, and must not be done.
        ("PUT", f"loadbalancers/{root['id']}/failover", None, 400),
        ("POST", "affinitygroups", {"affinitygroup": {"policy": "colocation"}}, 400),
        ("PUT", "quotas/p", {"quota": {"pool": 1}}, 400),
    ]
    for method, path, body, status in cases:
        await api.ask(method, f"/v2/lbaas/{path}?dry_run=true", status, json=body)
        assert await stored(database) == before, (method, path)
    assert (await api.get("affinitygroups"))["affinitygroups"] == []
    await api.post("listeners?dry_run=false", {"listener": port | {"protocol_port": 88}})


async def test_a_trial_counts_quotas_and_says_what_is_lacking(api: Api) -> None:
    root = await made(api, provider="noop")
    await api.put(f"quotas/{root['project_id']}", {"quota": {"pool": 2}}, 202)
    body = {"loadbalancer_id": root["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    await api.post("pools?dry_run=true", {"pool": body}, 403)
    amphora = await api.load_balancer("amphora")
    port = {"loadbalancer_id": amphora["id"], "protocol": "HTTP", "protocol_port": 80}
    told = await api.post("listeners?dry_run=true", {"listener": port}, 200)
    assert any("no default pool" in issue for issue in told["dry_run"]["issues"])


async def test_another_certificate_takes_no_reload_and_is_not_told(api: Api) -> None:
    old, new = [
        (await api.post("secrets", {"secret": {"pem": pem}}))["secret"]["secret_ref"]
        for pem in (WEB.pem, OTHER.pem)
    ]
    root = await api.load_balancer("amphora")
    listener = await api.listener(
        root, protocol="TERMINATED_HTTPS", protocol_port=443, default_tls_container_ref=old
    )
    await api.pool(root, listener_id=listener["id"])
    path = f"listeners/{listener['id']}?dry_run=true"
    answer = await api.put(path, {"listener": {"default_tls_container_ref": new}})
    assert answer["dry_run"]["configuration"]["action"] == "runtime"
    assert "PRIVATE KEY" not in str(answer)
