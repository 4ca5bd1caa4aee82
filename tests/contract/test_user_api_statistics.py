# SPDX-License-Identifier: Apache-2.0
"""The detailed counters, over HTTP: for people, for charts and for Prometheus."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from colonnade.api.extras.statistics import exposition, read_since
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import AmphoraId, ListenerId, LoadBalancerId, MemberId, PoolId
from colonnade.store.postgres.database import Database
from colonnade.store.reports import traffic
from colonnade.store.reports.traffic import (
    ListenerCounted,
    ListenerTraffic,
    MemberCounted,
    MemberTraffic,
)
from tests.contract.api_client import Api, api

__all__ = ["api"]

FIVE = {"active_connections", "bytes_in", "bytes_out", "request_errors", "total_connections"}


async def told(database: Database, listener: Any, member: Any, count: int) -> None:
    """An amphora of the listener's cluster told of this."""
    amphora = str(uuid4())
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO amphorae (id, state, cluster_id, heartbeat_key)"
            " SELECT %s, 'SERVING', lb.cluster_id, '' FROM load_balancers lb"
            " JOIN listeners l ON l.load_balancer_id = lb.id WHERE l.id = %s",
            [amphora, listener["id"]],
        )
        await traffic.record(
            connection,
            AmphoraId(amphora),
            {ListenerId(listener["id"]): ListenerTraffic(requests=count, responses_5xx=1)},
            {MemberId(member["id"]): MemberTraffic(requests=count, queued=2, response_ms=5)},
        )


async def test_what_was_carried_is_shown_to_its_project(api: Api, database: Database) -> None:
    root = await api.load_balancer(provider="amphora", name='a "name"\n')
    listener = await api.listener(root, name="web")
    pool = await api.pool(root, listener_id=listener["id"], name="p")
    member = await api.member(pool, name="m")
    path = f"loadbalancers/{root['id']}/statistics"
    nothing = (await api.get(path))["statistics"]
    assert (nothing["requests"], nothing["listeners"][0]["requests"]) == (0, 0)
    assert nothing["pools"][0]["members"][0]["queued"] == 0

    since = datetime.now(UTC) - timedelta(minutes=1)
    for count in (100, 20):
        await told(database, listener, member, count)
    found = (await api.get(path, params={"since": since.isoformat()}))["statistics"]
    assert (found["loadbalancer_id"], found["requests"], found["responses_5xx"]) == (
        root["id"],
        120,
        2,
    )
    (shown,) = found["listeners"]
    assert (shown["id"], shown["name"], shown["requests"]) == (listener["id"], "web", 120)
    (one,) = found["pools"][0]["members"]
    assert (one["id"], one["name"]) == (member["id"], "m")
    assert (one["requests"], one["queued"], one["response_ms"]) == (120, 4, 5)
    assert found["series_step_s"] == 10
    assert shown["series"][-1]["requests"] == 120
    assert "series" not in (await api.get(path))["statistics"]["listeners"][0]
    # The contract's own answers keep their shape.
    for five in (f"loadbalancers/{root['id']}/stats", f"listeners/{listener['id']}/stats"):
        assert set((await api.get(five))["stats"]) == FIVE

    answer = await api.client.get("/v2/lbaas/metrics")
    kind = answer.headers["content-type"]
    assert kind.startswith("text/plain; version=")
    assert kind.count("charset") == 1
    samples = {
        (sample.name, sample.labels.get("loadbalancer")): sample
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    requests = samples["colonnade_listener_requests_total", root["id"]]
    assert requests.value == 120
    assert requests.labels == {
        "loadbalancer": root["id"],
        "loadbalancer_name": root["name"],
        "listener": listener["id"],
        "listener_name": "web",
    }
    assert samples["colonnade_member_queued", root["id"]].value == 4
    assert ("colonnade_listener_connections_total", root["id"]) in samples
    assert samples["colonnade_member_response_seconds", root["id"]].value == 0.005

    other = {"X-Project-Id": "another"}
    assert (await api.client.get("/v2/lbaas/metrics", headers=other)).text.count("{") == 0
    await api.get(path, 403, headers=other)
    await api.get(f"loadbalancers/{uuid4()}/statistics", 404)
    await api.get(path, 400, params={"since": "yesterday"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T13:00:00 01:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("1769860800", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_many_forms(text: str, expected: datetime | None) -> None:
    assert read_since(text) == expected


@pytest.mark.parametrize("text", ["yesterday", "nan", "1e99", "-1e99", "0001-01-01T00:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_since(text)


def test_no_name_breaks_the_lines_of_the_metrics() -> None:
    hostile = 'x"} 1\n\\evil{a="b'
    listener = ListenerCounted(
        LoadBalancerId("l"), hostile, ListenerId("i"), hostile, ListenerTraffic(requests=7)
    )
    member = MemberCounted(
        *(LoadBalancerId("l"), hostile, PoolId("p"), hostile, MemberId("m"), hostile),
        MemberTraffic(queued=3),
    )
    text = exposition([listener], [member]).decode()
    families = list(text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    assert {name for sample in samples for name in sample.labels.values() if len(name) > 1} == {
        hostile
    }
    fields = len(ListenerTraffic.__struct_fields__) + len(MemberTraffic.__struct_fields__)
    assert len(samples) == fields + 1
    assert samples[-1].value == 1
    cut_off = exposition([listener] * traffic.OBJECTS_MAX, []).decode()
    assert "colonnade_metrics_complete 0.0" in cut_off
