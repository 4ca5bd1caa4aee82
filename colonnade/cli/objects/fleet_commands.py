# SPDX-License-Identifier: Apache-2.0
"""What operators look at and do about the fleet as a whole."""

from typing import Annotated

import typer

from colonnade.cli.nouns.description import Column
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.upgrade_commands import sentence

For = Annotated[int, typer.Option("--for", metavar="SECONDS", help="And keep it off so long.")]
DAEMONS = (
    Column("Process", "kind"),
    Column("Address", "address"),
    Column("Seen", "seen_at"),
    Column("Missed", "missed"),
)


async def admin_fleet(session: Session) -> None:
    """Show how the fleet is: problems, safe mode, silent and outdated amphorae, processes."""
    found = (await session.rest.get("octavia/fleet"))["fleet"]
    if session.as_json:
        session.printer.json(found)
        return
    mode = found["safe_mode"]
    for problem in found["problems"] or ["nothing is wrong"]:
        session.printer.said(problem)
    word = "on" if mode["on"] else "off" if mode["enabled"] else "switched off"
    until = f", lifted until {mode['lifted_until']}" if mode["lifted_until"] else ""
    session.printer.said(f"safe mode: {word}{until}")
    session.printer.said(f"amphorae: {_counts(found['amphorae'])}")
    session.printer.said(f"replaced within an hour: {_counts(found['failovers'])}")
    for one in found["overdue"]:
        session.printer.said(f"silent for {one['silent_s']:g} s: amphora {one['amphora_id']}")
    for one in found["troubled"]:
        session.printer.said(f"in trouble: amphora {one['amphora_id']}: {one['reason']}")
    for one in found["outdated"]:
        session.printer.said(f"outdated: amphora {one['amphora_id']}: {one['reason']}")
    if found["upgrade"]:
        session.printer.said(sentence(found["upgrade"]))
    session.printer.list(found["daemons"], DAEMONS)


async def admin_lift(session: Session, seconds: For = 900) -> None:
    """End safe mode: what is silent is dead, and is to be replaced now."""
    body = {"safe_mode": {"seconds": seconds}}
    found = (await session.rest.put("octavia/fleet/safe_mode/lift", body))["fleet"]
    if session.as_json:
        session.printer.json(found["safe_mode"])
    else:
        session.printer.said(f"safe mode is off until {found['safe_mode']['lifted_until']}")


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(numbers.items())) or "none"
