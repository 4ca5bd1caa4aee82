# SPDX-License-Identifier: Apache-2.0
"""What suites and clients written for Octavia count on beside the attributes: statuses and amphorae
where nothing is served, addresses as they were sent, references that are unset, words that are
compared to the letter, and the few routes of a network service that they ask for."""

from datetime import datetime
from typing import Any

import httpx
import pytest

from colonnade.api.app import create_app
from colonnade.api.http.call import Site
from colonnade.domain.ids import new_id
from colonnade.providers.enabled import enabled_providers
from colonnade.providers.provider import Words
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET, FakeNetwork

__all__ = ["api"]

AMPHORAE = "/v2/octavia/amphorae"
MOMENTS = ("created_at", "updated_at")
SENT = "2001:DB8:0:0::0011"
SPELLINGS = ("2001:db8::11", "2001:0db8:0000:0000:0000:0000:0000:0011", SENT)


def noop_api(database: Database, **words: Any) -> httpx.AsyncClient:
    """The API where every provider's name means noop."""
    providers = enabled_providers(
        ("amphora", "octavia"), default="amphora", network=None, noop=True
    )
    app = create_app(Site(database=database, providers=providers.in_words(Words(**words))))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api.test")


async def test_each_load_balancer_has_an_amphora_to_show_where_nothing_is_served(
    database: Database,
) -> None:
    async with noop_api(database) as client:
        api = Api(client, FakeNetwork())
        roots = [await api.load_balancer(name) for name in ("amphora", "octavia")]
        for root in roots:
            query = f"{AMPHORAE}?loadbalancer_id={root['id']}"
            (amphora,) = (await api.ask("GET", query))["amphorae"]
            assert (amphora["status"], amphora["role"]) == ("ALLOCATED", "STANDALONE")
            assert amphora["ha_port_id"] == amphora["vrrp_port_id"] == root["vip_port_id"]
            assert amphora["ha_ip"] == root["vip_address"]
            assert amphora["compute_id"] and amphora["created_at"] and amphora["updated_at"]
            place = f"{AMPHORAE}/{amphora['id']}"
            assert await api.ask("GET", place) == {"amphora": amphora}
            await api.ask("PUT", f"{place}/config", 202)
            await api.ask("DELETE", place, 409)
            assert await api.ask("GET", place) == {"amphora": amphora}
            await api.ask("PUT", f"{place}/failover", 202)
            (other,) = (await api.ask("GET", query))["amphorae"]
            assert other["id"] != amphora["id"]
            await api.ask("GET", place, 404)
            await api.put(f"loadbalancers/{root['id']}/failover", None, 202)
            (third,) = (await api.ask("GET", query))["amphorae"]
            assert third["id"] not in (amphora["id"], other["id"])
            shown = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
            assert shown["provisioning_status"] == "ACTIVE"
        assert len((await api.ask("GET", AMPHORAE))["amphorae"]) == 2
        await api.delete(f"loadbalancers/{roots[0]['id']}")
        (left,) = (await api.ask("GET", AMPHORAE))["amphorae"]
        assert left["loadbalancer_id"] == roots[1]["id"]


async def test_an_amphora_that_stands_for_none_is_no_machine(api: Api, database: Database) -> None:
    await api.load_balancer("noop")
    async with database.read() as connection:
        cursor = await connection.execute(
            "SELECT (SELECT count(*) FROM amphorae), count(*) FROM work"
        )
        assert await cursor.fetchone() == (0, 0)


async def test_statuses_stay_as_they_were_made_where_nothing_is_served(api: Api) -> None:
    root = await api.load_balancer("noop", admin_state_up=False)
    listener = await api.listener(root, admin_state_up=False)
    pool = await api.pool(root, listener_id=listener["id"], admin_state_up=False)
    member = await api.member(pool, admin_state_up=False)
    place = f"pools/{pool['id']}/members"
    assert [x["operating_status"] for x in (root, listener, pool)] == ["OFFLINE"] * 3
    assert member["operating_status"] == "NO_MONITOR"

    async def seen() -> set[tuple[str, ...]]:
        one = (await api.get(f"{place}/{member['id']}"))["member"]["operating_status"]
        (listed,) = (await api.get(f"{place}?id={member['id']}"))["members"]
        found = (await api.get(f"{place}?operating_status={one}"))["members"]
        tree = (await api.get(f"loadbalancers/{root['id']}/status"))["statuses"]["loadbalancer"]
        (inside,) = tree["listeners"][0]["pools"][0]["members"]
        assert [x["id"] for x in found] == [member["id"]]
        return {(one, listed["operating_status"], inside["operating_status"])}

    assert await seen() == {("NO_MONITOR",) * 3}
    await api.put(f"{place}/{member['id']}", {"member": {"admin_state_up": True}})
    assert await seen() == {("NO_MONITOR",) * 3}
    monitor = await api.monitor(pool)
    assert monitor["operating_status"] == "ONLINE"
    assert await seen() == {("NO_MONITOR",) * 3}
    late = await api.member(pool, address="10.0.0.12")
    assert late["operating_status"] == "OFFLINE"
    await api.delete(f"{place}/{late['id']}")
    await api.delete(f"healthmonitors/{monitor['id']}")
    assert await seen() == {("NO_MONITOR",) * 3}


async def test_what_is_disabled_is_offline_where_amphorae_serve(api: Api) -> None:
    pool = await api.pool(await api.load_balancer("amphora"))
    member = await api.member(pool, admin_state_up=False)
    assert member["operating_status"] == "OFFLINE"


async def test_an_address_is_shown_as_it_was_sent_and_compared_canonically(api: Api) -> None:
    root = await api.load_balancer("noop", vip_address=SENT, additional_vips=[
        {"subnet_id": new_id(), "ip_address": "2001:DB8::0012"}
    ])  # fmt: skip
    pool = await api.pool(root)
    member = await api.member(pool, address=SENT, monitor_address="2001:DB8::0013")
    for shown in (root, (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]):
        assert shown["vip_address"] == SENT
        assert [x["ip_address"] for x in shown["additional_vips"]] == ["2001:DB8::0012"]
    place = f"pools/{pool['id']}/members"
    for shown in (member, (await api.get(f"{place}/{member['id']}"))["member"]):
        assert (shown["address"], shown["monitor_address"]) == (SENT, "2001:DB8::0013")
    for address in SPELLINGS:
        said = await api.member(pool, 409, address=address)
        assert "already using ip 2001:db8::11 on" in said["faultstring"]
        found = (await api.get(f"{place}?address={address}"))["members"]
        assert [x["id"] for x in found] == [member["id"]]
        found = (await api.get(f"loadbalancers?vip_address={address}"))["loadbalancers"]
        assert [x["id"] for x in found] == [root["id"]]
        # A batch means the same member, whose spelling stays.
        one = {"address": address, "protocol_port": 8080, "monitor_address": "2001:db8::13"}
        body = {"members": [one]}
        await api.put(place, body, 202)
        (kept,) = (await api.get(place))["members"]
        assert (kept["id"], kept["address"]) == (member["id"], SENT)
    assert (await api.get(f"{place}?address=nothing"))["members"] == []


async def test_an_address_that_was_sent_is_taken_from_the_network_whatever_its_spelling(
    api: Api,
) -> None:
    subnets = {s.cidr: s for s in await api.network.subnets()}
    six = next(s for s in subnets.values() if s.ip_version == 6)
    address = six.cidr.partition("::")[0].upper() + ":0::0077"
    root = await api.load_balancer("amphora", vip_subnet_id=six.id, vip_address=address)
    assert root["vip_address"] == address
    body = {"vip_subnet_id": six.id, "vip_address": address.lower(), "provider": "amphora"}
    await api.post("loadbalancers", {"loadbalancer": body}, 409)


@pytest.mark.parametrize("noun", ["listener", "pool"])
async def test_an_empty_reference_unsets_what_was_named(api: Api, noun: str) -> None:
    """As gophercloud and Kubernetes' cloud provider send it."""
    root = await api.load_balancer("noop")
    client, default = ("client_", "default_") if noun == "listener" else ("", "")
    ca = f"{client}ca_tls_container_ref"
    names = (f"{client}crl_container_ref", ca, f"{default}tls_container_ref")
    more: dict[str, Any] = dict.fromkeys(names, "x")
    if noun == "listener":
        more |= {"protocol": "TERMINATED_HTTPS", "sni_container_refs": ["sni"]}
    made = await (api.listener if noun == "listener" else api.pool)(root, **more)
    for name in names:
        assert made[name] == "x"
        changed = (await api.put(f"{noun}s/{made['id']}", {noun: {name: ""}}))[noun]
        assert changed[name] is None, name
        # What clients send of a whole object that they have read names it again.
        changed = (await api.put(f"{noun}s/{made['id']}", {noun: {name: ""}}))[noun]
        assert changed[name] is None, name
    if noun == "listener":
        # One of the two must name a certificate: so first there is another.
        named = {"default_tls_container_ref": "y"}
        place = f"listeners/{made['id']}"
        await api.put(place, {"listener": named})
        changed = await api.put(place, {"listener": {"sni_container_refs": [""]}})
        assert changed["listener"]["sni_container_refs"] == []
    if noun == "pool":
        wish = {"type": "SOURCE_IP", "cookie_name": ""}
        changed = await api.put(f"pools/{made['id']}", {"pool": {"session_persistence": wish}})
        assert changed["pool"]["session_persistence"]["cookie_name"] is None


def _times(shown: Any) -> list[tuple[str, str]]:
    """Every moment in an answer that clients read as one, with its name."""
    if isinstance(shown, list):
        return [found for one in shown for found in _times(one)]
    if not isinstance(shown, dict):
        return []
    inner = [found for one in shown.values() for found in _times(one)]
    return [(n, v) for n, v in shown.items() if n in MOMENTS and v is not None] + inner


async def test_moments_parse_with_the_formats_of_clients(api: Api) -> None:
    """gophercloud takes "2006-01-02T15:04:05" and no zone; a list is refused whole for one."""
    root = await api.load_balancer("noop")
    pool = await api.pool(root, listener_id=(await api.listener(root))["id"])
    await api.member(pool)
    await api.monitor(pool)
    await api.put(f"pools/{pool['id']}", {"pool": {"name": "changed"}})
    found = [_times(await api.ask("GET", AMPHORAE))]
    for noun in ("loadbalancers", "listeners", "pools", "healthmonitors",
                 f"pools/{pool['id']}/members"):  # fmt: skip
        found.append(_times(await api.get(noun)))
    assert all(found)
    for name, text in (one for some in found for one in some):
        assert datetime.strptime(text, "%Y-%m-%dT%H:%M:%S"), name


async def test_words_for_operators_are_settings(database: Database) -> None:
    async with noop_api(database) as client:
        api = Api(client, FakeNetwork())
        assert (await api.get("providers"))["providers"] == [
            {"name": "amphora", "description": "The Octavia Amphora driver."},
            {
                "name": "octavia",
                "description": "Deprecated alias of the Octavia Amphora driver.",
            },
        ]
        for word, name, text in (
            (
                "flavor_capabilities",
                "loadbalancer_topology",
                "The load balancer topology. One of: SINGLE - One amphora per load balancer."
                " ACTIVE_STANDBY - Two amphora per load balancer.",
            ),
            (
                "availability_zone_capabilities",
                "compute_zone",
                "The compute availability zone.",
            ),
        ):
            found = (await api.get(f"providers/octavia/{word}?name={name}"))[word]
            assert found == [{"name": name, "description": text}]
            await api.get(f"providers/octavia/{word}?nonsense=1", 400)
    words = {
        "providers": {"octavia": "o"},
        "flavors": {"compute_flavor": "f"},
        "zones": {"volume_zone": "z"},
    }
    async with noop_api(database, **words) as client:
        api = Api(client, FakeNetwork())
        assert (await api.get("providers?name=octavia"))["providers"][0]["description"] == "o"
        for word, name, text in (
            ("flavor_capabilities", "compute_flavor", "f"),
            ("availability_zone_capabilities", "volume_zone", "z"),
        ):
            found = (await api.get(f"providers/amphora/{word}?description={text}"))[word]
            assert found == [{"name": name, "description": text}]


async def test_clients_of_a_network_service_find_what_they_ask_for_after_a_create(
    api: Api,
) -> None:
    root = await api.load_balancer("amphora")
    place = f"/v2.0/ports/{root['vip_port_id']}"
    port = await api.ask("GET", place)
    for body in (
        {"security_groups": [new_id()]},
        {"security_groups": None, "name": "x"},
        {"allowed_address_pairs": [{"ip_address": "10.0.0.9"}]},
    ):
        assert await api.ask("PUT", place, json={"port": body}) == port
    await api.ask("PUT", f"/v2.0/ports/{new_id()}", 404, json={"port": {}})
    await api.ask("PUT", place, 400, json={"port": {"security_groups": 5}})
    await api.ask("PUT", place, 400, json={})
    for path in ("/v2.0/floatingips", "/v2/floatingips?port_id=x", "/floatingips"):
        assert await api.ask("GET", path) == {"floatingips": []}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (r"C:\\u0000", 201),
        (r"\\\\u0000", 201),
        (r"\u0000", 400),
        (r"\\\u0000", 400),
        (r"a\u0041", 201),
    ],
)
async def test_only_the_character_nul_is_refused_not_its_name(
    api: Api, text: str, status: int
) -> None:
    raw = f'{{"loadbalancer": {{"vip_subnet_id": "{PRIVATE_SUBNET}", "description": "{text}"}}}}'
    answer = await api.ask("POST", "/v2/lbaas/loadbalancers", status, content=raw)
    if status == 201:
        sent = httpx.Response(200, content=raw).json()["loadbalancer"]["description"]
        root = answer["loadbalancer"]
        assert root["description"] == sent
        assert (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]["description"] == sent


async def test_a_timeout_over_the_delay_is_taken_and_told(api: Api) -> None:
    """Suites make their monitors so."""
    pool = await api.pool(await api.load_balancer("amphora"))
    await api.monitor(pool, delay=2, timeout=3)
    issues = (await api.get(f"pools/{pool['id']}"))["pool"]["issues"]
    assert any("timeout (3 s) is longer than its delay (2 s)" in issue for issue in issues)


async def test_a_member_has_an_sriov_port_where_the_flavor_allows_it(api: Api) -> None:
    profile = {"name": "fp", "provider_name": "noop", "flavor_data": '{"allow_member_sriov": true}'}
    behind = (await api.post("flavorprofiles", {"flavorprofile": profile}))["flavorprofile"]
    offer = {"name": "f", "flavor_profile_id": behind["id"]}
    flavor = (await api.post("flavors", {"flavor": offer}))["flavor"]
    plain = await api.pool(await api.load_balancer("noop"))
    said = await api.member(plain, 400, request_sriov=True)
    assert "flavor does not allow" in said["faultstring"]
    pool = await api.pool(await api.load_balancer("noop", flavor_id=flavor["id"]))
    assert (await api.member(pool, request_sriov=True))["vnic_type"] == "direct"
    found = await api.get(f"pools/{pool['id']}/members?vnic_type=direct")
    assert len(found["members"]) == 1
    body = {"members": [{"address": "10.0.0.11", "protocol_port": 8080}]}
    await api.put(f"pools/{pool['id']}/members", body, 202)
    found = await api.get(f"pools/{pool['id']}/members?vnic_type=direct")
    assert len(found["members"]) == 1


async def test_udp_checks_have_the_contracts_least_delay(api: Api) -> None:
    pool = await api.pool(await api.load_balancer("noop"), protocol="UDP")
    said = await api.monitor(pool, 400, type="UDP-CONNECT", delay=2)
    assert "delay must be 3 or more" in said["faultstring"]
    monitor = await api.monitor(pool, type="UDP-CONNECT", delay=3)
    change = {"healthmonitor": {"delay": 1}}
    await api.put(f"healthmonitors/{monitor['id']}", change, 400)
