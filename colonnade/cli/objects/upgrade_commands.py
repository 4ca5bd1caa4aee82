# SPDX-License-Identifier: Apache-2.0
"""Many amphorae replaced, one after the other: begin it, watch it, hold it, take it back."""

from typing import Annotated, Any, Final

import typer

from colonnade.cli.nouns.description import Column
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.session import Session
from colonnade.cli.waiting import until
from colonnade.domain.errors import Broken, NotFound

PATH: Final = "octavia/upgrades"
WAIT_S_MAX: Final = 7 * 86_400.0
PAUSE_S: Final = 0.5
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="These amphorae. Else those that are outdated."),
]
All = Annotated[bool, typer.Option("--all", help="All that serve, outdated or not.")]
Flavor = Annotated[
    str,
    typer.Option(help="Of this flavor alone.", autocompletion=names_of("flavor"), metavar="NAME"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be replaced.")]
Waiting = Annotated[bool, typer.Option("--wait", help="Wait until it is done, or has stopped.")]
AtOnce = Annotated[int | None, typer.Option(help="Of different load balancers, together.")]
Seconds = float | None
Canary = Annotated[Seconds, typer.Option("--canary", help="Watch the first for so long.")]
Watch = Annotated[Seconds, typer.Option("--watch-each", help="Watch each other one for so long.")]
Pause = Annotated[Seconds, typer.Option("--pause", help="Between one beginning and the next.")]
Longest = Annotated[Seconds, typer.Option("--longest", help="Stop if one takes longer.")]
Which = Annotated[str, typer.Argument(metavar="[ID]", help="The upgrade; else the newest.")]
STEPS: Final = (
    Column("Amphora", "amphora_id"),
    Column("Load balancer", "loadbalancer_id"),
    Column("State", "state"),
    Column("Because", "reason", wraps=True),
    Column("Then", "words", wraps=True),
)
UPGRADES: Final = (
    Column("ID", "id"),
    Column("State", "state"),
    Column("Progress", "progress", wraps=True),
    Column("Because", "reason", wraps=True),
    Column("Begun", "created_at"),
)


async def upgrade_start(
    session: Session,
    amphorae: Ids = None,
    *,
    all_of_them: All = False,
    flavor: Flavor = "",
    at_once: AtOnce = None,
    canary: Canary = None,
    watch_each: Watch = None,
    pause: Pause = None,
    longest: Longest = None,
    dry_run: DryRun = False,
    wait: Waiting = False,
) -> None:
    """Replace outdated amphorae: one first, then so many at once, as long as all goes well."""
    wish: dict[str, Any] = {"amphorae": amphorae or [], "all": all_of_them}
    if flavor:
        named = flavor == "default"
        wish["flavor"] = flavor if named else await session.id("flavor", flavor)
    paces = {
        "at_once": at_once, "canary_s": canary, "watch_s": watch_each, "pause_s": pause,
        "step_s": longest,
    }  # fmt: skip
    wish |= {name: value for name, value in paces.items() if value is not None}
    if dry_run:
        plan = await session.rest.post(f"{PATH}/plan", {"upgrade": wish})
        _show(session, plan, f"would replace {len(plan['steps'])}, in this order")
        return
    upgrade = await session.rest.post(PATH, {"upgrade": wish})
    if wait:
        upgrade = await _ended(session, upgrade["id"])
    _show(session, upgrade, sentence(upgrade))
    if upgrade["state"] == "STOPPED":
        raise Broken(f"upgrade {upgrade['id']} has stopped: {upgrade['reason']}")


async def upgrade_status(session: Session, upgrade: Which = "", wait: Waiting = False) -> None:
    """Show how far an upgrade is, and each of its steps."""
    upgrade_id = await _id(session, upgrade)
    found = await (_ended if wait else _found)(session, upgrade_id)
    _show(session, found, sentence(found))


async def upgrade_list(session: Session) -> None:
    """List upgrades, the newest first."""
    found = (await session.rest.get(PATH))["upgrades"]
    session.printer.list(found, UPGRADES)


async def upgrade_pause(session: Session, upgrade: Which = "") -> None:
    """Finish what is begun, and begin nothing more for now."""
    await _put(session, upgrade, "pause")


async def upgrade_resume(session: Session, upgrade: Which = "") -> None:
    """Go on with one that was paused, or has stopped itself."""
    await _put(session, upgrade, "resume")


async def upgrade_undo(session: Session, upgrade: Which = "") -> None:
    """End it. Those that it brought are replaced where another would be made now."""
    await _put(session, upgrade, "undo")


def sentence(upgrade: dict[str, Any]) -> str:
    reason = f" ({upgrade['reason']})" if upgrade["reason"] else ""
    return f"upgrade {upgrade['id']} is {upgrade['state'].lower()}{reason}: {upgrade['progress']}"


async def _put(session: Session, upgrade: str, word: str) -> None:
    upgrade_id = await _id(session, upgrade)
    found = await session.rest.put(f"{PATH}/{upgrade_id}/{word}")
    _show(session, found["upgrade"], sentence(found["upgrade"]))


async def _id(session: Session, upgrade: str) -> str:
    if upgrade:
        return upgrade
    found = (await session.rest.get(PATH))["upgrades"]
    if not found:
        raise NotFound("there was no upgrade yet")
    return str(found[0]["id"])


async def _found(session: Session, upgrade_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await session.rest.get(f"{PATH}/{upgrade_id}"))["upgrade"]
    return found


async def _ended(session: Session, upgrade_id: str) -> dict[str, Any]:
    """When nothing goes on by itself any more."""

    async def ended() -> dict[str, Any] | None:
        found = await _found(session, upgrade_id)
        return None if found["state"] == "RUNNING" else found

    found = await until(ended, within_s=WAIT_S_MAX, what="the upgrade's end", pause_s=PAUSE_S)
    assert found is not None
    return found


def _show(session: Session, shown: dict[str, Any], said: str) -> None:
    if session.as_json:
        session.printer.json(shown)
        return
    session.printer.said(said)
    session.printer.list(shown["steps"], STEPS)
