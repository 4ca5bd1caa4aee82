# SPDX-License-Identifier: Apache-2.0
"""What the network daemon tells Prometheus: how it was asked, what runs, and what addresses are
left.
"""

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias

from aiohttp import web
from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from colonnade.drivers.compute.protocol import Instance

OTHER: Final = "other"
# Of each network and range: addresses that are taken, and those that are left.
Usage: TypeAlias = Mapping[tuple[str, str], tuple[int, int]]
REQUESTS: Final = Counter(
    "colonnade_network_requests",
    "Requests to the private API, by method, route and status code",
    ["method", "route", "code"],
)


@web.middleware
async def counting(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Stands before what makes answers of errors, so that it sees their codes."""
    code = 500
    try:
        response = await handler(request)
        code = response.status
        return response
    except web.HTTPException as error:
        code = error.status
        raise
    finally:
        resource = request.match_info.route.resource
        name = OTHER if resource is None else resource.canonical
        method = OTHER if resource is None else request.method
        REQUESTS.labels(method, name, str(code)).inc()


def families(found: Iterable[Instance], usage: Usage) -> Iterable[Metric]:
    """How things are, as Prometheus reads it. Pure."""
    instances = GaugeMetricFamily(
        "colonnade_network_instances", "Amphorae on this machine, by state", labels=["state"]
    )
    for state, count in Tally(one.state.value for one in found).items():
        instances.add_metric([state.lower()], count)
    labels = ["network", "cidr"]
    used = GaugeMetricFamily(
        "colonnade_network_used_addresses", "Addresses that ports have, by subnet", labels=labels
    )
    free = GaugeMetricFamily(
        "colonnade_network_free_addresses", "Addresses that ports may get", labels=labels
    )
    for place, (taken, left) in usage.items():
        used.add_metric(place, taken)
        free.add_metric(place, left)
    return [instances, used, free]
