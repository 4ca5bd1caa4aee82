# SPDX-License-Identifier: Apache-2.0
"""What references into a Barbican promise besides: addresses, rights, consumers, and a Barbican
that is away, slow or wrong at any call. Its wire is `tests/fakes/barbican.py`."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs7, pkcs12

from colonnade.domain.errors import Broken, Unavailable, Unreachable
from colonnade.drivers.openstack.credentials import Credentials
from colonnade.drivers.openstack.session import Session
from colonnade.drivers.secrets.barbican import Barbican, key_manager_of
from colonnade.drivers.secrets.material import PEM_CHARACTERS_MAX
from colonnade.runtime.config import Api, Config, Keystone
from colonnade.store.postgres.database import Database
from tests.certificates import Made, authority, made
from tests.contract.test_secret_stores import REFUSED, generation, https
from tests.fakes.barbican import FakeBarbican
from tests.fakes.keystone import PASSWORD, USER
from tests.key_managers import BarbicanStore, served, wire_store

ROOT = authority("Root")
BETWEEN = authority("Between", ROOT)
WEB, OTHER = made("www.example.org", BETWEEN), made("other.example.org", ROOT)
CHAIN = (WEB.public + BETWEEN.public + WEB.secret).split()
# What a call is answered with in the place of the truth.
FAULTS: list[int | str] = [500, 503, 429, 401, 403, 404, 418, "{", "[]", "lost", "cut"]


@pytest.fixture
async def world(database: Database) -> AsyncIterator[tuple[BarbicanStore, FakeBarbican]]:
    async with wire_store(database) as made_now:
        yield made_now


@pytest.fixture
def store(world: tuple[BarbicanStore, FakeBarbican]) -> BarbicanStore:
    return world[0]


@pytest.fixture
def fake(world: tuple[BarbicanStore, FakeBarbican]) -> FakeBarbican:
    return world[1]


def p12(leaf: Made, *others: Made) -> bytes:
    chain = [one.certificate for one in others]
    return pkcs12.serialize_key_and_certificates(
        b"x", leaf.key, leaf.certificate, chain, NoEncryption()
    )


async def listener(store: BarbicanStore, listener_id: str) -> Any:
    return (await store.api.get(f"listeners/{listener_id}"))["listener"]


async def test_every_form_in_which_users_keep_a_certificate_is_read(store: BarbicanStore) -> None:
    cloud, pair = store.cloud, {"certificate": WEB.public, "private_key": WEB.secret}
    bundle = pkcs7.serialize_certificates([BETWEEN.certificate], Encoding.PEM).decode()
    locked = {"private_key": WEB.locked("word"), "private_key_passphrase": "word"}

    async def container(**parts: str) -> str:
        return await cloud.certificate(WEB, **(pair | parts))

    forms = [
        await cloud.secret(p12(WEB, BETWEEN)),
        await cloud.secret(base64.encodebytes(p12(WEB, BETWEEN)).decode()),
        await cloud.secret(WEB.public + BETWEEN.public + WEB.secret),
        await cloud.secret((WEB.public + BETWEEN.public + WEB.secret).encode()),
        await container(intermediates=BETWEEN.public),
        await container(intermediates=bundle, **locked),
    ]
    shown = await https(store, default_tls_container_ref=forms[0], sni_container_refs=forms[1:])
    assert shown["sni_container_refs"] == forms[1:]
    for reference in forms:
        assert (await served(store, reference)).split() == CHAIN
    keyless = await cloud.container({"certificate": await cloud.secret(WEB.public)})
    answer = await https(store, 400, default_tls_container_ref=keyless)
    assert answer["faultstring"].endswith("The container has no private_key.")
    rsa = await cloud.container({}, kind="rsa")
    answer = await https(store, 400, default_tls_container_ref=rsa)
    assert "of a type that holds no certificate" in answer["faultstring"]
    # Nothing of these is among the secrets of our own store.
    assert (await store.api.get("secrets"))["secrets"] == []


async def test_what_is_too_large_is_refused(store: BarbicanStore) -> None:
    huge = await store.cloud.secret("x" * (PEM_CHARACTERS_MAX + 1))
    answer = await https(store, 400, default_tls_container_ref=huge)
    assert "is larger than 1 MiB" in answer["faultstring"]


async def test_no_address_but_barbicans_own_is_asked(
    store: BarbicanStore, fake: FakeBarbican
) -> None:
    good = await store.keep(WEB)
    root = await store.api.load_balancer("amphora")
    path, fake.calls = good.partition("/v1/")[2], []
    host = store.cloud.url.removeprefix("http://")
    for place in (
        f"https://{host}", "http://169.254.169.254", f"http://{host}@169.254.169.254",
        f"http://169.254.169.254#{host}", f"http://{host}.example.org", f"http://{host}/more",
        "http://localhost:1", f"http://{host.partition(':')[0]}", f"http://{host}0",
        f"http://[::1]:{host.partition(':')[2]}", "http://", f"ftp://{host}",
    ):  # fmt: skip
        reference = f"{place}/v1/{path}"
        answer = await https(store, 400, root, default_tls_container_ref=reference)
        assert answer["faultstring"] == REFUSED.format(reference), reference
    for odd in (f"{good}/payload", f"{good}?x=1", f"{good}/../../secrets", f"{good}%2f", path):
        await https(store, 400, root, default_tls_container_ref=odd)
    assert fake.calls == []
    # A container that names another's secrets leads to Barbican's own, by their ids.
    parts = {"certificate": f"http://169.254.169.254/v1/secrets/{uuid4()}",
             "private_key": f"http://169.254.169.254/v1/secrets/{uuid4()}"}  # fmt: skip
    strange = await store.cloud.container(parts)
    answer = await https(store, 400, root, default_tls_container_ref=strange)
    assert answer["faultstring"] == REFUSED.format(strange)
    await https(store, 201, root, default_tls_container_ref=good + "/")


async def test_a_callers_own_rights_decide_and_this_service_is_let_in(
    store: BarbicanStore, fake: FakeBarbican
) -> None:
    cloud, root = store.cloud, await store.api.load_balancer("amphora")
    private = await cloud.secret(p12(WEB, BETWEEN))
    kept = fake.kept[private.rpartition("/")[2]]
    kept.project_access = False
    shown = await https(store, 201, root, default_tls_container_ref=private)
    assert kept.users == [fake.keystone.own_id]  # and nobody else
    assert not kept.project_access
    # There is a copy now; it lets nobody in who may not read the secret itself.
    store.api.client.headers["X-Auth-Token"] = cloud.tokens["colleague"]
    more = {"default_tls_container_ref": private, "protocol_port": 444}
    answer = await https(store, 400, root, **more)
    assert answer["faultstring"] == REFUSED.format(private)
    await store.api.put(f"listeners/{shown['id']}", {"listener": {"name": "x"}})
    # Who may read it, but not say who else may: this service has to be let in by its owner.
    lent = await cloud.secret(p12(OTHER), who="foreign")
    theirs = fake.kept[lent.rpartition("/")[2]]
    theirs.users = [fake.keystone.tokens[cloud.tokens["colleague"]].body["token"]["user"]["id"]]
    answer = await https(store, 400, root, default_tls_container_ref=lent, protocol_port=445)
    assert "this service may not read it" in answer["faultstring"]
    theirs.users.append(fake.keystone.own_id)
    await https(store, 201, root, default_tls_container_ref=lent, protocol_port=445)


async def test_an_operator_takes_over_what_this_service_may_read_itself(
    store: BarbicanStore, fake: FakeBarbican
) -> None:
    private = await store.cloud.secret(p12(WEB), who="foreign")
    kept = fake.kept[private.rpartition("/")[2]]
    kept.project_access = False
    subnet = (await store.api.load_balancer("amphora"))["vip_subnet_id"]
    listener = {
        "id": str(uuid4()), "protocol": "TERMINATED_HTTPS", "protocol_port": 443,
        "default_tls_container_ref": private,
    }  # fmt: skip
    body = {
        "id": str(uuid4()), "provider": "amphora", "vip_subnet_id": subnet,
        "project_id": store.project,
        "listeners": [listener], "pools": [],
    }  # fmt: skip
    token = fake.keystone.issue("admin", project="operators").secret
    store.api.client.headers["X-Auth-Token"] = token

    async def asked(status: int) -> Any:
        return await store.api.ask(
            "POST", "/v2/octavia/imports", status, json={"loadbalancer": body}
        )

    assert "this service may not read it" in (await asked(400))["faultstring"]
    kept.users = [fake.keystone.own_id]  # as whoever served it before had to be let in
    await asked(201)
    assert await served(store, private)
    assert kept.users == [fake.keystone.own_id]


async def test_who_uses_a_secret_is_registered_there_until_it_does_not(
    store: BarbicanStore, fake: FakeBarbican
) -> None:
    web = await store.keep(WEB)
    ca = await store.cloud.secret(ROOT.public)
    root = await store.api.load_balancer("amphora")
    shown = await https(store, 201, root, default_tls_container_ref=web)
    pool = await store.api.pool(root, tls_enabled=True, ca_tls_container_ref=ca)
    fake.fault, fake.only = "lost", "consumers"
    with pytest.raises(Unavailable):
        await store.look()
    fake.fault = None
    for _ in range(2):
        await store.look()
        (one,) = await store.cloud.consumers(web)
        assert (one["name"], one["URL"]) == ("Octavia", f"octavia://listeners/{shown['id']}")
        (one,) = await store.cloud.consumers(ca)
        assert (one["resource_type"], one["resource_id"]) == ("pools", pool["id"])
    # Another's registration is left alone.
    body = {"name": "other", "URL": "http://other"}
    await store.cloud.ask("POST", f"{web}/consumers", body)
    again = await https(store, 201, root, default_tls_container_ref=web, protocol_port=444)
    await store.api.put(f"pools/{pool['id']}", {"pool": {"ca_tls_container_ref": None}})
    await store.api.delete(f"listeners/{shown['id']}")
    fake.fault = "lost"
    with pytest.raises(Unavailable):
        await store.look()
    fake.fault = None
    await store.look()
    assert await store.cloud.consumers(ca) == []
    found = {one["URL"] for one in await store.cloud.consumers(web)}
    assert found == {"http://other", f"octavia://listeners/{again['id']}"}
    await store.api.delete(f"loadbalancers/{root['id']}?cascade=true")
    await store.look()
    assert [one["URL"] for one in await store.cloud.consumers(web)] == ["http://other"]
    # A copy goes when nothing has asked for it for a while.
    assert await count(store) == 2
    async with store.database.transaction() as connection:
        await connection.execute("UPDATE secrets SET asked_at = now() - interval '2 hours'")
    await store.look()
    assert await count(store) == 0


async def count(store: BarbicanStore) -> int:
    async with store.database.read() as connection:
        cursor = await connection.execute("SELECT count(*) FROM secrets")
        (found,) = await cursor.fetchone() or (0,)
    return int(found)


@pytest.mark.parametrize("only", ["GET /v1/containers/", "GET /v1/secrets/", "payload", "acl"])
async def test_a_fault_of_any_call_refuses_a_new_reference_and_keeps_the_old(
    store: BarbicanStore, fake: FakeBarbican, only: str
) -> None:
    old, new = await store.keep(WEB), await store.keep(OTHER)
    root = await store.api.load_balancer("amphora")
    shown = await https(store, 201, root, default_tls_container_ref=old)
    path, before = f"listeners/{shown['id']}", await generation(store)
    fake.only = only
    for fake.fault in FAULTS:
        answer = await store.api.client.put(
            f"/v2/lbaas/{path}", json={"listener": {"default_tls_container_ref": new}}
        )
        assert answer.status_code in (400, 503), (fake.fault, answer.text)
        text = answer.json()["faultstring"]
        assert text.startswith(REFUSED.format(new)), (fake.fault, text)
        assert store.cloud.url not in text.replace(new, "")
        waits = fake.fault in (500, 503, 429, "lost", "cut")
        assert answer.status_code == (503 if waits else answer.status_code), fake.fault
        # What is named already is asked of nobody.
        await store.api.put(path, {"listener": {"name": str(fake.fault)}})
    assert (await listener(store, shown["id"]))["default_tls_container_ref"] == old
    assert await generation(store) == before + len(FAULTS)
    fake.fault = None
    await store.api.put(path, {"listener": {"default_tls_container_ref": new}})
    assert (await served(store, new)).split() == OTHER.pem.split()


async def test_whatever_barbican_says_at_a_look_what_is_served_stays(
    store: BarbicanStore, fake: FakeBarbican
) -> None:
    web = await store.keep(WEB)
    shown = await https(store, default_tls_container_ref=web)
    await store.look()
    before = await generation(store)

    async def look(fault: int | str | None, only: str) -> str:
        fake.fault, fake.only = fault, only
        try:
            await store.look()
        except Unavailable as error:
            assert fault is not None, error
        assert await generation(store) == before
        assert (await served(store, web)).split() == WEB.pem.split()
        return str((await listener(store, shown["id"]))["issues"])

    for only in ("consumers", "GET /v1/containers/", "payload"):
        for fault in FAULTS:
            issues = await look(fault, only)
            gone = only != "consumers" and fault in (403, 404)
            gone = gone or (only == "payload" and fault in ("{", "[]"))
            assert ("what was served is served on" in issues) == gone, (only, fault, issues)
            assert "what was served" not in await look(None, "")
    # One that was deleted, and one whose new content is of no use, are told to its owner.
    old = made("old.example.org", ROOT, days=(-9, -1))
    await store.replace(web, old)
    assert "has expired on" in await look(None, "")
    await store.cloud.ask("DELETE", web)
    assert "no longer in the key manager" in await look(None, "")


async def test_a_barbican_that_hangs_costs_a_bounded_time(
    store: BarbicanStore, fake: FakeBarbican
) -> None:
    place = (await store.keep(WEB)).partition("/v1/")[2]
    who = Credentials(auth_url=f"{fake.keystone.url}/v3", username=USER, secret=PASSWORD)
    hasty = Barbican(Session(who, timeout_s=0.2, clock=fake.keystone.clock))
    fake.fault = "hang"
    with pytest.raises(Unreachable, match=r"did not answer|cannot be reached"):
        await hasty.read(place)
    await hasty.close()


async def test_an_unused_copy_of_one_project_is_nothing_to_another(store: BarbicanStore) -> None:
    foreign = await store.cloud.certificate(OTHER, who="foreign")
    store.api.client.headers["X-Auth-Token"] = store.cloud.tokens["foreign"]
    root = await store.api.load_balancer("amphora")
    await https(store, 201, root, default_tls_container_ref=foreign)
    store.api.client.headers["X-Auth-Token"] = store.cloud.tokens["own"]
    answer = await https(store, 400, default_tls_container_ref=foreign)
    assert answer["faultstring"] == REFUSED.format(foreign)
    with pytest.raises(Broken, match="Could not retrieve certificate"):
        await served(store, foreign)


async def test_many_at_once_refer_to_one_secret(store: BarbicanStore) -> None:
    web = await store.keep(WEB)
    roots = [await store.api.load_balancer("amphora") for _ in range(4)]
    await asyncio.gather(
        *(https(store, 201, root, default_tls_container_ref=web) for root in roots)
    )
    assert await count(store) == 1
    await store.look()
    assert len(await store.cloud.consumers(web)) == 4


def test_what_a_configuration_lacks_is_said(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    keystone = Keystone(
        auth_url="http://127.0.0.1:1", username=USER, secret_file=tmp_path / "secret"
    )

    def config(auth: str, **more: Any) -> Config:
        return Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", api=Api(auth=auth),
                      **more)  # fmt: skip

    assert key_manager_of(config("none")) is None
    for wrong in (
        config("none", secrets_driver="barbican", keystone=keystone),
        config("keystone", secrets_driver="barbican"),
    ):
        with pytest.raises(Broken):
            key_manager_of(wrong)
    assert (
        key_manager_of(config("keystone", secrets_driver="barbican", keystone=keystone)) is not None
    )
