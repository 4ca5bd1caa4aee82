# SPDX-License-Identifier: Apache-2.0
"""What operators do to load balancers and amphorae, and what providers say they can."""

from typing import Annotated

import typer

from colonnade.cli.nouns.description import NAME, Column
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.counters import Amphora
from colonnade.cli.objects.session import Session
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


async def lb_failover(session: Session, load_balancer: LoadBalancer, wait: Waiting = False) -> None:
    """Replace the amphorae that serve a load balancer."""
    root_id = await session.id("lb", load_balancer)
    await session.rest.put(f"lbaas/loadbalancers/{root_id}/failover")
    if wait:
        await settled(session, session.names.noun("lb"), {"id": root_id})
    _done(session, root_id, f"load balancer {load_balancer} fails over")


async def amphora_failover(session: Session, amphora: Amphora) -> None:
    """Replace an amphora."""
    await session.rest.put(f"octavia/amphorae/{amphora}/failover")
    _done(session, amphora, f"amphora {amphora} is being replaced")


async def amphora_configure(session: Session, amphora: Amphora) -> None:
    """Send an amphora its configuration again."""
    await session.rest.put(f"octavia/amphorae/{amphora}/config")
    _done(session, amphora, f"amphora {amphora} gets its configuration again")


async def provider_capabilities(session: Session, provider: Provider, az: Zones = False) -> None:
    """List the settings that flavors, or availability zones, can have."""
    word = "availability_zone_capabilities" if az else "flavor_capabilities"
    name = await session.id("provider", provider)
    found = (await session.rest.get(f"lbaas/providers/{name}/{word}"))[word]
    session.printer.list(found, (NAME, Column("Description", "description", wraps=True)))


def _done(session: Session, object_id: str, sentence: str) -> None:
    if session.as_json:
        session.printer.json({"accepted": object_id})
    else:
        session.printer.said(sentence)
