# SPDX-License-Identifier: Apache-2.0
"""`colonnade apply`, `diff` and `export`: load balancers as files.

A load balancer is found by its name. What would change is worked out here, so that `diff` and
`export` speak to any endpoint; `apply` asks for the whole tree in one request.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from colonnade.cli.objects.commands import command
from colonnade.cli.objects.operations import Waiting
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.tree_drawing import LoadBalancer

Files = Annotated[
    list[Path],
    typer.Option(
        "--file", "-f", metavar="FILE",
        help="YAML or JSON, one document or several; - is standard input. Repeat.",
    ),
]  # fmt: skip
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what the endpoint would change; change nothing.")
]


async def _apply(
    session: Session, files: Files, wait: Waiting = False, dry_run: DryRun = False
) -> None:
    """Create or change load balancers so that they are as the files say. Under a load balancer,
    what the file does not have is deleted."""
    from colonnade.cli.apply.requests import carried_out, read_wishes

    answers = []
    for wish in await read_wishes(session, files):
        answers.append(await carried_out(session, wish, wait=wait, dry_run=dry_run))
    if session.as_json:
        session.printer.json(answers)


async def _diff(session: Session, files: Files) -> None:
    """Show what apply would change. Exit code 1 when something would."""
    from colonnade.cli.apply.requests import read_wishes

    wishes = await read_wishes(session, files)
    changes = [change for wish in wishes for change in wish.changes]
    if session.as_json:
        session.printer.json(changes)
    else:
        for wish in wishes:
            show_changes(session, wish.changes)
    if changes:
        raise typer.Exit(1)


async def _export(session: Session, load_balancer: LoadBalancer) -> None:
    """Print a load balancer as a file for apply. Certificates and keys are in it by
    reference."""
    from colonnade.cli.apply.naming import with_names
    from colonnade.cli.documents.document import exported
    from colonnade.cli.documents.files import written
    from colonnade.cli.objects.full_tree import read_whole

    whole = await read_whole(session, await session.id("lb", load_balancer))
    document = await with_names(session, exported(whole))
    if session.as_json:
        session.printer.json(document)
    else:
        print(written([document]), end="")


def show_changes(session: Session, changes: Any) -> None:
    """As a tree of what is touched: each object in a line, its attributes below it."""
    shown: tuple[str, ...] = ()
    for change in changes:
        for depth, word in enumerate(change.path):
            if shown[: depth + 1] != change.path[: depth + 1] or _is_object(change, depth):
                sign = change.sign if _is_object(change, depth) else "~"
                session.printer.show(_line(sign, depth, word))
        shown = change.path
        if change.attribute:
            session.printer.show(_line(change.sign, len(change.path), _said(change)))


def _is_object(change: Any, depth: int) -> bool:
    return not change.attribute and depth == len(change.path) - 1


def _said(change: Any) -> str:
    from colonnade.cli.documents.difference import words

    if change.sign == "+":
        return f"{change.attribute}: {words(change.new)}"
    text = f"{change.attribute}: {words(change.old)} -> {words(change.new)}"
    return f"{text}  (fixed: only a new load balancer can have it)" if change.fixed else text


def _line(sign: str, depth: int, words: str) -> Text:
    from colonnade.cli.objects.printing import printable

    colour = {"+": "green", "-": "red", "~": "yellow"}[sign]
    return Text(f"{sign} {'  ' * depth}{printable(words)}", style=colour)


run_apply, run_diff, run_export = command(_apply), command(_diff), command(_export)
