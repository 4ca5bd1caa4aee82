# SPDX-License-Identifier: Apache-2.0
"""Objects on a terminal: tables that fit it, statuses in colour, or JSON and nothing else.

In a pipe nothing is cut, coloured or drawn. What an endpoint says is printed as text: it can
neither colour itself nor move the cursor. This module asks no endpoint.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from colonnade.cli.nouns.description import Column
from colonnade.domain import addresses

PIPE_WIDTH: Final = 100_000
SENTENCE_MIN: Final = 24  # the width that a column of sentences needs
GAP: Final = 2  # between columns
COLOURS: Final[Mapping[str, str]] = {
    "ACTIVE": "green",
    "ONLINE": "green",
    "READY": "green",
    "ALLOCATED": "green",
    "ERROR": "bold red",
    "DEGRADED": "yellow",
    "DRAINING": "cyan",
    "OFFLINE": "dim",
    "NO_MONITOR": "",
}
QUIET: Final = frozenset({"tenant_id"})  # another word for something that is shown
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)?")
Row = Mapping[str, Any]


class Printer:
    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        plain = not sys.stdout.isatty()
        self.console = Console(
            width=PIPE_WIDTH if plain else None, no_color=True if plain else None, highlight=False
        )

    @property
    def is_terminal(self) -> bool:
        return self.console.is_terminal

    def json(self, answer: Any) -> None:
        print(msgspec.json.format(msgspec.json.encode(answer)).decode())

    def said(self, sentence: str) -> None:
        """Something for people: with --json it goes beside the answer, not into it."""
        if self.as_json:
            print(printable(sentence), file=sys.stderr)
        else:
            print(printable(sentence))

    def noted(self, sentence: str) -> None:
        print(printable(sentence), file=sys.stderr)

    def show(self, drawn: RenderableType) -> None:
        if isinstance(drawn, Table) and not self.is_terminal:
            self._plain(drawn)
        else:
            self.console.print(drawn)

    def _plain(self, drawn: Table) -> None:
        """Without the blanks at the ends of lines that a table fills up its width with."""
        with self.console.capture() as captured:
            self.console.print(drawn)
        print("\n".join(line.rstrip() for line in captured.get().splitlines()))

    def list(self, rows: Sequence[Row], columns: Sequence[Column]) -> None:
        if self.as_json:
            self.json(rows)
        else:
            self.show(self.table(rows, columns))

    def one(self, shown: Row, *, everything: bool = False) -> None:
        if self.as_json:
            self.json(shown)
        else:
            self.show(self.card(shown, everything=everything))

    def table(self, rows: Sequence[Row], columns: Sequence[Column]) -> RenderableType:
        """As much of a table as the terminal is wide. What does not fit loses the ids first, where
        names say which is which, and then its last columns."""
        if not rows and self.is_terminal:
            return Text("none", style="dim")
        cells = {one: [cell(row, one.of) for row in rows] for one in columns}
        widths = {
            one: max(len(one.title), *(text.cell_len for text in found), 0)
            for one, found in cells.items()
        }
        widths |= {one: min(widths[one], SENTENCE_MIN) for one in columns if one.wraps}
        kept = list(columns)
        if self._too_wide(kept, widths) and _named(rows, kept):
            kept = [one for one in kept if one.of != "id"]
        while len(kept) > 2 and self._too_wide(kept, widths):
            kept.pop()
        drawn = _grid()
        for one in kept:
            drawn.add_column(
                one.title, no_wrap=not one.wraps, overflow="fold" if one.wraps else "ellipsis"
            )
        for line in zip(*(cells[one] for one in kept), strict=True):
            drawn.add_row(*line)
        return drawn

    def _too_wide(self, columns: Sequence[Column], widths: Mapping[Column, int]) -> bool:
        return sum(widths[one] + GAP for one in columns) - GAP > self.console.width

    def card(self, shown: Row, *, everything: bool = False) -> Table:
        """One object: an attribute in each line, without those that are not set."""
        drawn = _grid(header=False)
        drawn.add_column(style="bold", no_wrap=True)
        drawn.add_column(overflow="fold")
        for name, value in shown.items():
            unset = value is None or value in ("", [], {})
            if name not in QUIET and (everything or not unset):
                drawn.add_row(name, Text("-", style="dim") if unset else _text(name, value))
        return drawn


def cell(row: Row, of: str) -> Text:
    if of == "statuses":
        return statuses(row)
    if of == "endpoint":
        return Text(endpoint(row))
    return _text(of, row.get(of))


def endpoint(row: Row) -> str:
    return printable(addresses.endpoint(str(row.get("address", "")), row.get("protocol_port", "")))


def statuses(row: Row) -> Text:
    """Provisioning status, when there is something to say about it, and operating status."""
    parts = [row.get("provisioning_status"), row.get("operating_status")]
    return Text(" ").join(status(str(part)) for part in parts if part)


def status(word: str) -> Text:
    colour = "yellow" if word.startswith("PENDING") else COLOURS.get(word, "")
    return Text(printable(word), style=colour)


def printable(text: str) -> str:
    """What cannot be printed, escape sequences above all, shows as a question mark."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _named(rows: Sequence[Row], columns: Sequence[Column]) -> bool:
    """Whether each row has a name that no other has, and it is shown."""
    names = [str(row.get("name") or "") for row in rows]
    return any(one.of == "name" for one in columns) and all(names) and len(set(names)) == len(names)


def _grid(*, header: bool = True) -> Table:
    return Table(
        box=None, show_header=header, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0)
    )


def _text(name: str, value: Any) -> Text:
    if name.endswith("status") and isinstance(value, str):
        return status(value)
    return Text(printable(moment(value) or _words(value)))


def moment(value: Any) -> str:
    """A time as endpoints say it, with its zone; empty for what is no such time.

    The contract's times have none, and are those of UTC."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    return f"{found[1]} {found[2]} UTC" if found is not None else ""


def _words(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Mapping():
            if set(value) == {"id"}:
                return str(value["id"])
            said = ((name, _words(one)) for name, one in value.items())
            return ", ".join(f"{name}={words}" for name, words in said if words)
        case str():
            return value
        case Iterable():
            parts = [_words(one) for one in value]
            return ("\n" if any(len(part) > 30 for part in parts) else ", ").join(parts)
        case _:
            return str(value)
