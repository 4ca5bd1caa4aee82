# SPDX-License-Identifier: Apache-2.0
"""What listeners and pools may refer to, what becomes of it when a secret changes, and that no
secret is ever told, logged or stored in the clear."""

import asyncio
import base64
from typing import Any

import pytest

from colonnade.cli.main import main
from colonnade.controller.expiry import Expiry
from colonnade.controller.process import secrets_of
from colonnade.domain.errors import Broken
from colonnade.domain.ids import ProjectId, new_id
from colonnade.drivers.secrets.database import Seal, read_keys, write_keys
from colonnade.runtime.config import Config, write_config
from colonnade.store.postgres.database import Database
from colonnade.store.secrets import key_rotation
from tests.certificates import authority, crl, made
from tests.contract.api_client import SEAL, Api, api

__all__ = ["api"]

CA, STRANGE_CA = authority("Test CA"), authority("Strange CA")
WEB, SOON = made("www.example.org", CA), made("soon.example.org", CA, days=(-1, 9))
NOT_THERE = "11111111-2222-3333-4444-555555555555"


async def secret(api: Api, **body: Any) -> Any:
    return (await api.post("secrets", {"secret": body}))["secret"]


async def test_references_lead_to_secrets_of_the_project_and_the_type(api: Api) -> None:
    web, ca = await secret(api, pem=WEB.pem), await secret(api, type="CA", pem=CA.public)
    good_crl = await secret(api, type="CRL", pem=crl(CA))
    strange = await secret(api, type="CRL", pem=crl(STRANGE_CA))
    foreign = await secret(api, pem=WEB.pem, project_id="another")
    root = await api.load_balancer("amphora")
    undashed, url = web["id"].replace("-", ""), web["secret_ref"]
    elsewhere = f"https://lb.example.org:9876/load-balancer/v2.0/lbaas/secrets/{web['id']}"
    for port, reference in enumerate((web["id"], undashed, url, elsewhere, url + "/"), start=1):
        shown = await api.listener(
            root,
            protocol="TERMINATED_HTTPS",
            protocol_port=port,
            default_tls_container_ref=reference,
            sni_container_refs=[reference],
        )
        assert shown["default_tls_container_ref"] == reference
        assert shown["sni_container_refs"] == [reference]
    # What each field gets, and what the refusal names.
    barbican = f"https://key.example.org/v1/containers/{new_id()}"
    for number, (field, reference) in enumerate(
        (
            ("default_tls_container_ref", NOT_THERE),
            ("default_tls_container_ref", barbican),
            ("default_tls_container_ref", foreign["id"]),
            ("default_tls_container_ref", ca["id"]),
            ("sni_container_refs", ca["id"]),
            ("client_ca_tls_container_ref", web["id"]),
            ("client_crl_container_ref", ca["id"]),
        ),
        start=100,
    ):
        refs = {
            "default_tls_container_ref": web["id"],
            "client_ca_tls_container_ref": ca["id"],
            field: [reference] if field.startswith("sni") else reference,
        }
        answer = await api.listener(
            root, 400, protocol="TERMINATED_HTTPS", protocol_port=number, **refs
        )
        assert answer["faultstring"] == f"Could not retrieve certificate: ['{reference}']", field
        if not field.startswith(("sni", "client")):
            noop = await api.load_balancer("noop")
            await api.listener(noop, protocol="TERMINATED_HTTPS", **{field: reference})
    clients = {"default_tls_container_ref": web["id"], "client_ca_tls_container_ref": ca["id"]}
    answer = await api.listener(
        root,
        400,
        protocol="TERMINATED_HTTPS",
        protocol_port=200,
        client_crl_container_ref=strange["id"],
        **clients,
    )
    assert "is not signed by a CA of client_ca_tls_container_ref" in answer["faultstring"]
    shown = await api.listener(
        root,
        protocol="TERMINATED_HTTPS",
        protocol_port=200,
        client_crl_container_ref=good_crl["id"],
        **clients,
    )
    replaced = f"secrets/{good_crl['id']}"
    answer = await api.put(replaced, {"secret": {"pem": crl(STRANGE_CA)}}, 400)
    assert "is not signed by a CA of client_ca_tls_container_ref" in answer["faultstring"]
    assert (await api.get(replaced))["secret"]["issuer"] == "CN=Test CA"
    await api.put(replaced, {"secret": {"pem": crl(CA, WEB)}})
    path, pool = f"listeners/{shown['id']}", await api.pool(root, tls_enabled=True)
    await api.put(path, {"listener": {"client_crl_container_ref": strange["id"]}}, 400)
    await api.put(path, {"listener": {"default_tls_container_ref": NOT_THERE}}, 400)
    await api.put(f"pools/{pool['id']}", {"pool": {"ca_tls_container_ref": NOT_THERE}}, 400)
    await api.put(f"pools/{pool['id']}", {"pool": {"ca_tls_container_ref": ca["id"]}})


async def test_a_whole_tree_is_held_to_its_references_too(api: Api) -> None:
    web = await secret(api, pem=WEB.pem)
    body = {
        "provider": "amphora",
        "vip_subnet_id": (await api.load_balancer("amphora"))["vip_subnet_id"],
        "listeners": [
            {
                "protocol": "TERMINATED_HTTPS",
                "protocol_port": 443,
                "default_tls_container_ref": NOT_THERE,
            }
        ],
    }
    answer = await api.post("loadbalancers", {"loadbalancer": body}, 400)
    assert answer["faultstring"] == f"Could not retrieve certificate: ['{NOT_THERE}']"
    body["listeners"][0]["default_tls_container_ref"] = web["id"]
    await api.post("loadbalancers", {"loadbalancer": body})


async def test_what_ends_soon_is_an_issue_of_what_uses_it(api: Api) -> None:
    soon = await secret(api, pem=SOON.pem, name="old one")
    root = await api.load_balancer("amphora")
    shown = await api.listener(
        root, protocol="TERMINATED_HTTPS", default_tls_container_ref=soon["id"]
    )
    told = [str(issue) for issue in shown["issues"]]
    assert any(f"Secret {soon['id']} (old one) expires on" in issue for issue in told)


async def test_time_alone_makes_an_issue_and_a_new_certificate_ends_it(
    api: Api, database: Database
) -> None:
    web = await secret(api, pem=WEB.pem)
    root, noop = await api.load_balancer("amphora"), await api.load_balancer("noop")
    ids = []
    for one in (root, noop):
        shown = await api.listener(
            one, protocol="TERMINATED_HTTPS", default_tls_container_ref=web["id"]
        )
        ids.append(shown["id"])

    async def issues(listener_id: str) -> str:
        assert await Expiry(database).reconcile("all")
        shown = (await api.get(f"listeners/{listener_id}"))["listener"]
        assert "default pool" in str(shown["issues"]) or listener_id == ids[1]
        return str(shown["issues"])

    async def ends(in_days: int) -> None:
        async with database.transaction() as connection:
            await connection.execute(
                "UPDATE secrets SET not_after = now() + make_interval(days => %s)", [in_days]
            )

    before = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert "expire" not in await issues(ids[0])
    await ends(29)
    assert "expires on" in await issues(ids[0])
    assert "expire" not in await issues(ids[1])
    await ends(-1)
    assert "has expired on" in await issues(ids[0])
    await ends(90)
    assert "expire" not in await issues(ids[0])
    after = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert after["provisioning_status"] == before["provisioning_status"]


async def test_a_secret_in_use_stays_and_one_that_is_replaced_is_served_anew(
    api: Api, database: Database
) -> None:
    web, ca = await secret(api, pem=WEB.pem), await secret(api, type="CA", pem=CA.public)
    root, noop = await api.load_balancer("amphora"), await api.load_balancer("noop")
    shown = await api.listener(
        root, protocol="TERMINATED_HTTPS", default_tls_container_ref=web["secret_ref"]
    )
    pool = await api.pool(root, tls_enabled=True, ca_tls_container_ref=ca["id"])
    await api.listener(noop, protocol="TERMINATED_HTTPS", default_tls_container_ref=web["id"])

    async def facts() -> tuple[dict[str, int], set[str]]:
        async with database.read() as connection:
            found = await connection.execute(
                "SELECT b.id, c.generation FROM clusters c JOIN load_balancers b"
                " ON b.cluster_id = c.id"
            )
            generations = dict(await found.fetchall())
            marked = await connection.execute("SELECT key FROM work")
            return generations, {row[0] for row in await marked.fetchall()}

    for one, user in ((web, f"listener {shown['id']}"), (ca, f"pool {pool['id']}")):
        answer = await api.delete(f"secrets/{one['id']}", 409)
        assert "is in use by" in answer["faultstring"]
        assert user in answer["faultstring"]
    before, _ = await facts()
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM work")
        await connection.execute(
            "UPDATE clusters SET applied_lowest = generation, highest_settled = generation"
        )
    renamed = await api.put(f"secrets/{web['id']}", {"secret": {"name": "mine"}})
    assert renamed["secret"]["name"] == "mine"
    assert await facts() == (before, set())
    await api.put(f"secrets/{web['id']}", {"secret": {"pem": CA.public}}, 400)
    assert (await api.get(f"listeners/{shown['id']}"))["listener"]["provisioning_status"] == (
        "ACTIVE"
    )
    fresh = made("www.example.org", CA)
    changed = await api.put(f"secrets/{web['id']}", {"secret": {"pem": fresh.pem}})
    assert changed["secret"]["fingerprint"] != web["fingerprint"]
    assert changed["secret"]["name"] == "mine"
    after, marked = await facts()
    assert after == before | {root["id"]: before[root["id"]] + 1}
    assert len(marked) == 1
    for path in (f"listeners/{shown['id']}", f"loadbalancers/{root['id']}"):
        (one,) = (await api.get(path)).values()
        assert one["provisioning_status"] == "PENDING_UPDATE"
    async with database.read() as connection:
        told = await connection.execute("SELECT what FROM generations ORDER BY at DESC LIMIT 1")
        assert await told.fetchone() == (f"updated: secret {web['id']} was replaced",)

    found = await secrets_of(database, SEAL).fetch(ProjectId("default"), [web["secret_ref"]])
    assert found == {web["secret_ref"]: fresh.pem}
    for project, reference in (("another", web["id"]), ("default", NOT_THERE), ("default", "x")):
        with pytest.raises(Broken, match="Could not retrieve certificate"):
            await secrets_of(database, SEAL).fetch(ProjectId(project), [reference])
    for one, path in ((web, f"listeners/{shown['id']}"), (ca, f"pools/{pool['id']}")):
        await api.delete(path)
        if one is ca:
            await api.delete(f"secrets/{one['id']}")
            await api.get(f"secrets/{one['id']}", 404)
    await api.delete(f"secrets/{NOT_THERE}", 404)


async def test_nothing_of_a_key_is_told_logged_or_stored_in_the_clear(
    api: Api, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    passphrase = "sentinel-passphrase-7c1f"
    mine = made("sentinel.example.org", CA)
    lines = [line for line in mine.secret.splitlines() if "-----" not in line]
    raw = base64.b64decode("".join(lines))
    locked = mine.public + mine.locked(passphrase)
    kept = await secret(api, pem=locked, passphrase=passphrase)
    told = [str(kept)]
    wrong: list[Any] = [
        {"secret": {"pem": [mine.secret], "passphrase": passphrase}},
        {"secret": {"pem": mine.secret, "passphrase": {"x": passphrase}}},
        {"secret": {"pem": WEB.public + mine.secret}},
        {"secret": {"pem": locked, "passphrase": passphrase + "x"}},
        {"secret": {"pem": mine.pem, passphrase: 1}},
        {"secret": {"pem": mine.pem, mine.secret: 1}},
        {"secret": mine.secret},
        {mine.secret: {}},
        {"secret": {"pkcs12": mine.secret, "passphrase": passphrase}},
        {"secret": {"type": mine.secret, "pem": mine.pem}},
        {"secret": {"name": mine.secret * 9, "pem": mine.pem}},
    ]
    for body in wrong:
        for method, path in (("POST", "secrets"), ("PUT", f"secrets/{kept['id']}")):
            told.append(str(await api.ask(method, f"/v2/lbaas/{path}", 400, json=body)))
    raws = [f'{{"secret": {{"pem": "{mine.secret}', mine.secret]
    for text in raws:
        told.append(str(await api.ask("POST", "/v2/lbaas/secrets", 400, content=text)))
    root = await api.load_balancer("amphora")
    for reference in (mine.secret[:200], passphrase):
        await api.listener(
            root, 400, protocol="TERMINATED_HTTPS", default_tls_container_ref=reference
        )
    with pytest.raises(Broken) as broken:
        await secrets_of(database, Seal(b"x" * 32)).fetch(ProjectId("default"), [kept["id"]])
    told.append(f"{broken.value!r} {broken.value.detail}")
    out, err = capfd.readouterr()
    told += [out, err, await dump(database)]
    for text in told:
        for piece in (*(line[:24] for line in lines), raw.hex()[40:80]):
            assert piece not in text
    for text in (*told[:1], out, err, told[-1]):
        assert passphrase not in text


async def dump(database: Database) -> str:
    """All rows of all tables as text."""
    async with database.read() as connection:
        tables = await connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        found = []
        for (table,) in await tables.fetchall():
            rows = await connection.execute(f"SELECT t::text FROM {table} t".encode())
            found += [row[0] for row in await rows.fetchall()]
    return "\n".join(found)


async def test_the_master_key_is_exchanged_and_may_be_ended_anywhere(
    api: Api, database: Database, database_url: str, tmp_path: Any
) -> None:
    state = tmp_path / "state"
    (state / "pki").mkdir(parents=True)
    key_file, config_file = state / "pki" / "master.key", tmp_path / "colonnade.toml"
    write_config(config_file, Config(state_dir=state, run_dir=state, database_url=database_url))
    write_keys(key_file, bytes(32))  # the one that the API of these tests seals with
    old = read_keys(key_file)[0]
    running = Seal.from_file(key_file)
    kept = [await secret(api, pem=WEB.pem) for _ in range(3)]
    async with database.transaction() as connection:
        for number in range(3):
            amphora = new_id()
            await connection.execute(
                "INSERT INTO amphorae (id, state, heartbeat_key) VALUES (%s, 'BOOTING', %s)",
                [amphora, running.seal(b"key %d" % number, amphora)],
            )
    target = {
        "type": "S3",
        "url": "https://s3.example.org",
        "bucket": "logs",
        "credentials": {"access_key": "a", "secret_key": "s"},
    }
    await api.post("logtargets", {"logtarget": target})

    async def opens(seal: Seal) -> bool:
        async with database.read() as connection:
            amphorae = await connection.execute("SELECT id, heartbeat_key FROM amphorae")
            targets = await connection.execute("SELECT id, credentials FROM log_targets")
            rows = [*await amphorae.fetchall(), *await targets.fetchall()]
        try:
            for row_id, sealed in rows:
                seal.unseal(sealed, row_id)
            for one in kept:
                found = await secrets_of(database, seal).fetch(ProjectId("default"), [one["id"]])
                assert found[one["id"]] == WEB.pem
        except Broken:
            return False
        return True

    def rotate(*more: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["master-key", "rotate", "--config", str(config_file), "--settled-s", "0", *more])
        assert ended.value.code == 0

    # Ended after the file was exchanged and one row was sealed anew.
    new = b"n" * 32
    write_keys(key_file, new, old)
    async with database.transaction() as connection:
        found = await connection.execute("SELECT id, heartbeat_key FROM amphorae LIMIT 1")
        for amphora, sealed in await found.fetchall():
            await connection.execute(
                "UPDATE amphorae SET heartbeat_key = %s WHERE id = %s",
                [Seal(new, old).renew(sealed, amphora), amphora],
            )
    assert await opens(running)  # which read the file when it had one key
    assert not await opens(Seal(old))
    assert not await opens(Seal(new))
    await asyncio.to_thread(rotate, "--keep-old")
    assert read_keys(key_file) == (new, old)
    assert await opens(Seal(new))
    await asyncio.to_thread(rotate)
    assert read_keys(key_file) == (new,)
    await asyncio.to_thread(rotate, "--prepare")
    first, second = read_keys(key_file)
    assert first == new
    assert await opens(Seal(new))
    assert Seal(new).unseal(running.seal(b"later", "x"), "x") == b"later"
    await asyncio.to_thread(rotate, "--prepare")
    assert read_keys(key_file) == (first, second)
    await asyncio.to_thread(rotate)
    (newest,) = read_keys(key_file)
    assert newest == second
    assert newest not in (old, new)
    assert await opens(Seal(newest))
    assert not await opens(Seal(new))
    assert await opens(running)
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert (await key_rotation.renew(database, running)).rows == 0
