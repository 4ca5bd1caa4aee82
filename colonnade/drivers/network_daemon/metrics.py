# SPDX-License-Identifier: Apache-2.0
"""What the network daemon tells Prometheus: how it was asked, what runs, and what addresses are
left.
"""

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from aiohttp import web
from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from colonnade.drivers.compute.protocol import Instance

OTHER: Final = "other"
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


def families(found: Iterable[Instance], usage: Mapping[str, tuple[int, int]]) -> Iterable[Metric]:
    """`usage`: of each range, the addresses that are taken and those that are left. Pure."""
    instances = GaugeMetricFamily(
        "colonnade_network_instances", "Amphorae on this machine, by state", labels=["state"]
    )
    for state, count in Tally(one.state.value for one in found).items():
        instances.add_metric([state.lower()], count)
    used = GaugeMetricFamily(
        "colonnade_network_used_addresses", "Addresses that ports have, by subnet", labels=["cidr"]
    )
    free = GaugeMetricFamily(
        "colonnade_network_free_addresses", "Addresses that ports may get", labels=["cidr"]
    )
    for cidr, (taken, left) in usage.items():
        used.add_metric([cidr], taken)
        free.add_metric([cidr], left)
    return [instances, used, free]
