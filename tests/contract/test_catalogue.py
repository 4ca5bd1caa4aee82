# SPDX-License-Identifier: Apache-2.0
"""Flavors, availability zones and their profiles, row by row as the wire contract has them."""

from typing import Any

import httpx
import msgspec

from colonnade.api.app import create_app
from colonnade.api.http.call import Site
from colonnade.domain.catalogue import FlavorFacts, ZoneFacts
from colonnade.domain.ids import new_id
from colonnade.providers.noop import NoopProvider
from colonnade.providers.provider import Providers
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, api
from tests.fakes.network import (
    PRIVATE_NETWORK,
    PRIVATE_SUBNET,
    PUBLIC_NETWORK,
    PUBLIC_SUBNET,
    FakeNetwork,
)

__all__ = ["api"]

NOBODY = "11111111-2222-3333-4444-555555555555"
NO_ID = "00000000-0000-0000-0000-000000000000"


async def profile(api: Api, status: int = 201, data: Any = "{}", **more: Any) -> Any:
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    body = {"name": "p", "provider_name": "noop", "flavor_data": text} | more
    answer = await api.post("flavorprofiles", {"flavorprofile": body}, status)
    return answer["flavorprofile"] if status == 201 else answer["faultstring"]


async def flavor(api: Api, status: int = 201, **more: Any) -> Any:
    body = {"name": new_id()} | more
    if "flavor_profile_id" not in body:
        body["flavor_profile_id"] = (await profile(api))["id"]
    answer = await api.post("flavors", {"flavor": body}, status)
    return answer["flavor"] if status == 201 else answer["faultstring"]


async def zone_profile(api: Api, status: int = 201, data: Any = "{}", **more: Any) -> Any:
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    body = {"name": "p", "provider_name": "noop", "availability_zone_data": text} | more
    answer = await api.post("availabilityzoneprofiles", {"availability_zone_profile": body}, status)
    return answer["availability_zone_profile"] if status == 201 else answer["faultstring"]


async def zone(api: Api, name: str, status: int = 201, **more: Any) -> Any:
    body = {"name": name} | more
    if "availability_zone_profile_id" not in body:
        body["availability_zone_profile_id"] = (await zone_profile(api))["id"]
    answer = await api.post("availabilityzones", {"availability_zone": body}, status)
    return answer["availability_zone"] if status == 201 else answer["faultstring"]


async def test_each_kind_is_made_shown_changed_and_deleted(api: Api) -> None:
    made = await profile(api, data={"loadbalancer_topology": "SINGLE"})
    assert made == {
        "id": made["id"],
        "name": "p",
        "provider_name": "noop",
        "flavor_data": '{"loadbalancer_topology":"SINGLE"}',
    }
    assert await api.get(f"flavorprofiles/{made['id']}") == {"flavorprofile": made}
    changes = {"name": "q", "flavor_data": '{ "compute_flavor": "m1" }'}
    changed = await api.put(f"flavorprofiles/{made['id']}", {"flavorprofile": changes})
    assert changed == {"flavorprofile": made | changes}

    offered = await flavor(api, name="gold", flavor_profile_id=made["id"])
    assert offered == {
        "id": offered["id"],
        "name": "gold",
        "description": "",
        "enabled": True,
        "flavor_profile_id": made["id"],
    }
    assert await api.get(f"flavors/{offered['id']}") == {"flavor": offered}
    other = {"name": "silver", "description": "d", "enabled": False}
    changed = await api.put(f"flavors/{offered['id']}", {"flavor": other})
    assert changed == {"flavor": offered | other}
    changed = await api.put(f"flavors/{offered['id']}", {"flavor": {"description": None}})
    assert changed == {"flavor": offered | other | {"description": ""}}

    behind = await zone_profile(api, data={"compute_zone": "nova"})
    assert behind == {
        "id": behind["id"],
        "name": "p",
        "provider_name": "noop",
        "availability_zone_data": '{"compute_zone":"nova"}',
    }
    here = await zone(api, "here", availability_zone_profile_id=behind["id"])
    assert here == {
        "name": "here",
        "description": "",
        "enabled": True,
        "availability_zone_profile_id": behind["id"],
    }
    assert await api.get("availabilityzones/here") == {"availability_zone": here}
    body = {"availability_zone": {"description": "d", "enabled": False}}
    changed = await api.put("availabilityzones/here", body)
    assert changed["availability_zone"] == here | {"description": "d", "enabled": False}

    for path in (
        f"flavors/{offered['id']}",
        f"flavorprofiles/{made['id']}",
        "availabilityzones/here",
        f"availabilityzoneprofiles/{behind['id']}",
    ):
        await api.delete(path)
        assert "not found" in (await api.get(path, 404))["faultstring"]
        await api.delete(path, 404)


BAD_DATA = (
    # provider, data, status, what is said
    ("noop", "{", 400, "{ is not a valid option for flavor_data"),
    ("noop", "[]", 400, "[] is not a valid option for flavor_data"),
    ("nobody", "{}", 400, "Provider 'nobody' is not enabled."),
    (
        "noop",
        '{"size": 1}',
        501,
        "Provider 'noop' does not support a requested option: Invalid flavor metadata: "
        "Object contains unknown field 'size'",
    ),
    ("noop", '{"loadbalancer_topology": "RING"}', 501, "Invalid enum value 'RING'"),
    ("noop", '{"spare_pool_size": -1}', 501, "Expected 'int' >= 0"),
    ("noop", '{"connection_limit_max": 0}', 501, "Expected 'int' >= 1"),
    ("amphora", '{"loadbalancer_topology": "ACTIVE_STANDBY"}', 501, "install keepalived"),
    ("octavia", '{"loadbalancer_topology": "ACTIVE_STANDBY"}', 501, "install keepalived"),
    ("amphora", '{"sriov_vip": true}', 501, "no SR-IOV"),
    ("amphora", '{"allow_member_sriov": true}', 501, "no SR-IOV"),
    ("amphora", '{"amphora_driver": "nginx"}', 501, "only haproxy is there"),
)
GOOD_DATA = (
    ("noop", {"loadbalancer_topology": "ACTIVE_STANDBY", "sriov_vip": True}),
    ("amphora", {"compute_flavor": "m1", "amp_image_tag": "amphora", "spare_pool_size": 2}),
    ("octavia", {"loadbalancer_topology": "SINGLE", "connection_limit_max": 100}),
    ("amphora", {"loadbalancer_topology": "SINGLE", "front_end": "routed"}),
)


async def test_a_profile_holds_what_its_provider_understands(api: Api) -> None:
    for provider, text, status, said in BAD_DATA:
        assert said in await profile(api, status, text, provider_name=provider), text
    for provider, data in GOOD_DATA:
        await profile(api, data=data, provider_name=provider)
    said = await zone_profile(api, 501, '{"rack": 1}')
    assert "Invalid availability zone metadata: Object contains unknown field 'rack'" in said
    said = await zone_profile(api, 400, "x")
    assert said == "x is not a valid option for availability_zone_data"
    data = {"compute_zone": "a", "volume_zone": "b", "management_network": NOBODY}
    await zone_profile(api, data=data | {"valid_vip_networks": [NOBODY]}, provider_name="amphora")


async def test_what_is_wrong_is_refused_in_the_words_of_the_contract(api: Api) -> None:
    behind, apart = await profile(api), await zone_profile(api)
    gold = await flavor(api, name="gold", flavor_profile_id=behind["id"])
    silver = await flavor(api, name="silver", flavor_profile_id=behind["id"])
    await zone(api, "here", availability_zone_profile_id=apart["id"])
    flavors, zones = "flavors", "availabilityzones"
    missing = "Invalid input for field/attribute {}. Mandatory field missing."
    rows: tuple[tuple[str, str, Any, int, str], ...] = (
        ("POST", flavors, {"flavor_profile_id": behind["id"]}, 400, missing.format("name")),
        ("POST", flavors, {"name": "x"}, 400, missing.format("flavor_profile_id")),
        (
            "POST",
            flavors,
            {"name": "gold", "flavor_profile_id": behind["id"]},
            409,
            "A flavor of gold already exists.",
        ),
        (
            "POST",
            flavors,
            {"name": "x", "flavor_profile_id": NOBODY},
            400,
            f"Flavor profile {NOBODY} not found.",
        ),
        ("POST", flavors, {"name": "x" * 256, "flavor_profile_id": NOBODY}, 400, "attribute name"),
        ("PUT", f"{flavors}/{silver['id']}", {"name": "gold"}, 409, "A flavor of gold already"),
        ("PUT", f"{flavors}/{gold['id']}", {"name": None}, 400, "None is not a valid option"),
        (
            "PUT",
            f"{flavors}/{gold['id']}",
            {"flavor_profile_id": NOBODY},
            400,
            "Unknown attribute for argument flavor: flavor_profile_id",
        ),
        ("PUT", f"{flavors}/{NO_ID}", {"name": "x"}, 404, f"Flavor {NO_ID} not found."),
        ("GET", f"{flavors}/{NO_ID}", None, 404, f"Flavor {NO_ID} not found."),
        ("DELETE", f"{flavors}/{NO_ID}", None, 404, f"Flavor {NO_ID} not found."),
        ("GET", f"{flavors}/x", None, 404, "Flavor x not found."),
        ("GET", f"flavorprofiles/{NO_ID}", None, 404, f"Flavor profile {NO_ID} not found."),
        ("DELETE", f"flavorprofiles/{NO_ID}", None, 404, f"Flavor profile {NO_ID} not found."),
        (
            "PUT",
            f"flavorprofiles/{behind['id']}",
            {"flavor_data": '{"compute_flavor": "m2"}'},
            409,
            f"Flavor profile {behind['id']} is in use and cannot be modified.",
        ),
        ("PUT", f"flavorprofiles/{behind['id']}", {"provider_name": "amphora"}, 409, "is in use"),
        ("PUT", f"flavorprofiles/{behind['id']}", {"flavor_data": "{"}, 400, "not a valid option"),
        ("PUT", f"flavorprofiles/{behind['id']}", {"flavor_data": None}, 400, "None is not a"),
        ("PUT", f"flavorprofiles/{behind['id']}", {"name": "renamed"}, 200, ""),
        ("PUT", f"flavorprofiles/{NOBODY}", {"name": "x"}, 404, "not found."),
        ("DELETE", f"flavorprofiles/{behind['id']}", None, 409, "is in use and cannot be modif"),
        (
            "POST",
            "flavorprofiles",
            {"name": "x", "provider_name": "noop", "flavor_data": "{" + " " * 4096 + "}"},
            400,
            "attribute flavor_data",
        ),
        (
            "POST",
            zones,
            {"name": "here", "availability_zone_profile_id": apart["id"]},
            409,
            "A availability zone of here already exists.",
        ),
        (
            "POST",
            zones,
            {"name": "x", "availability_zone_profile_id": NOBODY},
            400,
            f"Availability Zone profile {NOBODY} not found.",
        ),
        ("PUT", f"{zones}/here", {"name": "there"}, 400, "Unknown attribute for argument avail"),
        ("GET", f"{zones}/there", None, 404, "Availability Zone there not found."),
        (
            "PUT",
            f"availabilityzoneprofiles/{apart['id']}",
            {"availability_zone_data": '{"compute_zone": "b"}'},
            409,
            f"Availability Zone profile {apart['id']} is in use and cannot be modified.",
        ),
        ("DELETE", f"availabilityzoneprofiles/{apart['id']}", None, 409, "is in use"),
        ("GET", f"availabilityzoneprofiles/{NO_ID}", None, 404, "not found."),
    )
    wrappers = {
        "flavors": "flavor",
        "flavorprofiles": "flavorprofile",
        "availabilityzones": "availability_zone",
        "availabilityzoneprofiles": "availability_zone_profile",
    }
    for method, path, body, status, said in rows:
        words = {} if body is None else {"json": {wrappers[path.partition("/")[0]]: body}}
        answer = await api.ask(method, f"/v2/lbaas/{path}", status, **words)
        assert said in (answer or {}).get("faultstring", ""), (method, path, answer)


async def test_lists_are_filtered_sorted_paged_and_trimmed_as_any_other(api: Api) -> None:
    behind, apart = await profile(api, name="a"), await zone_profile(api, name="a")
    ids: dict[str, str] = {}
    for name, enabled in (("b", True), ("a", False), ("c", True)):
        made = await flavor(api, name=name, enabled=enabled, flavor_profile_id=behind["id"])
        ids[name] = made["id"]
        await zone(api, name, enabled=enabled, availability_zone_profile_id=apart["id"])
        await profile(api, name=name)
        await zone_profile(api, name=name)
    by_id = "".join(sorted(ids, key=ids.__getitem__))
    for query, names in (
        ("", by_id),
        ("enabled=true", by_id.replace("a", "")),
        ("enabled=False&name=a", "a"),
        (f"flavor_profile_id={behind['id']}", by_id),
        (f"flavor_profile_id={behind['id'].replace('-', '').upper()}", by_id),
        ("flavor_profile_id=x", ""),
        (f"id={NOBODY}", ""),
        ("sort=name", "abc"),
        ("sort=enabled,name:desc", "acb"),
        ("project_id=somebody", by_id),
    ):
        found = (await api.get(f"flavors?{query}"))["flavors"]
        assert "".join(x["name"] for x in found) == names, query
    for path, word, links, size in (
        ("flavors", "flavors", "flavors_links", 3),
        ("flavorprofiles", "flavorprofiles", "flavorprofile_links", 4),
        ("availabilityzones", "availability_zones", "availability_zones_links", 3),
        (
            "availabilityzoneprofiles",
            "availability_zone_profiles",
            "availability_zone_profile_links",
            4,
        ),
    ):
        whole = await api.get(path)
        assert (set(whole), whole[links], len(whole[word])) == ({word, links}, [], size)
        if word != "availability_zones":
            shown = [one["id"] for one in whole[word]]
            assert shown == sorted(shown), path
        for order in ("", "&sort=name:desc"):
            whole = await api.get(f"{path}?limit=0{order}")
            seen, step = [], f"{path}?limit=2{order}"
            while step:
                page = await api.get(step)
                seen += page[word]
                found = {link["rel"]: link["href"] for link in page[links]}
                step = found.get("next", "").partition("/v2/lbaas/")[2]
            assert seen == whole[word], (path, order)
        assert (await api.get(f"{path}?fields=name&name=b"))[word] == [{"name": "b"}]
        for bad, said in (
            ("nonsense=1", "One or more arguments are either duplicate or invalid"),
            ("sort=nonsense", "Supplied sort key 'nonsense' is not valid."),
            ("sort=name:up", "Supplied sort direction 'up' is not valid."),
            ("limit=x", "Supplied pagination limit 'x' is not valid."),
            (f"marker={NOBODY}", f"Supplied pagination marker '{NOBODY}' is not valid."),
        ):
            assert (await api.get(f"{path}?{bad}", 400))["faultstring"] == said, path


async def test_a_new_load_balancer_is_as_its_flavor_and_zone_say(
    api: Api, database: Database
) -> None:
    data = {"loadbalancer_topology": "ACTIVE_STANDBY", "connection_limit_max": 10}
    pair = await flavor(api, flavor_profile_id=(await profile(api, data=data))["id"])
    kept = {"spare_pool_size": 1}
    own = await flavor(
        api, flavor_profile_id=(await profile(api, data=kept, provider_name="octavia"))["id"]
    )
    nets = {"valid_vip_networks": [PRIVATE_NETWORK]}
    behind = await zone_profile(api, data=nets, provider_name="amphora")
    await zone(api, "near", availability_zone_profile_id=behind["id"])

    root = await _load_balancer(api, flavor_id=pair["id"])
    assert (root["provider"], root["flavor_id"]) == ("noop", pair["id"])
    assert await _cluster(database, root) == ("noop", "ACTIVE_STANDBY", "default")
    said = (await api.listener(root, 400))["faultstring"]
    assert "connection_limit must be given and at most 10" in said
    await api.listener(root, 400, connection_limit=11)
    listener = await api.listener(root, connection_limit=10)
    body = {"listener": {"connection_limit": None}}
    await api.put(f"listeners/{listener['id']}", body, 400)

    root = await _load_balancer(api, flavor_id=own["id"], availability_zone="near")
    shown = (root["provider"], root["flavor_id"], root["availability_zone"])
    assert shown == ("octavia", own["id"], "near")
    assert await _cluster(database, root) == ("octavia", "SINGLE", own["id"])
    root = await _load_balancer(api, flavor_id=own["id"], provider="amphora")
    assert root["provider"] == "amphora"
    for path, noun in (
        (f"flavors/{pair['id']}", "Flavor"),
        ("availabilityzones/near", "Availability Zone"),
    ):
        said = f"{noun} {path.partition('/')[2]} is in use and cannot be modified."
        assert (await api.delete(path, 409))["faultstring"] == said

    await api.put(f"flavors/{own['id']}", {"flavor": {"enabled": False}})
    await zone(api, "far", enabled=False, availability_zone_profile_id=behind["id"])
    for asked, status, said in (
        ({"flavor_id": NOBODY}, 400, f"Flavor {NOBODY} not found."),
        (
            {"flavor_id": pair["id"], "provider": "amphora"},
            400,
            f"Flavor '{pair['id']}' is not compatible with provider 'amphora'",
        ),
        (
            {"flavor_id": own["id"]},
            400,
            f"The selected flavor is not allowed in this deployment: {own['id']}",
        ),
        ({"availability_zone": "no"}, 400, "Availability Zone no not found."),
        (
            {"availability_zone": "far"},
            400,
            "The selected availability_zone is not allowed in this deployment: far",
        ),
        (
            {"availability_zone": "near", "provider": "noop"},
            400,
            "Availability zone 'near' is not compatible with provider 'noop'",
        ),
        (
            {"availability_zone": "near", "vip_subnet_id": PUBLIC_SUBNET},
            400,
            f"The selected vip_network_id is not allowed in this deployment: {PUBLIC_NETWORK}",
        ),
    ):
        wish: dict[str, Any] = {"vip_subnet_id": PRIVATE_SUBNET}
        body = {"loadbalancer": wish | asked}
        answer = await api.post("loadbalancers", body, status)
        assert answer["faultstring"] == said
    owned = [p for p in await api.network.ports() if p.owner.startswith("lb:")]
    assert len(owned) == 2  # those refused have given theirs back


async def test_a_flavor_lets_go_once_nothing_has_it(api: Api) -> None:
    gold = await flavor(api)
    root = await _load_balancer(api, flavor_id=gold["id"])
    await api.delete(f"flavors/{gold['id']}", 409)
    await api.delete(f"loadbalancers/{root['id']}")
    await api.delete(f"flavors/{gold['id']}")
    await api.delete(f"flavorprofiles/{gold['flavor_profile_id']}")


async def test_providers_tell_what_profiles_may_say(api: Api) -> None:
    for word in ("flavor_capabilities", "availability_zone_capabilities"):
        for provider in ("amphora", "octavia", "noop"):
            whole = await api.get(f"providers/{provider}/{word}")
            assert set(whole) == {word}
            one = whole[word][0]
            assert set(one) == {"name", "description"}
            for query in (f"name={one['name']}", f"description={one['description']}"):
                found = await api.get(f"providers/{provider}/{word}?{query}")
                assert found == {word: [one]}
            found = await api.get(f"providers/{provider}/{word}?fields=name&name={one['name']}")
            assert found == {word: [{"name": one["name"]}]}
        assert (await api.get(f"providers/noop/{word}?name=nothing"))[word] == []
        said = (await api.get(f"providers/nobody/{word}", 400))["faultstring"]
        assert said == "Provider 'nobody' is not enabled."
    names = {x["name"] for x in (await api.get("providers"))["providers"]}
    assert names == {"amphora", "octavia", "noop"}
    flavors = (await api.get("providers/amphora/flavor_capabilities"))["flavor_capabilities"]
    assert {x["name"] for x in flavors} == set(FlavorFacts.__struct_fields__)
    zones = await api.get("providers/amphora/availability_zone_capabilities")
    found = {x["name"] for x in zones["availability_zone_capabilities"]}
    assert found == set(ZoneFacts.__struct_fields__)


class Bare(NoopProvider):
    """A provider that knows neither flavors nor availability zones."""

    name = "bare"

    def flavor_capabilities(self) -> None:  # type: ignore[override]
        return None

    def availability_zone_capabilities(self) -> None:  # type: ignore[override]
        return None


async def test_what_a_provider_has_no_way_to_do_is_refused(database: Database) -> None:
    providers = Providers({"bare": Bare()}, default="bare")
    app = create_app(Site(database=database, providers=providers))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        api = Api(client, FakeNetwork())
        lacking = "Provider 'bare' does not support a requested action: it has no {}"
        for word, noun in (
            ("flavor_capabilities", "flavors"),
            ("availability_zone_capabilities", "availability zones"),
        ):
            said = (await api.get(f"providers/bare/{word}", 501))["faultstring"]
            assert said == lacking.format(noun)
        behind = await zone_profile(api, provider_name="bare")
        await zone(api, "here", availability_zone_profile_id=behind["id"])
        wish = {"vip_subnet_id": PRIVATE_SUBNET, "availability_zone": "here"}
        said = (await api.post("loadbalancers", {"loadbalancer": wish}, 501))["faultstring"]
        assert said == lacking.format("availability zones")


async def _load_balancer(api: Api, **more: Any) -> Any:
    body = {"vip_subnet_id": PRIVATE_SUBNET} | more
    return (await api.post("loadbalancers", {"loadbalancer": body}))["loadbalancer"]


async def _cluster(database: Database, root: Any) -> tuple[str, str, str]:
    async with database.read() as connection:
        cursor = await connection.execute(
            "SELECT provider, topology, flavor FROM clusters c"
            " JOIN load_balancers b ON b.cluster_id = c.id WHERE b.id = %s",
            [root["id"]],
        )
        (row,) = await cursor.fetchall()
    return row[0], row[1], row[2]
