# SPDX-License-Identifier: Apache-2.0
"""What operators do to load balancers and amphorae, and what providers say they can."""

from typing import Annotated

import typer

from colonnade.cli.nouns.description import NAME, Column
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.counters import Amphora
from colonnade.cli.objects.session import Desk
from colonnade.cli.objects.settling import settled
from colonnade.cli.objects.tree_drawing import LoadBalancer

Waiting = Annotated[bool, typer.Option("--wait", help="Wait until it is done, or has failed.")]
Provider = Annotated[
    str,
    typer.Argument(
        metavar="NAME", autocompletion=names_of("provider"), help="The provider.",
        show_default=False,
    ),
]  # fmt: skip
Zones = Annotated[bool, typer.Option("--az", help="Of availability zones, not of flavors.")]


async def lb_failover(desk: Desk, load_balancer: LoadBalancer, wait: Waiting = False) -> None:
    """Replace the amphorae that serve a load balancer."""
    root_id = await desk.id("lb", load_balancer)
    await desk.rest.put(f"lbaas/loadbalancers/{root_id}/failover")
    if wait:
        await settled(desk, desk.names.noun("lb"), {"id": root_id})
    _done(desk, root_id, f"load balancer {load_balancer} fails over")


async def amphora_failover(desk: Desk, amphora: Amphora) -> None:
    """Replace an amphora."""
    await desk.rest.put(f"octavia/amphorae/{amphora}/failover")
    _done(desk, amphora, f"amphora {amphora} is being replaced")


async def amphora_configure(desk: Desk, amphora: Amphora) -> None:
    """Send an amphora its configuration again."""
    await desk.rest.put(f"octavia/amphorae/{amphora}/config")
    _done(desk, amphora, f"amphora {amphora} gets its configuration again")


async def provider_capabilities(desk: Desk, provider: Provider, az: Zones = False) -> None:
    """List the settings that flavors, or availability zones, can have."""
    word = "availability_zone_capabilities" if az else "flavor_capabilities"
    name = await desk.id("provider", provider)
    found = (await desk.rest.get(f"lbaas/providers/{name}/{word}"))[word]
    desk.printer.list(found, (NAME, Column("Description", "description", wraps=True)))


def _done(desk: Desk, object_id: str, sentence: str) -> None:
    if desk.as_json:
        desk.printer.json({"accepted": object_id})
    else:
        desk.printer.said(sentence)
