# SPDX-License-Identifier: Apache-2.0
"""The routes that lead the VIPs of a cluster to its amphorae: those that there are, and others.

It decides nothing: `many_active.py` says to whom the router should lead. Every call may be
repeated.
"""

from collections.abc import Mapping, Sequence

from colonnade.controller.loop import together
from colonnade.controller.many_active import destination, is_routed, routes
from colonnade.controller.planning import Facts, vips
from colonnade.domain.errors import Broken, NotFound
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.drivers.network.protocol import NetworkDriver, Route, Router


async def present_routes(network: NetworkDriver, wanted: Cluster) -> Mapping[str, Route]:
    """Those to the VIPs of the cluster, by destination."""
    if not is_routed(wanted):
        return {}
    found = {}
    for vip in vips(wanted):
        try:
            found[destination(vip)] = await _router(network).route(destination(vip))
        except NotFound:
            continue
    return found


async def lead(
    network: NetworkDriver, wanted: Cluster, target: Sequence[Amphora], facts: Facts
) -> None:
    """Have the router lead all VIPs to these amphorae and to no others."""
    router = _router(network)
    after = routes(wanted, target, facts)
    await together(
        *(
            router.set_route(route)
            for name, route in after.items()
            if facts.routes.get(name) != route
        ),
        *(router.delete_route(name) for name in facts.routes if name not in after),
    )


def _router(network: NetworkDriver) -> Router:
    router = network.router
    if router is None:
        raise Broken("the network has no router that leads VIPs to amphorae")
    return router
