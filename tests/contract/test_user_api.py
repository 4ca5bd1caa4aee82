# SPDX-License-Identifier: Apache-2.0
"""The user API keeps the wire contract: a tree is made, shown, changed and deleted."""

import re
from typing import Any

import pytest

from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_NETWORK, PRIVATE_SUBNET, PUBLIC_NETWORK

__all__ = ["api"]

SAMPLE_ID = "00000000-0000-0000-0000-00000000beef"
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$")

# What each noun answers when nothing but the mandatory attributes was said (B.4 to B.8).
DEFAULTS: dict[str, dict[str, Any]] = {
    "loadbalancer": {
        "name": "", "description": "", "admin_state_up": True, "tags": [],
        "project_id": "default", "tenant_id": "default", "provider": "noop", "flavor_id": None,
        "availability_zone": None, "vip_qos_policy_id": None, "vip_sg_ids": [],
        "additional_vips": [], "vip_vnic_type": "normal", "listeners": [], "pools": [],
        "provisioning_status": "ACTIVE", "operating_status": "OFFLINE", "updated_at": None,
    },
    "listener": {
        "name": "", "description": "", "admin_state_up": True, "tags": [],
        "connection_limit": -1, "default_pool_id": None, "insert_headers": {},
        "timeout_client_data": 50000, "timeout_member_connect": 5000,
        "timeout_member_data": 50000, "timeout_tcp_inspect": 0, "allowed_cidrs": None,
        "default_tls_container_ref": None, "sni_container_refs": [],
        "client_ca_tls_container_ref": None, "client_authentication": "NONE",
        "client_crl_container_ref": None, "hsts_max_age": None,
        "hsts_include_subdomains": False, "hsts_preload": False, "l7policies": [],
        "provisioning_status": "ACTIVE", "operating_status": "OFFLINE", "updated_at": None,
    },
    "pool": {
        "name": "", "description": "", "admin_state_up": True, "tags": [],
        "session_persistence": None, "healthmonitor_id": None, "tls_enabled": False,
        "tls_container_ref": None, "ca_tls_container_ref": None, "crl_container_ref": None,
        "members": [], "listeners": [],
        "provisioning_status": "ACTIVE", "operating_status": "OFFLINE", "updated_at": None,
    },
    "member": {
        "name": "", "admin_state_up": True, "tags": [], "weight": 1, "backup": False,
        "subnet_id": None, "monitor_address": None, "monitor_port": None,
        "provisioning_status": "ACTIVE", "operating_status": "NO_MONITOR", "updated_at": None,
    },
    "healthmonitor": {
        "name": "", "admin_state_up": True, "tags": [], "max_retries_down": 3,
        "http_method": "GET", "url_path": "/", "expected_codes": "200", "http_version": None,
        "domain_name": None, "provisioning_status": "ACTIVE", "updated_at": None,
    },
}  # fmt: skip


async def _tree(api: Api, provider: str = "noop") -> dict[str, Any]:
    root = await api.load_balancer(provider)
    pool = await api.pool(root)
    return {
        "loadbalancer": root,
        "listener": await api.listener(root),
        "pool": pool,
        "member": await api.member(pool),
        "healthmonitor": await api.monitor(pool),
    }


def _place(tree: dict[str, Any], noun: str) -> str:
    above = f"pools/{tree['pool']['id']}/" if noun == "member" else ""
    return f"{above}{noun}s/{tree[noun]['id']}"


async def test_a_tree_is_made_shown_and_deleted(api: Api) -> None:
    root = await api.load_balancer(name="web")
    listener = await api.listener(root)
    pool = await api.pool(root, listener_id=listener["id"])
    member = await api.member(pool)
    monitor = await api.monitor(pool)
    shown = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert shown["provisioning_status"] == "ACTIVE"
    assert shown["listeners"] == [{"id": listener["id"]}]
    assert shown["pools"] == [{"id": pool["id"]}]
    shown = (await api.get(f"pools/{pool['id']}"))["pool"]
    assert shown["members"] == [{"id": member["id"]}]
    assert shown["healthmonitor_id"] == monitor["id"]
    assert shown["listeners"] == [{"id": listener["id"]}]
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    await api.get(f"loadbalancers/{root['id']}", 404)
    await api.get(f"listeners/{listener['id']}", 404)


async def test_every_attribute_is_answered_with_its_default(api: Api) -> None:
    tree = await _tree(api)
    for noun, defaults in DEFAULTS.items():
        shown = tree[noun]
        assert {name: shown[name] for name in defaults} == defaults, noun
        assert TIME.match(shown["created_at"]), noun
        assert shown["tenant_id"] == shown["project_id"]
    assert tree["listener"]["loadbalancers"] == [{"id": tree["loadbalancer"]["id"]}]
    assert tree["healthmonitor"]["pools"] == [{"id": tree["pool"]["id"]}]


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("loadbalancer", {"name": "n", "description": "d", "tags": ["a", "b"]}),
    ("loadbalancer", {"admin_state_up": False, "vip_qos_policy_id": SAMPLE_ID}),
    ("listener", {"name": "n", "connection_limit": 9, "timeout_client_data": 1000}),
    ("listener", {"insert_headers": {"X-Forwarded-For": "true"}, "allowed_cidrs": ["10.0.0.0/8"]}),
    ("pool", {"description": "d", "lb_algorithm": "LEAST_CONNECTIONS"}),
    ("member", {"weight": 0, "backup": True, "monitor_port": 99, "monitor_address": "10.0.0.9"}),
    ("healthmonitor", {"delay": 7, "expected_codes": "200-204", "http_method": "HEAD"}),
    ("healthmonitor", {"http_version": 1.1, "domain_name": "www.example.org", "url_path": "/up"}),
]


@pytest.mark.parametrize(
    ("noun", "change"), CHANGES, ids=[f"{n}-{'-'.join(c)}" for n, c in CHANGES]
)
async def test_a_change_is_stored_and_null_takes_it_back(
    api: Api, noun: str, change: dict[str, Any]
) -> None:
    tree = await _tree(api)
    place = _place(tree, noun)
    shown = (await api.put(place, {noun: change}))[noun]
    assert {name: shown[name] for name in change} == change
    assert TIME.match(shown["updated_at"])
    assert shown["created_at"] == tree[noun]["created_at"]
    kept = (await api.put(place, {noun: {}}))[noun]
    assert kept == shown
    mandatory = {"lb_algorithm", "delay"} & set(change)
    for name in mandatory:
        await api.put(place, {noun: {name: None}}, 400)
    nulls = {name: None for name in change if name not in mandatory}
    after = (await api.put(place, {noun: nulls}))[noun]
    expected = DEFAULTS[noun] | {"admin_state_up": False}
    assert {name: after[name] for name in nulls} == {name: expected[name] for name in nulls}


async def test_session_persistence_keeps_its_type_until_it_is_removed(api: Api) -> None:
    root = await api.load_balancer()
    wish = {"type": "APP_COOKIE", "cookie_name": "sid"}
    pool = await api.pool(root, session_persistence=wish)
    place = f"pools/{pool['id']}"
    shown = await api.put(place, {"pool": {"session_persistence": {"cookie_name": "other"}}})
    assert shown["pool"]["session_persistence"]["type"] == "APP_COOKIE"
    assert shown["pool"]["session_persistence"]["cookie_name"] == "other"
    shown = await api.put(place, {"pool": {"session_persistence": None}})
    assert shown["pool"]["session_persistence"] is None


async def test_a_batch_replaces_updates_and_removes_members(api: Api) -> None:
    pool = await api.pool(await api.load_balancer())
    place = f"pools/{pool['id']}/members"
    one = await api.member(pool, address="10.0.0.1", weight=5, name="one", tags=["t"])
    await api.member(pool, address="10.0.0.2")
    batch = [
        {"address": "10.0.0.1", "protocol_port": 8080, "backup": True},
        {"address": "10.0.0.3", "protocol_port": 8080, "name": "three"},
    ]
    assert await api.put(place, {"members": batch}, 202) is None
    shown = {m["address"]: m for m in (await api.get(place))["members"]}
    assert set(shown) == {"10.0.0.1", "10.0.0.3"}
    kept = shown["10.0.0.1"]
    assert (kept["id"], kept["name"], kept["tags"]) == (one["id"], "one", ["t"])
    assert (kept["weight"], kept["backup"]) == (1, True)  # what was left out is reset
    await api.put(
        f"{place}?additive_only=true",
        {"members": [{"address": "10.0.0.4", "protocol_port": 1}]},
        202,
    )
    assert len((await api.get(place))["members"]) == 3
    await api.put(place, {"members": [batch[0], batch[0]]}, 400)
    await api.put(place, {"members": [{"protocol_port": 1}]}, 400)
    await api.put(place, {"members": []}, 202)
    assert (await api.get(place))["members"] == []


async def test_a_batch_of_hundreds_is_one_generation(api: Api) -> None:
    pool = await api.pool(await api.load_balancer("amphora"))
    batch = [{"address": f"10.0.{i // 250}.{i % 250 + 1}", "protocol_port": 80} for i in range(500)]
    await api.put(f"pools/{pool['id']}/members", {"members": batch}, 202)
    members = (await api.get(f"pools/{pool['id']}/members"))["members"]
    assert len(members) == 500
    assert {m["provisioning_status"] for m in members} == {"PENDING_CREATE"}


async def test_a_whole_tree_is_made_at_once(api: Api) -> None:
    pool = {
        "name": "back",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": "10.0.0.1", "protocol_port": 80}],
        "healthmonitor": {"type": "TCP", "delay": 1, "timeout": 1, "max_retries": 1},
    }
    root = await api.load_balancer(
        listeners=[
            {"protocol": "HTTP", "protocol_port": 80, "default_pool": {"name": "back"}},
            {
                "protocol": "TCP",
                "protocol_port": 81,
                "default_pool": {
                    "name": "raw",
                    "protocol": "TCP",
                    "lb_algorithm": "SOURCE_IP",
                },
            },
        ],
        pools=[pool],
    )
    made = {p["name"]: p for p in root["pools"]}
    assert set(made) == {"back", "raw"}
    assert made["back"]["members"][0]["address"] == "10.0.0.1"
    assert made["back"]["members"][0]["operating_status"] == "OFFLINE"
    assert made["back"]["healthmonitor"]["type"] == "TCP"
    defaults = {x["protocol_port"]: x["default_pool_id"] for x in root["listeners"]}
    assert defaults == {80: made["back"]["id"], 81: made["raw"]["id"]}
    statuses = (await api.get(f"loadbalancers/{root['id']}/status"))["statuses"]
    assert len(statuses["loadbalancer"]["listeners"]) == 2


async def test_the_status_tree_has_the_contracts_keys_and_no_more(api: Api) -> None:
    root = await api.load_balancer()
    listener = await api.listener(root)
    pool = await api.pool(root, listener_id=listener["id"])
    await api.member(pool)
    await api.monitor(pool)
    for word in ("status", "statuses"):
        top = (await api.get(f"loadbalancers/{root['id']}/{word}"))["statuses"]["loadbalancer"]
        base = {"id", "name", "operating_status", "provisioning_status"}
        assert set(top) == base | {"listeners"}
        assert set(top["listeners"][0]) == base | {"pools"}
        shown = top["listeners"][0]["pools"][0]
        assert set(shown) == base | {"health_monitor", "members"}
        assert set(shown["health_monitor"]) == base | {"type"}
        assert set(shown["members"][0]) == base | {"address", "protocol_port"}
    for place in (f"loadbalancers/{root['id']}", f"listeners/{listener['id']}"):
        assert (await api.get(f"{place}/stats"))["stats"] == {
            "active_connections": 0,
            "bytes_in": 0,
            "bytes_out": 0,
            "request_errors": 0,
            "total_connections": 0,
        }


async def test_what_a_listener_lacks_is_said_on_it(api: Api) -> None:
    root = await api.load_balancer("amphora")
    listener = await api.listener(root)
    assert any("no default pool" in issue for issue in listener["issues"])
    pool = await api.pool(root, listener_id=listener["id"])
    assert pool["issues"] == ["The pool has no members."]
    shown = (await api.get(f"listeners/{listener['id']}"))["listener"]
    assert shown["issues"] == []
    await api.member(pool)
    assert (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]["issues"] == []


@pytest.mark.parametrize(
    "vip",
    [
        {"vip_subnet_id": PRIVATE_SUBNET},
        {"vip_subnet_id": PRIVATE_SUBNET, "vip_address": "10.0.0.50"},
        {"vip_network_id": PRIVATE_NETWORK},
        {"vip_network_id": PRIVATE_NETWORK, "vip_address": "10.0.0.51"},
        {"vip_network_id": PUBLIC_NETWORK, "vip_address": "2001:db8:1::50"},
        {"vip_subnet_id": PRIVATE_SUBNET.replace("-", "").upper()},
    ],
    ids=str,
)
async def test_a_vip_is_found_by_subnet_network_or_address(api: Api, vip: dict[str, str]) -> None:
    body = {"loadbalancer": vip | {"provider": "octavia"}}
    root = (await api.post("loadbalancers", body))["loadbalancer"]
    assert root["provider"] == "octavia"
    assert root["provisioning_status"] == "PENDING_CREATE"
    assert root["vip_address"] == vip.get("vip_address", root["vip_address"])
    port = next(p for p in await api.network.ports() if p.id == root["vip_port_id"])
    assert (port.address, port.subnet_id) == (root["vip_address"], root["vip_subnet_id"])
    assert port.owner == f"lb:{root['id']}"


async def test_every_spelling_of_a_path_means_the_same(api: Api) -> None:
    root = await api.load_balancer()
    for path in (
        "/v2/lbaas/loadbalancers",
        "/v2.0/lbaas/loadbalancers",
        "/v2/loadbalancers",
        "/v2.0/loadbalancers.json",
        "/v2.0/lbaas/loadbalancers/",
        "/load-balancer/v2.0/lbaas/loadbalancers",
    ):
        answer = await api.ask("GET", path)
        assert [shown["id"] for shown in answer["loadbalancers"]] == [root["id"]], path
    for path in ("/v2", "/v2.0", "/v2.0/lbaas", "/v2.0/octavia", "/v2/"):
        assert await api.ask("GET", path) == "v2"


async def test_the_version_document_announces_what_clients_look_for(api: Api) -> None:
    versions = (await api.ask("GET", "/"))["versions"]
    assert [v["id"] for v in versions] == [f"v2.{minor}" for minor in range(31)]
    assert [v["status"] for v in versions] == ["SUPPORTED"] * 30 + ["CURRENT"]
    assert {v["links"][0]["href"] for v in versions} == {"http://api.test/v2"}


async def test_each_answer_has_a_request_id(api: Api) -> None:
    for path in ("/", "/v2/lbaas/loadbalancers", "/nothing", "/v2/lbaas/pools/x"):
        answer = await api.client.get(path)
        assert re.match(r"^req-[0-9a-f-]{36}$", answer.headers["x-openstack-request-id"])


async def test_the_documents_need_no_outside_host(api: Api) -> None:
    document = await api.ask("GET", "/openapi.json")
    member = document["paths"]["/v2/lbaas/pools/{pool_id}/members"]["post"]
    schema = member["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["member"]["$ref"] == "#/components/schemas/MemberCreate"
    assert "protocol_port" in document["components"]["schemas"]["MemberCreate"]["properties"]
    page = await api.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert (await api.client.get("/healthcheck")).text == "OK"


async def test_the_document_has_what_generators_need(api: Api) -> None:
    """All of it is held against a validator in `tests/integration/test_openapi.py`."""
    document = await api.ask("GET", "/openapi.json")
    operations = [one for path in document["paths"].values() for one in path.values()]
    ids = [one["operationId"] for one in operations]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9.]+", tag) for one in operations for tag in one["tags"])
    places: list[Any] = [document]
    while places:
        place = places.pop()
        if isinstance(place, dict):
            assert place.get("type") != "array" or {"items", "prefixItems"} & place.keys(), place
        if isinstance(place, dict | list):
            places += place.values() if isinstance(place, dict) else place


async def test_networks_are_looked_up_as_at_neutron(api: Api) -> None:
    for path in ("/v2.0/networks", "/v2/networks", "/networks", "/v2/v2.0/networks"):
        found = (await api.ask("GET", path))["networks"]
        assert {n["name"] for n in found} == {"public", "private"}
    found = (await api.ask("GET", "/v2.0/networks?name=private"))["networks"]
    assert [n["id"] for n in found] == [PRIVATE_NETWORK]
    assert found[0]["subnets"] == [PRIVATE_SUBNET]
    found = (await api.ask("GET", f"/v2.0/subnets?network_id={PRIVATE_NETWORK}"))["subnets"]
    assert [(s["id"], s["cidr"], s["ip_version"]) for s in found] == [
        (PRIVATE_SUBNET, "10.0.0.0/24", 4)
    ]
    shown = await api.ask("GET", f"/v2.0/subnets/{PRIVATE_SUBNET}")
    assert shown["subnet"]["network_id"] == PRIVATE_NETWORK
    await api.ask("GET", f"/v2.0/networks/{SAMPLE_ID}", 404)
    await api.ask("GET", "/v2.0/networks/by-name", 404)
    assert (await api.ask("GET", "/v2.0/networks?name=nothing"))["networks"] == []
    root = await api.load_balancer("amphora")
    port = (await api.ask("GET", f"/v2.0/ports/{root['vip_port_id']}"))["port"]
    assert port["fixed_ips"][0]["ip_address"] == root["vip_address"]
