# SPDX-License-Identifier: Apache-2.0
"""What a reference to a secret promises, wherever the secret is kept: in our own store, or in the
cloud's Barbican. A real Barbican is asked the same in `tests/openstack/`."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from colonnade.domain.secrets import SecretType
from colonnade.store.postgres.database import Database
from tests.certificates import authority, crl, made
from tests.contract.test_secret_references import dump
from tests.key_managers import Store, own_store, served, wire_store

CA, STRANGE_CA = authority("Test CA"), authority("Strange CA")
WEB, OTHER = made("www.example.org", CA), made("other.example.org", CA)
REFUSED = "Could not retrieve certificate: ['{}']"


@pytest.fixture(params=["database", "barbican"])
async def store(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Store]:
    if request.param == "database":
        async with own_store(database) as own:
            yield own
    else:
        async with wire_store(database) as (barbican, _):
            yield barbican


async def https(store: Store, status: int = 201, root: Any = None, **refs: Any) -> Any:
    root = root or await store.api.load_balancer("amphora")
    return await store.api.listener(root, status, protocol="TERMINATED_HTTPS", **refs)


async def generation(store: Store) -> int:
    async with store.database.read() as connection:
        cursor = await connection.execute("SELECT sum(generation)::int FROM clusters")
        (found,) = await cursor.fetchone() or (0,)
    return int(found)


async def test_a_reference_leads_to_a_secret_of_the_project_and_the_type(store: Store) -> None:
    web, ca = await store.keep(WEB), await store.keep(CA.public, SecretType.CA)
    foreign = await store.keep(WEB, foreign=True)
    lost = f"{web.rpartition('/')[0]}/11111111-2222-3333-4444-555555555555"
    root = await store.api.load_balancer("amphora")
    for field, reference in (
        ("default_tls_container_ref", lost),
        ("default_tls_container_ref", foreign),
        ("default_tls_container_ref", ca),
        ("client_ca_tls_container_ref", web),
        ("sni_container_refs", foreign),
    ):
        value = [reference] if field.startswith("sni") else reference
        refs = {"default_tls_container_ref": web, field: value}
        answer = await https(store, 400, root, **refs)
        assert answer["faultstring"].startswith(REFUSED.format(reference)), field
    shown = await https(store, 201, root, default_tls_container_ref=web, sni_container_refs=[web])
    assert (shown["default_tls_container_ref"], shown["sni_container_refs"]) == (web, [web])
    assert (await served(store, web)).split() == WEB.pem.split()
    path = f"listeners/{shown['id']}"
    await store.api.put(path, {"listener": {"default_tls_container_ref": foreign}}, 400)
    # Another change asks nobody about what is named already.
    await store.api.put(path, {"listener": {"name": "x", "default_tls_container_ref": web}})


async def test_a_whole_tree_and_a_dry_run_are_held_to_their_references(store: Store) -> None:
    web, foreign = await store.keep(WEB), await store.keep(WEB, foreign=True)
    root = await store.api.load_balancer("noop")
    listener = {"protocol": "TERMINATED_HTTPS", "protocol_port": 443}
    body = {
        "provider": "amphora",
        "vip_subnet_id": root["vip_subnet_id"],
        "listeners": [listener | {"default_tls_container_ref": foreign}],
    }
    answer = await store.api.post("loadbalancers", {"loadbalancer": body}, 400)
    assert answer["faultstring"] == REFUSED.format(foreign)
    body["listeners"][0]["default_tls_container_ref"] = web
    await store.api.post("loadbalancers?dry_run=true", {"loadbalancer": body}, 200)
    await store.api.post("loadbalancers", {"loadbalancer": body})
    # The provider that serves nothing takes any text.
    await https(store, 201, root, default_tls_container_ref=foreign)


async def test_a_crl_is_signed_by_the_ca_beside_it(store: Store) -> None:
    refs = {
        "default_tls_container_ref": await store.keep(WEB),
        "client_ca_tls_container_ref": await store.keep(CA.public, SecretType.CA),
    }
    strange = await store.keep(crl(STRANGE_CA), SecretType.CRL)
    good = await store.keep(crl(CA), SecretType.CRL)
    answer = await https(store, 400, client_crl_container_ref=strange, **refs)
    assert "is not signed by a CA of client_ca_tls_container_ref" in answer["faultstring"]
    await https(store, 201, client_crl_container_ref=good, **refs)


async def test_what_ends_soon_is_an_issue_of_what_uses_it(store: Store) -> None:
    soon = await store.keep(made("soon.example.org", CA, days=(-1, 9)))
    shown = await https(store, default_tls_container_ref=soon)
    told = [str(issue) for issue in shown["issues"]]
    assert any("Secret" in one and "expires on" in one for one in told)


async def test_what_is_no_certificate_is_refused_with_the_reason(store: Store) -> None:
    if store.project != "default":  # our own store does not take it in the first place
        old = await store.keep(made("old.example.org", CA, days=(-9, -1)))
        answer = await https(store, 400, default_tls_container_ref=old)
        assert answer["faultstring"].startswith(REFUSED.format(old) + ": ")
        assert "has expired on" in answer["faultstring"]


async def test_another_content_is_served_anew_and_the_same_is_not(store: Store) -> None:
    web, unused = await store.keep(WEB), await store.keep(WEB)
    shown = await https(store, default_tls_container_ref=web)
    before = await generation(store)
    await store.replace(unused, OTHER)
    assert await generation(store) == before
    await store.replace(web, OTHER)
    assert await generation(store) == before + 1
    assert (await served(store, web)).split() == OTHER.pem.split()
    found = (await store.api.get(f"listeners/{shown['id']}"))["listener"]
    assert found["provisioning_status"].startswith("PENDING")
    async with store.database.read() as connection:
        told = await connection.execute("SELECT what FROM generations ORDER BY at DESC LIMIT 1")
        (what,) = await told.fetchone() or ("",)
    assert web.rpartition("/")[2] in what
    assert "was replaced" in what


async def test_nothing_of_a_key_is_told_logged_or_stored_in_the_clear(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = made("sentinel.example.org", CA)
    web = await store.keep(mine)
    told = [str(await https(store, default_tls_container_ref=web))]
    told.append(str(await https(store, 400, default_tls_container_ref=mine.secret[:200])))
    await store.replace(web, mine)
    out, err = capfd.readouterr()
    told += [out, err, await dump(store.database)]
    lines = [line for line in mine.secret.splitlines() if "-----" not in line]
    for text in told:
        assert not any(line[:24] in text for line in lines)
