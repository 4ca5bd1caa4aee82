# SPDX-License-Identifier: Apache-2.0
"""`colonnade import octavia`: check, take, undo, finish.

The Octavia is the one of --from; else that of the cloud's catalog. It is asked with Keystone's
credentials (OS_*, --cloud), as an operator, or with --from-token. This endpoint is asked with the
same credentials where no --token is given.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from colonnade.cli.nouns.description import Column
from colonnade.cli.objects.commands import command
from colonnade.cli.objects.names import Names
from colonnade.cli.objects.session import Session
from colonnade.domain.errors import Invalid

if TYPE_CHECKING:
    from colonnade.cli.octavia.steps import Look, Move

imports = typer.Typer(no_args_is_help=True)
octavia = typer.Typer(no_args_is_help=True)
imports.add_typer(octavia, name="octavia", help="Load balancers of a running Octavia.")

SERVICE: Final = "load-balancer"
Which = Annotated[
    list[str] | None, typer.Argument(metavar="[LB]...", help="Names or ids; else all.")
]
Wanted = Annotated[list[str] | None, typer.Argument(metavar="[LB]...", help="Names or ids.")]
All = Annotated[bool, typer.Option("--all", help="All that are there.")]
From = Annotated[
    str, typer.Option("--from", metavar="URL", help="Of the Octavia; else as the catalog says.")
]
FromToken = Annotated[
    str,
    typer.Option(
        "--from-token", envvar="COLONNADE_FROM_TOKEN", metavar="TOKEN", show_default=False,
        help="An operator's there, in the place of Keystone's credentials.",
    ),
]  # fmt: skip
Cloud = Annotated[str, typer.Option("--cloud", help="Of clouds.yaml; else what OS_* say.")]
Flavors = Annotated[
    list[str] | None,
    typer.Option("--flavor", metavar="THEIRS=OURS", help="Names or ids; repeat. OURS empty: none."),
]
Zones = Annotated[
    list[str] | None, typer.Option("--az", metavar="THEIRS=OURS", help="Zones; repeat.")
]
Providers = Annotated[
    list[str] | None, typer.Option("--provider", metavar="THEIRS=OURS", help="Providers; repeat.")
]
LoseChanges = Annotated[
    bool, typer.Option("--lose-changes", help="Also one that was changed here since.")
]
COLUMNS: Final = (
    Column("Load balancer", "name"),
    Column("ID", "id"),
    Column("VIP", "vip_address"),
    Column("Objects", "objects"),
    Column("Verdict", "verdict", wraps=True),
)
FINDINGS: Final = (
    Column("Weight", "weight"),
    Column("Object", "place", wraps=True),
    Column("Attribute", "attribute"),
    Column("What", "cause", wraps=True),
    Column("Cure", "cure", wraps=True),
)


async def _check(
    session: Session, load_balancers: Which = None, *, there: From = "",
    there_token: FromToken = "", cloud: Cloud = "", flavors: Flavors = None, zones: Zones = None,
    providers: Providers = None,
) -> None:  # fmt: skip
    """Say what could be taken over, and what would differ. Changes nothing."""
    from colonnade.cli.octavia.steps import CAN, HERE, each

    words = {"flavors": flavors, "zones": zones, "providers": providers}
    async with _moving(session, there, there_token, cloud) as move:
        looking = await _mapped(move, words)
        found = await each(await move.source.roots(load_balancers or []), looking.look)
    _show(session, found, {CAN, HERE})


async def _take(
    session: Session, load_balancers: Wanted = None, *, everything: All = False, there: From = "",
    there_token: FromToken = "", cloud: Cloud = "", flavors: Flavors = None, zones: Zones = None,
    providers: Providers = None,
) -> None:  # fmt: skip
    """Serve them here with ids and VIPs: tried first, then switched off there."""
    from colonnade.cli.octavia.steps import HERE, TAKEN, Look, each

    words = {"flavors": flavors, "zones": zones, "providers": providers}
    async with _moving(session, there, there_token, cloud) as move:
        moving = await _mapped(move, words)

        async def taken(root_id: str) -> Look:
            return await moving.take(await moving.look(root_id))

        found = await each(await _wanted(move, load_balancers, everything), taken)
    _show(session, found, {TAKEN, HERE})


async def _undo(
    session: Session, load_balancers: Wanted = None, *, everything: All = False, there: From = "",
    there_token: FromToken = "", cloud: Cloud = "", flavors: Flavors = None, zones: Zones = None,
    providers: Providers = None, lose_changes: LoseChanges = False,
) -> None:  # fmt: skip
    """Give them back: deleted here, switched on there. VIPs' ports stay."""
    from colonnade.cli.octavia.steps import UNDONE, Look, each

    words = {"flavors": flavors, "zones": zones, "providers": providers}
    async with _moving(session, there, there_token, cloud) as move:
        moving = await _mapped(move, words)

        async def undone(root_id: str) -> Look:
            return await moving.undo(await moving.look(root_id), lose_changes=lose_changes)

        found = await each(await _wanted(move, load_balancers, everything), undone)
    _show(session, found, {UNDONE})


async def _finish(
    session: Session, load_balancers: Wanted = None, *, there: From = "",
    there_token: FromToken = "", cloud: Cloud = "",
) -> None:  # fmt: skip
    """Delete them there for good. VIPs' ports stay. It cannot be undone."""
    from colonnade.cli.octavia.steps import FINISHED, each

    async with _moving(session, there, there_token, cloud) as move:
        if not load_balancers:
            raise Invalid("say which load balancers, by their ids")
        ids = [await session.id("lb", one) for one in load_balancers]
        found = await each(ids, move.finish)
    _show(session, found, {FINISHED})


for _act in (_check, _take, _undo, _finish):
    octavia.command(_act.__name__.strip("_"))(command(_act))


@contextlib.asynccontextmanager
async def _moving(
    session: Session, there: str, there_token: str, cloud: str
) -> "AsyncIterator[Move]":
    from colonnade.cli.nouns.index import NOUNS
    from colonnade.cli.octavia.cloud_rest import CloudRest
    from colonnade.cli.octavia.source import Ports, Source
    from colonnade.cli.octavia.steps import Move
    from colonnade.cli.octavia.translating import Mapped
    from colonnade.cli.rest import Rest
    from colonnade.drivers.openstack.credentials import of_operator
    from colonnade.drivers.openstack.session import Session as CloudSession

    if there_token:
        if not there:
            raise Invalid("--from-token needs --from: where that Octavia is")
        async with Rest(there, headers={"X-Auth-Token": there_token}, request_s_max=60.0) as rest:
            source = Source(Session(rest, Names(rest, NOUNS), session.printer), None)
            yield Move(source, session, Mapped())
        return
    keystone = CloudSession(of_operator(cloud), timeout_s=60.0)
    try:
        url = there or await keystone.endpoint(SERVICE)
        if url.rstrip("/") == session.rest.endpoint:
            raise Invalid(f"{url} is this endpoint itself: --from says where the Octavia is")
        theirs = CloudRest(url, keystone)
        if not session.rest.has_token:
            rest = CloudRest(session.rest.endpoint, keystone)
            session = Session(rest, Names(rest, NOUNS), session.printer)
        source = Source(Session(theirs, Names(theirs, NOUNS), session.printer), Ports(keystone))
        yield Move(source, session, Mapped())
    finally:
        await keystone.close()


async def _wanted(move: "Move", names: Sequence[str] | None, everything: bool) -> list[str]:
    if bool(names) == everything:
        raise Invalid("say which load balancers, or --all")
    return await move.source.roots(list(names or ()))


async def _mapped(move: "Move", words: Mapping[str, list[str] | None]) -> "Move":
    """What is called how here, by what was said; else what has the same id or name."""
    from msgspec.structs import replace

    from colonnade.cli.octavia.translating import PROVIDERS, Mapped

    theirs, ours = [await _flavors(session) for session in (move.source.session, move.here)]
    ids, ours_ids = ({name: one for one, name in found.items()} for found in (theirs, ours))
    flavors = {
        one: one if one in ours else ours_ids[name]
        for one, name in theirs.items()
        if one in ours or name in ours_ids
    }
    for there, here in _pairs(words["flavors"]).items():
        flavors[ids.get(there, there)] = ours_ids.get(here, here)
    offered = {
        str(one["name"]) for one in (await move.here.rest.get("lbaas/providers"))["providers"]
    }
    alike = {there: here for there, here in PROVIDERS.items() if here in offered}
    mapped = Mapped(
        flavors=flavors,
        zones=_pairs(words["zones"]),
        providers={name: name for name in offered} | alike | _pairs(words["providers"]),
    )
    return replace(move, mapped=mapped)


async def _flavors(session: Session) -> dict[str, str]:
    """Their names by their ids."""
    found = await session.names.every(session.names.noun("flavor"))
    return {str(one["id"]): str(one["name"]) for one in found}


def _pairs(words: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for word in words or ():
        there, between, here = word.partition("=")
        if not (there and between):
            raise Invalid(f"'{word}' is not THEIRS=OURS")
        found[there] = here
    return found


def _show(session: Session, looks: "Sequence[Look]", fine: Set[str]) -> None:
    """And end with an error where one's verdict is another than these."""
    import msgspec

    rows: list[dict[str, Any]] = [msgspec.to_builtins(one) for one in looks]
    for row in rows:
        del row["document"]
    if session.as_json:
        session.printer.json(rows)
    else:
        _tell(session, looks, rows)
    if any(one.verdict not in fine for one in looks):
        raise typer.Exit(1)


def _tell(session: Session, looks: "Sequence[Look]", rows: list[dict[str, Any]]) -> None:
    session.printer.list(rows, COLUMNS)
    for one, row in zip(looks, rows, strict=True):
        if one.done:
            gap = f" ({one.gap_s} s without either)" if one.gap_s is not None else ""
            session.printer.said(f"{one.name or one.id}: {', '.join(one.done)}{gap}")
        if one.findings:
            session.printer.list(row["findings"], FINDINGS)
