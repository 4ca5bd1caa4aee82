# SPDX-License-Identifier: Apache-2.0
"""The routes that lead the VIPs of a cluster to its amphorae: those that there are, and others.

It decides nothing: plans say where the router should lead to. Every call may be repeated.
"""

from collections.abc import Mapping

from colonnade.controller.loop import together
from colonnade.controller.planning import vips
from colonnade.controller.routed import destination, is_announced, is_routed
from colonnade.domain.errors import Broken, Contended, Invalid, NotFound
from colonnade.domain.fleet import Cluster
from colonnade.drivers.network.protocol import NetworkDriver, Route, Router


async def present_routes(network: NetworkDriver, wanted: Cluster) -> Mapping[str, Route]:
    """Those to the VIPs of the cluster, by destination."""
    if not is_routed(wanted) or is_announced(wanted):
        return {}
    found = {}
    for vip in vips(wanted):
        try:
            found[destination(vip)] = await _router(network).route(destination(vip))
        except NotFound:
            continue
    return found


async def lead(
    network: NetworkDriver, before: Mapping[str, Route], after: Mapping[str, Route]
) -> None:
    """Have the router have these routes in the place of those before. Raises Contended when a next
    hop went meanwhile."""
    router = _router(network)
    try:
        await together(
            *(router.set_route(one) for name, one in after.items() if before.get(name) != one),
            *(router.delete_route(name) for name in before if name not in after),
        )
    except Invalid as error:
        raise Contended(f"a route cannot be set as planned: {error.public}") from error


def _router(network: NetworkDriver) -> Router:
    router = network.router
    if router is None:
        raise Broken("the network has no router that leads VIPs to amphorae")
    return router
