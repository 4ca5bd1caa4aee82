# SPDX-License-Identifier: Apache-2.0
"""Bad input gets a clear answer, in the words of the wire contract, and changes nothing."""

from typing import Any

import pytest

from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_NETWORK, PRIVATE_SUBNET, PUBLIC_SUBNET, PUBLIC_SUBNET_V6

__all__ = ["api"]

NOBODY = "00000000-0000-0000-0000-0000000000ff"
LONG = "x" * 256

# noun, attributes that make the request wrong, status, text of the fault
BODIES: list[tuple[str, dict[str, Any], int, str]] = [
    ("listener", {"protocol": "FTP"}, 400,
     "Invalid input for field/attribute protocol. Value: 'FTP'. Value should be one of: "
     "TCP, HTTP, HTTPS, TERMINATED_HTTPS, UDP, SCTP, PROMETHEUS"),
    ("listener", {"protocol_port": "http"}, 400,
     "Invalid input for field/attribute protocol_port. Value: 'http'. Expected int"),
    ("listener", {"protocol_port": [80]}, 400, "Value: '[80]'. Expected int, got array"),
    ("listener", {"protocol_port": 0}, 400,
     "Invalid input for field/attribute protocol_port. Value: '0'. Expected int >= 1"),
    ("listener", {"protocol_port": 65536}, 400, "Value: '65536'. Expected int <= 65535"),
    ("listener", {"protocol_port": None}, 400, "field/attribute protocol_port"),
    ("listener", {"protocol_port": ...}, 400,
     "Invalid input for field/attribute protocol_port. Mandatory field missing."),
    ("listener", {"nonsense": 1, "bogus": 2}, 400,
     "Unknown attribute for argument listener: bogus, nonsense"),
    ("listener", {"name": LONG}, 400, "Invalid input for field/attribute name."),
    ("listener", {"loadbalancer_id": "no-id"}, 400,
     "Invalid input for field/attribute loadbalancer_id. Value: 'no-id'. Invalid UUID"),
    ("listener", {"loadbalancer_id": NOBODY}, 404, f"Load Balancer {NOBODY} not found."),
    ("listener", {"default_pool_id": NOBODY}, 404, f"Pool {NOBODY} not found."),
    ("listener", {"timeout_client_data": -1}, 400, "field/attribute timeout_client_data"),
    ("listener", {"connection_limit": -2}, 400, "field/attribute connection_limit"),
    ("listener", {"allowed_cidrs": ["nowhere"]}, 400, "Value should be IPv4 or IPv6 CIDR format"),
    ("listener", {"tags": "one"}, 400, "Invalid input for field/attribute tags."),
    ("listener", {"admin_state_up": "maybe"}, 400, "field/attribute admin_state_up"),
    ("listener", {"default_tls_container_ref": "http://x/1"}, 400,
     "default_tls_container_ref goes with TERMINATED_HTTPS listeners alone"),
    ("listener", {"insert_headers": {"X-Evil": "true"}}, 400,
     "X-Evil is not a valid option for insert_headers"),
    ("listener", {"insert_headers": {"X-Real-IP": "1"}}, 400, "1 is not a valid option"),
    ("listener", {"protocol": "TCP", "insert_headers": {"X-Real-IP": "true"}}, 400,
     "insert_headers is not a valid option for a TCP listener"),
    ("listener", {"name": "nul\x00"}, 400, "NUL"),
    ("pool", {"lb_algorithm": "FASTEST"}, 400, "Value should be one of: ROUND_ROBIN"),
    ("pool", {"loadbalancer_id": None}, 400,
     "Must provide at least one of: loadbalancer_id, listener_id"),
    ("pool", {"session_persistence": {"type": "APP_COOKIE"}}, 400,
     "Validation failure: session_persistence.cookie_name"),
    ("pool", {"session_persistence": {"type": "LUCK"}}, 400, "field/attribute type. Value: 'LUCK'"),
    ("pool", {"session_persistence": {"kind": "X"}}, 400,
     "Unknown attribute for argument session_persistence: kind"),
    ("pool", {"crl_container_ref": "http://x/1"}, 400, "needs a ca_tls_container_ref"),
    ("member", {"address": "10.0.0.300"}, 400,
     "Invalid input for field/attribute address. Value: '10.0.0.300'. "
     "Value should be IPv4 or IPv6 format"),
    ("member", {"address": "169.254.169.254"}, 400,
     "169.254.169.254 is not a valid option for member address"),
    ("member", {"address": "224.0.0.1"}, 400, "Validation failure: address must be unicast"),
    ("member", {"weight": 257}, 400, "field/attribute weight. Value: '257'"),
    ("member", {"weight": 1.5}, 400, "field/attribute weight. Value: '1.5'"),
    ("member", {"subnet_id": 5}, 400, "field/attribute subnet_id. Value: '5'"),
    ("member", {"monitor_address": "here"}, 400, "field/attribute monitor_address"),
    ("healthmonitor", {"type": "MAGIC"}, 400, "Value should be one of: HTTP, HTTPS, PING"),
    ("healthmonitor", {"delay": -1}, 400, "field/attribute delay. Value: '-1'"),
    ("healthmonitor", {"max_retries": 11}, 400, "field/attribute max_retries. Value: '11'"),
    ("healthmonitor", {"url_path": "no-slash"}, 400, "field/attribute url_path"),
    ("healthmonitor", {"url_path": "/a b"}, 400, "field/attribute url_path"),
    ("healthmonitor", {"expected_codes": "2xx"}, 400, "field/attribute expected_codes"),
    ("healthmonitor", {"http_method": "BREW"}, 400, "Value should be one of: GET"),
    ("healthmonitor", {"http_version": 3}, 400, "Value should be one of: 1.0, 1.1"),
    ("healthmonitor", {"type": "TCP", "url_path": "/x"}, 400, "url_path only go with types HTTP"),
    ("healthmonitor", {"type": "UDP-CONNECT"}, 400, "cannot have a UDP-CONNECT health monitor"),
    ("healthmonitor", {"pool_id": NOBODY}, 404, f"Pool {NOBODY} not found."),
    ("loadbalancer", {"vip_subnet_id": None}, 400,
     "Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id."),
    ("loadbalancer", {"vip_address": "10.0.0.1.2"}, 400, "field/attribute vip_address"),
    ("loadbalancer", {"provider": "magic"}, 400, "Provider 'magic' is not enabled."),
    ("loadbalancer", {"flavor_id": NOBODY}, 400, f"Flavor {NOBODY} not found."),
    ("loadbalancer", {"listeners": [{"protocol": "HTTP"}]}, 400,
     "Invalid input for field/attribute protocol_port. Mandatory field missing."),
    ("loadbalancer", {"listeners": [{"protocol": "X", "protocol_port": 1}]}, 400,
     "Invalid input for field/attribute protocol. Value: 'X'. Value should be one of: TCP"),
    ("loadbalancer", {"listeners": [{"protocol": "HTTP", "protocol_port": 1,
                                     "default_pool": {"name": "other"}}]}, 400,
     "Pool name 'other' is not defined"),
]  # fmt: skip


@pytest.mark.parametrize("noun", sorted({case[0] for case in BODIES}))
async def test_a_wrong_body_is_refused_in_the_contracts_words(api: Api, noun: str) -> None:
    """All cases against one tree: each leaves it as it was."""
    root = await api.load_balancer()
    pool = await api.pool(root)
    right: dict[str, dict[str, Any]] = {
        "loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET, "provider": "noop"},
        "listener": {"loadbalancer_id": root["id"], "protocol": "HTTP", "protocol_port": 80},
        "pool": {
            "loadbalancer_id": root["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
        },
        "member": {"address": "10.0.0.11", "protocol_port": 80},
        "healthmonitor": {
            "pool_id": pool["id"], "type": "HTTP", "delay": 1, "timeout": 1, "max_retries": 1,
        },
    }  # fmt: skip
    path = f"pools/{pool['id']}/members" if noun == "member" else f"{noun}s"
    for _, wrong, status, text in (case for case in BODIES if case[0] == noun):
        body = {name: v for name, v in (right[noun] | wrong).items() if v is not ...}
        answer = await api.post(path, {noun: body}, status)
        assert set(answer) == {"faultcode", "faultstring", "debuginfo"}, wrong
        assert answer["faultcode"] == ("Client" if status < 500 else "Server"), wrong
        assert text in answer["faultstring"], wrong
    assert len((await api.get("loadbalancers"))["loadbalancers"]) == 1
    assert len((await api.get("pools"))["pools"]) == 1
    for others in ("listeners", "healthmonitors", f"pools/{pool['id']}/members"):
        assert (await api.get(others))[others.rpartition("/")[2]] == []
    await api.post(path, {noun: right[noun]})  # and the right one is taken


RAW: list[tuple[bytes, str]] = [
    (b"", "Invalid JSON"),
    (b"{", "Invalid JSON"),
    (b'{"loadbalancer": {"name": "\xff"}}', "Invalid JSON"),
    (b'{"loadbalancer": {"name": "\\ud800"}}', "Invalid JSON"),
    (b"[" * 100_000, "Invalid JSON"),
    (b"[]", "the body must be a JSON object with the key 'loadbalancer'"),
    (b"{}", 'Missing argument: "loadbalancer"'),
    (b'{"loadbalancer": null}', "field/attribute loadbalancer"),
    (b'{"loadbalancer": {}, "other": 1}', 'Unknown argument: "other"'),
]


async def test_a_malformed_body_is_refused(api: Api) -> None:
    for raw, text in RAW:
        answer = await api.ask("POST", "/v2/lbaas/loadbalancers", 400, content=raw)
        assert text in answer["faultstring"], raw[:40]


async def test_a_body_over_the_limit_is_refused_unread(api: Api) -> None:
    body = b'{"loadbalancer": {"name": "' + b"x" * 10_000_000 + b'"}}'
    answer = await api.ask("POST", "/v2/lbaas/loadbalancers", 413, content=body)
    assert "at most 2097152 bytes" in answer["faultstring"]


async def test_unknown_paths_and_methods_get_the_frameworks_json(api: Api) -> None:
    for method, path, status, title in (
        ("GET", "/v2/lbaas/nothing", 404, "Not Found"),
        ("GET", "/nothing", 404, "Not Found"),
        ("PATCH", "/v2/lbaas/loadbalancers", 405, "Method Not Allowed"),
        ("DELETE", "/v2/lbaas/loadbalancers", 405, "Method Not Allowed"),
    ):
        answer = await api.ask(method, path, status)
        assert answer["code"] == f"{status} {title}"
        assert answer["title"] == title


async def test_an_id_that_names_nothing_is_not_found(api: Api) -> None:
    for path, noun in (
        ("loadbalancers", "Load Balancer"),
        ("listeners", "Listener"),
        ("pools", "Pool"),
        ("healthmonitors", "Health Monitor"),
    ):
        for wrong in (NOBODY, "not-an-id"):
            answer = await api.get(f"{path}/{wrong}", 404)
            assert answer["faultstring"] == f"{noun} {wrong} not found."
            await api.delete(f"{path}/{wrong}", 404)


async def test_duplicates_are_conflicts(api: Api) -> None:
    root = await api.load_balancer()
    listener = await api.listener(root, protocol_port=80)
    answer = await api.listener(root, 409, protocol="TCP", protocol_port=80)
    assert answer["faultstring"] == (
        "Another Listener on this Load Balancer is already using protocol TCP and protocol_port 80"
    )
    await api.listener(root, protocol="UDP", protocol_port=80)
    pool = await api.pool(root, listener_id=listener["id"])
    answer = await api.pool(root, 409, listener_id=listener["id"])
    assert answer["faultstring"] == "This listener already has a default pool"
    await api.member(pool)
    answer = await api.member(pool, 409)
    assert answer["faultstring"] == (
        "Another member on this pool is already using ip 10.0.0.11 on protocol_port 8080"
    )
    await api.monitor(pool)
    answer = await api.monitor(pool, 409)
    assert answer["faultstring"] == "This pool already has a health monitor"


async def test_a_pool_must_fit_its_listener(api: Api) -> None:
    root = await api.load_balancer()
    pool = await api.pool(root, protocol="TCP")
    answer = await api.listener(root, 400, default_pool_id=pool["id"])
    assert answer["faultstring"].startswith("Validation failure: default_pool_id names a TCP pool")


async def test_children_are_deleted_only_with_cascade(api: Api) -> None:
    root = await api.load_balancer()
    await api.listener(root)
    answer = await api.delete(f"loadbalancers/{root['id']}", 400)
    assert answer["faultstring"] == f"Cannot delete Load Balancer {root['id']} - it has children"
    await api.delete(f"loadbalancers/{root['id']}?cascade=True")


async def test_nothing_is_written_below_what_is_being_deleted(api: Api) -> None:
    root = await api.load_balancer("amphora")
    listener = await api.listener(root)
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    shown = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert shown["provisioning_status"] == "PENDING_DELETE"
    answer = await api.put(f"listeners/{listener['id']}", {"listener": {"name": "x"}}, 409)
    assert answer["faultstring"] == (
        f"Load Balancer {root['id']} is immutable and cannot be updated."
    )
    answer = await api.delete(f"loadbalancers/{root['id']}", 409)
    assert answer["faultstring"] == (
        f"Invalid state PENDING_DELETE of loadbalancer resource {root['id']}"
    )


VIPS: list[tuple[dict[str, Any], int, str]] = [
    ({"vip_subnet_id": NOBODY}, 400, f"Subnet {NOBODY} not found."),
    ({"vip_network_id": NOBODY}, 400, f"Network {NOBODY} not found."),
    ({"vip_port_id": NOBODY}, 400, f"Port {NOBODY} not found."),
    ({"vip_subnet_id": PRIVATE_SUBNET, "vip_address": "192.0.2.7"}, 400, "vip_address"),
    ({"vip_subnet_id": PRIVATE_SUBNET, "vip_address": "2001:db8:1::7"}, 400, "vip_address"),
    ({"vip_network_id": PRIVATE_NETWORK, "vip_address": "2001:db8:1::7"}, 400, "vip_address"),
    ({"vip_subnet_id": PRIVATE_SUBNET, "vip_address": "10.0.0.77"}, 409,
     "The VIP IP address is already in use"),
    ({"vip_subnet_id": PUBLIC_SUBNET, "vip_network_id": PRIVATE_NETWORK}, 400, "is not on network"),
]  # fmt: skip


async def test_a_vip_that_cannot_be_is_refused(api: Api) -> None:
    await api.load_balancer("amphora", vip_address="10.0.0.77")
    ports = len(await api.network.ports())
    for body, status, text in VIPS:
        answer = await api.post("loadbalancers", {"loadbalancer": body}, status)
        assert text in answer["faultstring"], body
        assert len(await api.network.ports()) == ports, body
        if status == 400:
            trial = await api.post("loadbalancers?dry_run=true", {"loadbalancer": body}, status)
            assert text in trial["faultstring"], body


@pytest.mark.parametrize("address", ["198.18.0.9", "::ffff:198.18.0.9"])
async def test_a_member_on_the_network_of_the_machinery_is_refused(api: Api, address: str) -> None:
    pool = await api.pool(await api.load_balancer("amphora"))
    answer = await api.member(pool, 400, address=address)
    assert answer["faultstring"] == f"{address} is not a valid option for member address"
    body = {"members": [{"address": address, "protocol_port": 80}]}
    await api.put(f"pools/{pool['id']}/members", body, 400)


async def test_a_member_on_a_subnet_that_is_not_there_is_refused(api: Api) -> None:
    lost = {"address": "10.0.0.11", "protocol_port": 80, "subnet_id": NOBODY}
    root = await api.load_balancer("amphora")
    pool = await api.pool(root)
    place = f"pools/{pool['id']}/members"
    nested = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "name": "p", "members": [lost]}
    inside = {"loadbalancer_id": root["id"]}
    front = inside | {"protocol": "HTTP", "protocol_port": 80}
    policy = {"action": "REDIRECT_TO_POOL", "redirect_pool": nested}
    ports = len(await api.network.ports())
    answers = [
        await api.post(place, {"member": lost}, 400),
        await api.put(place, {"members": [lost]}, 400),
        await api.post(
            "loadbalancers",
            {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET, "pools": [nested]}},
            400,
        ),
        await api.post("pools", {"pool": nested | inside}, 400),
        await api.post("listeners", {"listener": front | {"default_pool": nested}}, 400),
        await api.post("listeners", {"listener": front | {"l7policies": [policy]}}, 400),
    ]
    assert {a["faultstring"] for a in answers} == {f"Subnet {NOBODY} not found."}
    assert (await api.get(place))["members"] == []
    assert len(await api.network.ports()) == ports
    await api.post(place, {"member": lost | {"subnet_id": PRIVATE_SUBNET}})


VERSIONS: list[tuple[str, str, int]] = [
    ("10.0.0.11", PRIVATE_SUBNET, 201),
    ("10.0.0.11", PUBLIC_SUBNET_V6, 400),
    ("2001:db8:1::11", PUBLIC_SUBNET_V6, 201),
    ("2001:db8:1::11", PRIVATE_SUBNET, 400),
    ("::ffff:10.0.0.12", PRIVATE_SUBNET, 201),
    ("::ffff:10.0.0.12", PUBLIC_SUBNET_V6, 400),
]


@pytest.mark.parametrize(("address", "subnet", "status"), VERSIONS)
async def test_a_member_and_its_subnet_are_of_one_ip_version(
    api: Api, address: str, subnet: str, status: int
) -> None:
    pool = await api.pool(await api.load_balancer("amphora"))
    member = {"address": address, "protocol_port": 80, "subnet_id": subnet}
    place = f"pools/{pool['id']}/members"
    answer = await api.post(place, {"member": member}, status)
    if status == 400:
        assert f"Subnet {subnet} (" in answer["faultstring"]
        await api.put(place, {"members": [member]}, status)
        assert (await api.get(place))["members"] == []


async def test_a_number_that_nobody_can_read_is_refused(api: Api) -> None:
    text = b'{"listener": {"protocol_port": ' + b"9" * 5000 + b"}}"
    answer = await api.ask("POST", "/v2/lbaas/listeners", 400, content=text)
    assert answer["faultcode"] == "Client"


async def test_what_a_provider_cannot_serve_is_refused_and_not_stored(api: Api) -> None:
    root = await api.load_balancer("octavia")
    answer = await api.listener(root, 501, protocol="UDP")
    assert answer["faultstring"].startswith(
        "Provider 'octavia' does not support a requested option: protocol: "
    )
    assert "UDP" in answer["faultstring"]
    assert (await api.get("listeners"))["listeners"] == []


async def test_a_failed_create_gives_its_vip_back(api: Api) -> None:
    listeners = [{"protocol": "UDP", "protocol_port": 53}]
    ports = len(await api.network.ports())
    body = {"vip_subnet_id": PRIVATE_SUBNET, "listeners": listeners}
    await api.post("loadbalancers", {"loadbalancer": body}, 501)
    assert len(await api.network.ports()) == ports


async def test_projects_are_told_apart(api: Api) -> None:
    mine, other = {"X-Project-Id": "mine"}, {"X-Project-Id": "other"}
    body = {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET, "provider": "noop"}}
    root = (await api.post("loadbalancers", body, headers=mine))["loadbalancer"]
    assert root["project_id"] == root["tenant_id"] == "mine"
    policy = "Policy does not allow this request to be performed."
    place = f"loadbalancers/{root['id']}"
    assert (await api.get(place, 403, headers=other))["faultstring"] == policy
    assert (await api.delete(place, 403, headers=other))["faultstring"] == policy
    assert (await api.get("loadbalancers", headers=other))["loadbalancers"] == []
    await api.get("loadbalancers?project_id=mine", 403, headers=other)
    assert len((await api.get("loadbalancers"))["loadbalancers"]) == 1
    assert (await api.get("loadbalancers?project_id=other"))["loadbalancers"] == []


QUERIES = [
    ("color=red", "One or more arguments are either duplicate or invalid"),
    ("limit=some", "Supplied pagination limit 'some' is not valid."),
    ("marker=here", "Supplied pagination marker 'here' is not valid."),
    (f"marker={NOBODY}", f"Supplied pagination marker '{NOBODY}' is not valid."),
    ("sort=color", "Supplied sort key 'color' is not valid."),
    ("sort=name:up", "Supplied sort direction 'up' is not valid."),
    ("name=%00", "One or more arguments are either duplicate or invalid"),
]


async def test_a_wrong_query_is_refused(api: Api) -> None:
    for query, text in QUERIES:
        assert (await api.get(f"loadbalancers?{query}", 400))["faultstring"] == text


async def test_only_json_is_answered_and_other_sites_pages_are_not(api: Api) -> None:
    answer = await api.get("loadbalancers", 406, headers={"Accept": "text/html"})
    assert answer["errors"][0]["status"] == 406
    await api.get("loadbalancers", headers={"Accept": ""})
    await api.get("loadbalancers", headers={"Accept": "text/html, application/json;q=0.5"})
    await api.get("loadbalancers", 403, headers={"Origin": "http://elsewhere.test"})
