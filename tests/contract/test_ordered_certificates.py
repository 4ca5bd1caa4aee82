# SPDX-License-Identifier: Apache-2.0
"""Certificates that are ordered, as users see them and as the store keeps them. The issuer is a
fake; a real one is asked in `tests/e2e/test_ordered_certificates.py`."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

import pytest
import pytest_asyncio

from colonnade.domain.ids import ClusterId
from colonnade.drivers.secrets.database import Seal
from colonnade.notifier.orders import Orders
from colonnade.runtime.config import Acme
from colonnade.store.postgres.database import Database
from colonnade.store.secrets import key_rotation
from colonnade.store.trees import wishes
from tests.certificates import made
from tests.contract.api_client import SEAL, Api, serving
from tests.fakes.issuer import FakeIssuer

SHOP, ALIAS = "shop.example.com", "www.shop.example.com"
ACME = Acme(directory="https://issuer.example.test/dir", agree=True)


class Bench:
    """The API, an issuer, and what orders from it."""

    def __init__(self, api: Api, database: Database, issuer: FakeIssuer) -> None:
        self.api, self.database, self.issuer = api, database, issuer
        self.orders = Orders(database, SEAL, issuer)
        self.id = ""
        self.root: Any = None

    async def make(self, *names: str, **more: Any) -> Any:
        body = {"host_names": names or [SHOP], **more}
        made_now = (await self.api.post("secrets", {"secret": body}))["secret"]
        self.id = made_now["id"]
        return made_now

    async def shown(self) -> Any:
        return (await self.api.get(f"secrets/{self.id}"))["secret"]

    async def use(self) -> None:
        """By a load balancer that serves all of it, and answers on port 80."""
        self.root = await self.api.load_balancer("amphora")
        await self.api.listener(
            self.root, protocol="TERMINATED_HTTPS", protocol_port=443,
            default_tls_container_ref=self.id,
        )  # fmt: skip
        await self.api.listener(self.root, protocol="HTTP", protocol_port=80)
        await self.serve()

    async def serve(self) -> None:
        await self.run("UPDATE clusters SET applied_lowest = generation")

    async def is_due(self) -> None:
        await self.run("UPDATE secrets SET next_order_at = now()")

    async def order(self) -> float | None:
        return await self.orders.reconcile(self.id)

    async def issues(self) -> list[str]:
        found = await self.api.get(f"loadbalancers/{self.root['id']}")
        return [one for one in found["loadbalancer"]["issues"] if "Secret" in one]

    async def run(self, sentence: LiteralString, *values: Any) -> Any:
        async with self.database.transaction() as connection:
            cursor = await connection.execute(sentence, values)
            return await cursor.fetchall() if cursor.description else None

    async def clusters(self) -> Any:
        rows = await self.run("SELECT id, generation FROM clusters")
        async with self.database.read() as connection:
            wanted = await wishes.wanted(connection, ClusterId(rows[0][0]))
        assert wanted is not None
        return wanted


@pytest_asyncio.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with serving(database, acme=ACME) as api:
        yield Bench(api, database, FakeIssuer(SHOP, ALIAS))


async def test_a_certificate_takes_the_place_of_its_stand_in_for_all_that_use_it(
    bench: Bench,
) -> None:
    first = await bench.make(SHOP, ALIAS, name="shop")
    assert first["subject_alt_names"] == [SHOP, ALIAS]
    assert (first["order_status"], first["stand_in"]) == ("WAITING", True)
    await bench.use()
    (issue,) = await bench.issues()
    assert f"Secret {bench.id} (shop) is self-signed until its certificate is issued." in issue
    before = (await bench.clusters()).generation
    wait_s = await bench.order()
    issued = await bench.shown()
    assert (issued["order_status"], issued["stand_in"]) == ("ISSUED", False)
    assert issued["issuer"] == "CN=Fake issuer"
    assert issued["order_attempts"] == 0
    assert (await bench.clusters()).generation == before + 1
    assert await bench.issues() == []
    assert wait_s == 86_400, "it is looked at once a day, whatever becomes of the clock"
    assert (await bench.order() or 0) > 1
    assert bench.issuer.asked == [(SHOP, ALIAS)]


async def test_all_that_use_it_answer_for_its_names_and_nobody_else(bench: Bench) -> None:
    await bench.make(SHOP, ALIAS)
    await bench.use()
    challenge = (await bench.clusters()).challenge
    assert challenge.host_names == (SHOP, ALIAS)
    ((thumbprint,),) = await bench.run("SELECT thumbprint FROM issuer_accounts")
    assert challenge.thumbprint == thumbprint
    await bench.api.put(f"secrets/{bench.id}", {"secret": {"pem": made(SHOP).pem}})
    assert (await bench.clusters()).challenge is None
    shown = await bench.shown()
    assert (shown["host_names"], shown["order_status"]) == ([], None)
    assert await bench.order() is None


async def test_nothing_is_ordered_before_somebody_can_answer(bench: Bench) -> None:
    await bench.make()
    await bench.order()
    assert (await bench.shown())["order_reason"] == "It is ordered when a listener uses it."
    root = bench.root = await bench.api.load_balancer("amphora", name="front")
    await bench.api.listener(
        root, protocol="TERMINATED_HTTPS", protocol_port=443, default_tls_container_ref=bench.id
    )
    await bench.serve()
    await bench.order()
    assert (
        "load balancer front has no listener there that is up: create one"
        in (await bench.issues())[0]
    )
    http = await bench.api.listener(root, protocol="HTTP", protocol_port=80, admin_state_up=False)
    await bench.serve()
    await bench.order()
    assert "has no listener there" in (await bench.shown())["order_reason"]
    await bench.api.put(f"listeners/{http['id']}", {"listener": {"admin_state_up": True}})
    assert await bench.order() == bench.orders.look_s
    assert (await bench.shown())["order_reason"].endswith("as soon as the load balancer serves.")
    assert bench.issuer.asked == []
    await bench.serve()
    await bench.order()
    assert (await bench.shown())["order_status"] == "ISSUED"


async def test_a_failure_is_told_with_its_cure_and_not_repeated_at_once(bench: Bench) -> None:
    await bench.make("lost.example.com")
    await bench.use()
    wait_s = await bench.order()
    assert wait_s is not None
    assert 120 <= wait_s <= 150
    shown = await bench.shown()
    assert (shown["order_status"], shown["stand_in"]) == ("FAILING", True)
    assert "lost.example.com: it is lost. To do: let it lead here." in shown["order_reason"]
    assert shown["order_reason"] in (await bench.issues())[0]
    assert await bench.order() == pytest.approx(wait_s, abs=60)
    assert len(bench.issuer.asked) == 1
    await bench.is_due()
    bench.issuer.led.add("lost.example.com")
    await bench.order()
    assert (await bench.shown())["order_status"] == "ISSUED"
    assert await bench.issues() == []


async def test_an_attempt_counts_though_its_process_is_ended(bench: Bench) -> None:
    await bench.make()
    await bench.use()

    class Ended(Exception):
        pass

    class Ending(FakeIssuer):
        async def issue(self, *_: Any) -> str:
            raise Ended

    bench.orders = Orders(bench.database, SEAL, Ending())
    with pytest.raises(Ended):
        await bench.order()
    shown = await bench.shown()
    assert (shown["order_attempts"], shown["order_status"]) == (1, "WAITING")
    assert (await bench.order() or 0) > 60, "whoever comes next does not begin at once"


async def test_one_that_cannot_be_renewed_is_served_and_noted_before_its_end(bench: Bench) -> None:
    bench.issuer.life = timedelta(minutes=4)
    await bench.make()
    await bench.use()
    wait_s = await bench.order()
    first = await bench.shown()
    assert wait_s is not None
    assert wait_s < 240
    assert first["expiring"] is False
    await bench.serve()
    await bench.is_due()
    bench.issuer.led.clear()
    await bench.order()
    shown = await bench.shown()
    assert (shown["order_status"], shown["stand_in"]) == ("FAILING", False)
    assert shown["fingerprint"] == first["fingerprint"]
    await bench.run(
        "UPDATE secrets SET not_before = now() - interval '80 days',"
        " not_after = now() + interval '10 days'"
    )
    assert (await bench.shown())["expiring"] is True
    found = await bench.api.get("secrets?expiring=true&order_status=FAILING")
    assert [one["id"] for one in found["secrets"]] == [bench.id]


async def test_other_names_are_ordered_while_what_is_there_is_served(bench: Bench) -> None:
    await bench.make()
    await bench.use()
    await bench.order()
    first = await bench.shown()
    path = f"secrets/{bench.id}"
    await bench.api.put(path, {"secret": {"host_names": [SHOP]}})
    assert (await bench.shown())["order_status"] == "ISSUED", "the same once more is nothing"
    assert (await bench.order() or 0) > 3600
    changed = (await bench.api.put(path, {"secret": {"host_names": [SHOP, ALIAS]}}))["secret"]
    assert (changed["order_status"], changed["stand_in"]) == ("WAITING", False)
    assert changed["fingerprint"] == first["fingerprint"]
    await bench.serve()
    await bench.order()
    assert (await bench.shown())["subject_alt_names"] == [SHOP, ALIAS]
    assert bench.issuer.asked == [(SHOP,), (SHOP, ALIAS)]


async def test_what_cannot_be_ordered_is_refused_with_the_reason(
    bench: Bench, database: Database
) -> None:
    for said, reason in (
        ({"host_names": ["*.example.com"]}, "wildcards need proof by DNS"),
        ({"host_names": []}, "at least one name"),
        ({"host_names": [SHOP], "pem": "x"}, "without pem"),
        ({"host_names": [SHOP], "type": "CA"}, "are for a CERTIFICATE"),
    ):
        answer = await bench.api.post("secrets", {"secret": said}, 400)
        assert reason in answer["faultstring"], said
    for settings, reason in (
        (Acme(), "no issuer is configured"),
        (Acme(directory="https://x.test"), "nobody agreed"),
    ):
        async with serving(database, acme=settings) as api:
            answer = await api.post("secrets", {"secret": {"host_names": [SHOP]}}, 501)
            assert reason in answer["faultstring"]


async def test_an_operator_who_takes_the_issuer_away_is_named_as_the_reason(bench: Bench) -> None:
    await bench.make()
    await bench.use()
    bench.orders = Orders(bench.database, SEAL, bench.issuer, Acme().lack)
    await bench.order()
    assert "`directory` of [acme]" in (await bench.shown())["order_reason"]
    assert bench.issuer.asked == []


async def test_keys_are_sealed_and_the_master_key_may_be_exchanged(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.make()
    await bench.use()
    await bench.order()
    ((account_id, sealed),) = await bench.run("SELECT id, key FROM issuer_accounts")
    assert b"PRIVATE" not in bytes(sealed)
    assert "BEGIN PRIVATE KEY" in SEAL.unseal(bytes(sealed), str(account_id)).decode()
    newer = b"n" * 32
    both = Seal(newer, *SEAL._keys)
    renewed = await key_rotation.renew(bench.database, both)
    assert renewed.lost == 0
    ((account_id, sealed),) = await bench.run("SELECT id, key FROM issuer_accounts")
    assert "BEGIN PRIVATE KEY" in Seal(newer).unseal(bytes(sealed), str(account_id)).decode()
