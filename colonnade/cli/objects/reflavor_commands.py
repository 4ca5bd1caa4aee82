# SPDX-License-Identifier: Apache-2.0
"""Another flavor for a load balancer of any project, as an operator sees it: what it would take,
and how far it is, amphora by amphora.

It asks for what its owner's `lb set --flavor` asks for; only what it shows is of operators alone.
"""

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from colonnade.cli.objects import dry_runs
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.settling import SETTLE_S_MAX, is_pending, settled
from colonnade.cli.objects.tree_drawing import LoadBalancer
from colonnade.cli.waiting import until
from colonnade.domain.catalogue import NO_ID

NONE: Final = "none"
PAUSE_S: Final = 0.2
Flavor = Annotated[
    str,
    typer.Option(
        "--flavor", metavar="NAME|ID", autocompletion=names_of("flavor"), show_default=False,
        help=f"The flavor that it shall have; '{NONE}' for no flavor.",
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what it would take; change nothing.")]
Waiting = Annotated[
    bool, typer.Option("--wait", help="Show each step until it is done, or has failed.")
]


async def admin_reflavor(
    session: Session,
    load_balancer: LoadBalancer,
    flavor: Flavor,
    dry_run: DryRun = False,
    wait: Waiting = False,
) -> None:
    """Give a load balancer of any project another flavor, in place: its VIPs stay."""
    before = await session.object("lb", load_balancer)
    flavor_id = NO_ID if flavor == NONE else await session.id("flavor", flavor)
    place, wish = f"lbaas/loadbalancers/{before['id']}", {"loadbalancer": {"flavor_id": flavor_id}}
    if dry_run:
        found = await dry_runs.tried(
            session, lambda query: session.rest.put(place, wish, dict(query))
        )
        if session.as_json:
            session.printer.json(found)
            return
        session.printer.said(f"project {before['project_id']}, now {_served(before)}")
        dry_runs.show(session, found)
        return
    after = (await session.rest.put(place, wish))["loadbalancer"]
    if wait:
        await _followed(session, after["id"])
        after = dict(await settled(session, session.names.noun("lb"), after))
    if session.as_json:
        session.printer.json(after)
        return
    changed = f"{_served(before)} -> {_served(after)}"
    session.printer.said(f"load balancer {load_balancer}: {changed}; its VIPs stay")


async def _followed(session: Session, root_id: str) -> None:
    """Tell each step, until there is nothing more to do."""
    began, told = time.monotonic(), ""

    async def is_over() -> bool:
        nonlocal told
        amphorae = await session.rest.get("octavia/amphorae", {"loadbalancer_id": root_id})
        root = (await session.rest.get(f"lbaas/loadbalancers/{root_id}"))["loadbalancer"]
        now = "; ".join(sorted(map(_amphora, amphorae["amphorae"]))) or "no amphora"
        if now != told and not session.as_json:
            session.printer.said(f"{time.monotonic() - began:6.1f} s  {now}")
        told = now
        return not is_pending(root)

    await until(is_over, within_s=SETTLE_S_MAX, what="the change", pause_s=PAUSE_S)


def _amphora(shown: Mapping[str, Any]) -> str:
    role = shown["role"] or ""
    return f"{shown['id'][:8]} {shown['status'].lower()} {role.lower()}".rstrip()


def _served(root: Mapping[str, Any]) -> str:
    return f"{root.get('topology')} (flavor {root.get('flavor_id') or NONE})"
