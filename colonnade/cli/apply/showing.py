# SPDX-License-Identifier: Apache-2.0
"""What differs between two documents, as lines for a terminal."""

from collections.abc import Sequence

from rich.text import Text

from colonnade.cli.documents.difference import Change, words
from colonnade.cli.objects.printing import printable
from colonnade.cli.objects.session import Session


def show_changes(session: Session, changes: Sequence[Change]) -> None:
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


def _is_object(change: Change, depth: int) -> bool:
    return not change.attribute and depth == len(change.path) - 1


def _said(change: Change) -> str:
    if change.sign == "+":
        return f"{change.attribute}: {words(change.new)}"
    text = f"{change.attribute}: {words(change.old)} -> {words(change.new)}"
    return f"{text}  (fixed: only a new load balancer can have it)" if change.fixed else text


def _line(sign: str, depth: int, words: str) -> Text:
    colour = {"+": "green", "-": "red", "~": "yellow"}[sign]
    return Text(f"{sign} {'  ' * depth}{printable(words)}", style=colour)
