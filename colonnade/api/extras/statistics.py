# SPDX-License-Identifier: Apache-2.0
"""What load balancers carried, in more detail than the contract's five numbers, and for monitors.

All counters are absolute and never go back; a reader takes differences. These routes are ours:
the contract's own answers keep their exact shape. Knows nothing of how anything is counted.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from colonnade.api.extras import project_metrics
from colonnade.api.extras.project_metrics import NONE, Statuses
from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.resources.derived import Id
from colonnade.api.resources.objects import Time, wrapped
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import ListenerId, LoadBalancerId
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.runtime.metrics import text_of
from colonnade.store.postgres.times import time
from colonnade.store.reports import traffic
from colonnade.store.reports.traffic import (
    OBJECTS_MAX,
    OF_NOW,
    ListenerCounted,
    ListenerTraffic,
    MemberCounted,
    MemberTraffic,
    Series,
)

YEAR_MIN: Final = 1970
# Where Prometheus wants another name: base units, and no "total" but the one at the end.
_MEASURED: Final = {
    "response_ms": ("response_seconds", 1000),
    "total_connections": ("connections", 1),
}
_OF_LISTENER: Final = ("loadbalancer", "loadbalancer_name", "listener", "listener_name")
_OF_MEMBER: Final = (
    "loadbalancer",
    "loadbalancer_name",
    "pool",
    "pool_name",
    "member",
    "member_name",
)


async def show_load_balancer_statistics(call: Call) -> JSON:
    root_id = LoadBalancerId(call.id("load_balancer_id"))
    since = read_since(call.query.get("since", [""])[-1])
    await call.check(LOAD_BALANCERS, root_id)
    async with call.site.database.read() as connection:
        listeners, members = await traffic.of_load_balancer(connection, root_id)
        series = None
        if since is not None:
            series = await traffic.series(connection, root_id, since, datetime.now(UTC))
    return {"statistics": _shown(root_id, listeners, members, series)}


async def show_metrics(call: Call) -> JSON:
    async with call.site.database.read() as connection:
        listeners, members = await traffic.of_project(connection, call.project)
        statuses = await project_metrics.look(connection, call.project)
    # Thousands of lines: others are served meanwhile.
    return await asyncio.to_thread(exposition, listeners, members, statuses)


def exposition(
    listeners: Sequence[ListenerCounted],
    members: Sequence[MemberCounted],
    statuses: Statuses = NONE,
) -> bytes:
    """The numbers in the text format of Prometheus. Pure."""
    of_listeners = [
        ([one.load_balancer_id, one.load_balancer_name, one.id, one.name], one.traffic)
        for one in listeners
    ]
    of_members = [
        (
            [
                *(one.load_balancer_id, one.load_balancer_name, one.pool_id, one.pool_name),
                *(one.id, one.name),
            ],
            one.traffic,
        )
        for one in members
    ]
    metrics: list[Metric] = [
        *_metrics("listener", _OF_LISTENER, ListenerTraffic, of_listeners),
        *_metrics("member", _OF_MEMBER, MemberTraffic, of_members),
        *project_metrics.families(statuses),
    ]
    complete = max(len(listeners), len(members), statuses.most) < OBJECTS_MAX
    said = "1 when all objects are shown, 0 when they are too many for one answer"
    metrics.append(GaugeMetricFamily("colonnade_metrics_complete", said, value=int(complete)))
    return text_of(metrics)


def read_since(text: str) -> datetime | None:
    """A time (ISO 8601, UTC where it says nothing) or seconds since 1970; None for no text. Raises
    Invalid."""
    if not text:
        return None
    try:
        # A "+" of a time zone is a space to those who read query strings.
        found = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        try:
            found = datetime.fromtimestamp(float(text), UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise Invalid(
                f"Invalid input for since. Value: '{text[:50]}'. Value should be a time as in "
                "2026-01-31T12:00:00Z, or seconds since 1970",
                field="since",
            ) from error
    if found.year < YEAR_MIN:
        raise Invalid("Invalid input for since: the year is before 1970", field="since")
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _metrics(
    noun: str,
    labels: Sequence[str],
    kind: type[msgspec.Struct],
    counted: Sequence[tuple[list[str], Any]],
) -> Iterable[Metric]:
    for field in kind.__struct_fields__:
        measured, per_unit = _MEASURED.get(field, (field, 1))
        name, words = f"colonnade_{noun}_{measured}", f"{measured.replace('_', ' ')} of each {noun}"
        family: CounterMetricFamily | GaugeMetricFamily
        if field in OF_NOW:
            family = GaugeMetricFamily(name, f"Present {words}", labels=labels)
        else:
            family = CounterMetricFamily(name, words.capitalize(), labels=labels)
        for values, numbers in counted:
            family.add_metric(values, getattr(numbers, field) / per_unit)
        yield family


def _shown(
    root_id: LoadBalancerId,
    listeners: Sequence[ListenerCounted],
    members: Sequence[MemberCounted],
    series: Series | None,
) -> dict[str, Any]:
    pools: dict[str, dict[str, Any]] = {}
    for one in members:
        pool = pools.setdefault(
            one.pool_id, {"id": one.pool_id, "name": one.pool_name, "members": []}
        )
        numbers = msgspec.structs.asdict(one.traffic)
        pool["members"].append({"id": one.id, "name": one.name, **numbers})
    total = {
        name: sum(getattr(one.traffic, name) for one in listeners)
        for name in ListenerTraffic.__struct_fields__
    }
    return {
        "loadbalancer_id": root_id,
        **total,
        "listeners": [
            {
                "id": one.id,
                "name": one.name,
                **msgspec.structs.asdict(one.traffic),
                **({"series": _points(series, one.id)} if series is not None else {}),
            }
            for one in listeners
        ],
        "pools": list(pools.values()),
        **({"series_step_s": series.step_s} if series is not None else {}),
    }


def _points(series: Series, listener_id: ListenerId) -> list[dict[str, Any]]:
    return [
        {
            "at": time(point.at),
            **msgspec.structs.asdict(point.traffic),
        }
        for point in series.points.get(listener_id, ())
    ]


class Point(ListenerTraffic, frozen=True, kw_only=True):
    at: Time


class ListenerStatistics(ListenerTraffic, frozen=True, kw_only=True):
    id: Id
    name: str
    series: list[Point] | UnsetType = UNSET


class MemberStatistics(MemberTraffic, frozen=True, kw_only=True):
    id: Id
    name: str


class PoolStatistics(msgspec.Struct, kw_only=True):
    id: Id
    name: str
    members: list[MemberStatistics]


class DetailedStatistics(ListenerTraffic, frozen=True, kw_only=True):
    loadbalancer_id: Id
    listeners: list[ListenerStatistics]
    pools: list[PoolStatistics]
    series_step_s: int | UnsetType = UNSET


_RULE: Final = "os_load-balancer_api:loadbalancer:get_stats"
ROUTES: Final = [
    Route(
        method="GET",
        path="/v2/lbaas/loadbalancers/{load_balancer_id:str}/statistics",
        handler=show_load_balancer_statistics,
        answers=wrapped("statistics", DetailedStatistics),
        summary="Show what each listener and member carried, and with `since` how it came to be",
        query=("since",),
        rule=_RULE,
    ),
    Route(
        method="GET",
        path="/v2/lbaas/metrics",
        handler=show_metrics,
        summary="Show how load balancers of a project do, and what they carried, for Prometheus",
        media_type=CONTENT_TYPE_LATEST,
        rule=_RULE,
    ),
]
