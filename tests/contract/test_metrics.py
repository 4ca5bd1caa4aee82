# SPDX-License-Identifier: Apache-2.0
"""What the processes tell Prometheus is what happened, and they tell it to whom they should."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import httpx
import pytest
from msgspec.structs import replace
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from colonnade.api.app import counts_of, create_app
from colonnade.api.http.call import Site
from colonnade.controller.amphora_metrics import route
from colonnade.controller.metrics import FENCED, PASSES, WISH_SECONDS, Told, families
from colonnade.domain.errors import Unreachable
from colonnade.protocol.messages import Info, Numbers, ServerStatus, StatusReport
from colonnade.providers.enabled import enabled_providers
from colonnade.runtime import metrics
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.config import Config
from colonnade.runtime.metrics import text_of
from colonnade.runtime.mtls import client_context
from colonnade.runtime.sockets import tcp_listener
from colonnade.store import standing
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, api
from tests.controller_acts import create
from tests.fakes.network import FakeNetwork
from tests.metric_families import INFO, NUMBERS, STATUS
from tests.world import World

__all__ = ["api"]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: bytes) -> Samples:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"colonnade_{name}", frozenset(labels.items())


def config(folder: Path, **more: Any) -> Config:
    return Config(state_dir=folder, run_dir=folder, database_url="", **more)


async def test_requests_are_counted_by_route_and_code_and_by_nothing_else(
    database: Database,
) -> None:
    counts = counts_of(1)
    providers = enabled_providers(("noop",), default="noop", network=FakeNetwork())
    app = create_app(Site(database=database, providers=providers, counts=counts))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    balancers = "/v2/lbaas/loadbalancers"
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        for path in (balancers, balancers.replace("lbaas/", ""), f"{balancers}/{uuid4()}"):
            await client.get(path)
        for nonsense in ("nonsense", "nonsense/1", "evil"):
            await client.get(f"/v2/lbaas/{nonsense}")
        await client.head(balancers)
        await client.request("PATCH", balancers)
        await client.get(balancers, headers={"origin": "http://evil.example"})
    found = samples(text_of(await counts.families()))
    name = "api_requests_total"
    assert {k: v for k, v in found.items() if k[0] == f"colonnade_{name}"} == {
        key(name, method="GET", route=balancers, code="200"): 3,
        key(name, method="GET", route=f"{balancers}/{{load_balancer_id}}", code="404"): 1,
        key(name, method="other", route="other", code="404"): 3,
        key(name, method="other", route="other", code="405"): 1,
        key(name, method="other", route="other", code="403"): 1,
    }
    seconds = "api_request_seconds"
    assert found[key(f"{seconds}_count", method="GET", route=balancers)] == 3
    assert found[key(f"{seconds}_bucket", method="GET", route=balancers, le="+Inf")] == 3
    assert 0 < found[key(f"{seconds}_sum", method="GET", route=balancers)] < 60


async def test_a_code_or_a_time_that_nobody_foresaw_is_counted_too() -> None:
    counts = counts_of(1)
    counts.count(1, 418, 9.0)
    found = samples(text_of(await counts.families()))
    codes = {dict(k[1])["code"] for k in found if k[0] == "colonnade_api_requests_total"}
    assert codes == {"other"}
    buckets = {dict(k[1])["le"]: v for k, v in found.items() if k[0].endswith("_bucket")}
    assert (buckets["2.0"], buckets["+Inf"]) == (0, 1)


async def test_workers_that_count_are_added_up() -> None:
    counts = counts_of(2)
    counts.count(1, 200, 0.1)
    counts.of_worker(1)
    counts.count(1, 200, 0.1)
    found = samples(text_of(await counts.families()))
    assert [v for k, v in found.items() if k[0] == "colonnade_api_requests_total"] == [2]


async def test_a_wish_and_a_failover_are_counted_and_told_in_a_sentence(
    database: Database, tmp_path: Path
) -> None:
    world = await World.begin(database, config(tmp_path, spares=1))
    await world.settle()
    wishes = WISH_SECONDS.collect()
    await world.create()
    with capture_logs() as logs:
        await world.settle()
    said = [one["said"] for one in logs if one["event"] == "pass"]
    assert (
        "wanted generation 1 of 1 load balancer; found no amphora; planned borrow, then"
        " plug and join, then deploy, then settle; done"
    ) in said
    (before,), (after,) = wishes, WISH_SECONDS.collect()
    assert _count(after) == _count(before) + 1

    was, passes = FENCED._value.get(), PASSES.labels("cluster", "done")._value.get()
    old = world.cut_off()
    with capture_logs() as logs:
        await world.settle()
    assert FENCED._value.get() == was + 1
    assert PASSES.labels("cluster", "done")._value.get() > passes
    (told,) = [
        one["said"] for one in logs if one["event"] == "pass" and "fence" in one.get("said", "")
    ]
    assert f"found {old} FAILED" in told
    assert "planned fence" in told


async def test_a_pass_that_fails_is_counted_as_what_it_was(
    database: Database, tmp_path: Path
) -> None:
    world = await World.begin(database, config(tmp_path, spares=1))
    await world.settle()
    world.amphorae.hated_ports = {80}
    broken = PASSES.labels("cluster", "broken")
    was = broken._value.get()
    await world.create()
    with capture_logs() as logs:
        await world.pass_once("cluster:%")
    assert broken._value.get() == was + 1
    assert [one["outcome"] for one in logs if one["event"] == "pass"] == ["broken"]


async def test_how_the_system_stands_is_what_the_rows_say(
    database: Database, tmp_path: Path
) -> None:
    world = await World.begin(database, config(tmp_path, spares=2))
    await world.settle()
    await create(world)
    await world.settle()
    found = samples(text_of(await Told(database, config(tmp_path, spares=2)).stands()))
    assert found[key("database_up")] == 1
    assert found[key("amphorae", flavor="default", state="SERVING")] == 1
    assert found[key("amphorae", flavor="default", state="SPARE")] == 2
    assert found[key("spares_target", flavor="default")] == 2
    statuses = {"provisioning_status": "ACTIVE", "operating_status": "OFFLINE"}
    assert found[key("loadbalancers", **statuses)] == 1
    assert found[key("daemons", kind="controller")] == 0
    assert found[key("work_keys", kind="spares", state="later")] in (0, 1)
    assert found[key("silent_amphorae", flavor="default", state="SERVING")] == 0

    async with database.read() as connection:
        await connection.execute("UPDATE amphorae SET state_since = now() - interval '1 h'")
        await connection.execute("UPDATE heartbeats SET seen_at = now() - interval '10 s'")
        await connection.execute(
            "INSERT INTO work (key, due_at, attempts) VALUES"
            " ('cluster:x', now() - interval '1 h', 3), ('cluster:y', now() + interval '1 h', 0)"
        )
        now = samples(text_of(families(await standing.look(connection, 3.5, 75), 2)))
    assert now[key("silent_amphorae", flavor="default", state="SERVING")] == 1
    assert now[key("silent_amphorae", flavor="default", state="SPARE")] == 0
    assert 3600 <= now[key("work_oldest_due_seconds", kind="cluster")] < 3700
    assert now[key("work_keys", kind="cluster", state="due")] == 1
    assert now[key("work_keys", kind="cluster", state="later")] == 1
    assert now[key("work_failing_keys", kind="cluster")] == 1


async def test_without_its_database_a_controller_says_just_that(tmp_path: Path) -> None:
    gone = Database("host=127.0.0.1 port=1 connect_timeout=1")
    found = samples(text_of(await Told(gone, config(tmp_path)).stands()))
    assert found == {key("database_up"): 0}


async def test_a_project_is_told_of_its_own_objects_and_of_no_others(api: Api) -> None:
    mine, theirs = {"X-Project-Id": "mine"}, {"X-Project-Id": "theirs"}
    for headers, name in ((mine, "my shop"), (theirs, "their shop")):
        api.client.headers.update(headers)
        root = await api.load_balancer(provider="amphora", name=name)
        listener = await api.listener(root)
        pool = await api.pool(root, listener_id=listener["id"], name=f"pool of {name}")
        await api.member(pool, name=f"member of {name}")
    for headers, own, other in ((mine, "my shop", "their"), (theirs, "their shop", "my ")):
        answer = await api.client.get("/v2/lbaas/metrics", headers=headers)
        assert other not in answer.text
        statuses = {
            dict(labels)["status"]
            for name, labels in samples(answer.content)
            if name == "colonnade_loadbalancer_provisioning_status"
            if dict(labels)["loadbalancer_name"] == own
        }
        assert statuses == {"PENDING_CREATE"}
        member = next(
            dict(labels)
            for name, labels in samples(answer.content)
            if name == "colonnade_member_operating_status"
        )
        assert member["pool_name"] == f"pool of {own}"
        assert member["member_name"] == f"member of {own}"
        assert member["loadbalancer_name"] == own


class Answering:
    """Agents as a controller knows them."""

    def __init__(self, gone: str) -> None:
        self.gone = gone

    async def info(self, _address: str, amphora_id: str) -> Info:
        if amphora_id == self.gone:
            raise Unreachable("an amphora does not answer")
        return INFO

    async def status(self, _address: str, _amphora_id: str) -> StatusReport:
        strange = ServerStatus(backend="p", name="m", state="of its own")
        return replace(STATUS, servers=(*STATUS.servers, strange))

    async def numbers(self, _address: str, _amphora_id: str) -> Numbers:
        return NUMBERS


async def test_an_amphora_is_asked_when_somebody_asks_for_it(
    database: Database, tmp_path: Path
) -> None:
    there, gone = str(uuid4()), str(uuid4())
    async with database.transaction() as connection:
        for one in (there, gone):
            await connection.execute(
                "INSERT INTO amphorae (id, state, heartbeat_key, lb_network_ip)"
                " VALUES (%s, 'SPARE', '', '198.18.0.9')",
                [one],
            )
    listener = tcp_listener("127.0.0.1", 0)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/amphorae"
    more = [route(database, Answering(gone))]
    told = metrics.told(config(tmp_path), "controller", listener, [_one], more)
    async with told, httpx.AsyncClient() as client:
        found = samples((await client.get(f"{base}/{there}/metrics")).content)
        assert found[key("amphora_up", amphora=there)] == 1
        assert found[key("amphora_agent_memory_bytes", amphora=there)] == 7
        assert found[key("amphora_servers", amphora=there, state="other")] == 1
        silent = samples((await client.get(f"{base}/{gone}/metrics")).content)
        assert silent == {key("amphora_up", amphora=gone): 0}
        for nobody in (uuid4(), "x", "..%2fmetrics"):
            assert (await client.get(f"{base}/{nobody}/metrics")).status_code == 404


async def _one() -> list[Metric]:
    return [GaugeMetricFamily("colonnade_test", "words", value=7)]


@asynccontextmanager
async def telling(folder: Path, host: str) -> AsyncIterator[int]:
    listener = tcp_listener(host, 0)
    port = int(listener.getsockname()[1])
    async with metrics.told(config(folder), "controller", listener, [_one]):
        yield port


@pytest.mark.parametrize(
    ("name", "status"), [("localhost", 200), ("[::1]", 200), ("evil.example", 403)]
)
async def test_on_loopback_it_is_told_to_who_asks_by_a_name_of_loopback(
    tmp_path: Path, name: str, status: int
) -> None:
    async with telling(tmp_path, "127.0.0.1") as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/metrics"
        async with session.get(url, headers={"Host": f"{name}:{port}"}) as answer:
            assert answer.status == status
            assert ("colonnade_test 7.0" in await answer.text()) is (status == 200)


async def test_elsewhere_it_is_told_to_the_office_that_may_read_it_alone(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    pki.mkdir()
    ca = Authority.new()
    (pki / "ca.pem").write_text(ca.certificate)
    for office in ("controller", "metrics", "health", str(uuid4())):
        (pki / f"{office}.pem").write_text(Authority(ca).issue(office, days=1).pem)
    statuses: dict[str, object] = {}
    async with telling(tmp_path, "0.0.0.0") as port:
        for file in [*pki.glob("*-*.pem"), pki / "health.pem", pki / "metrics.pem"]:
            context = client_context(file, pki / "ca.pem")
            kind = file.stem if file.stem in ("health", "metrics") else "an amphora"
            statuses[kind] = await _status(port, context, "https")
        nobody = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        statuses["nobody"] = await _status(port, nobody, "https")
        statuses["in the clear"] = await _status(port, None, "http")
    assert statuses == {
        "an amphora": 403,
        "health": 403,
        "metrics": 200,
        "nobody": None,
        "in the clear": None,
    }


async def _status(port: int, context: ssl.SSLContext | None, scheme: str) -> int | None:
    """None: no answer at all."""
    url = f"{scheme}://127.0.0.1:{port}/metrics"
    name = None if context is None else "controller"
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url, ssl=context or True, server_hostname=name) as answer:
                return answer.status
        except aiohttp.ClientError:
            return None


def _count(metric: Metric) -> float:
    return next(one.value for one in metric.samples if one.name.endswith("_count"))
