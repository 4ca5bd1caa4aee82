# SPDX-License-Identifier: Apache-2.0
"""`colonnade demo`: the main job on this machine, with real processes and real packets.

It starts a system of its own, takes the steps of the scenario while showing them, stops the
system and looks for anything left behind. A step that fails ends it with one sentence and exit
code 1; everything is still taken down.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from colonnade.cli.demo.kinds import Kind
from colonnade.cli.demo.on_many import OnMany
from colonnade.cli.demo.on_pair import OnPair
from colonnade.cli.demo.scenario import Figures, Scenario, steps
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.domain.errors import ColonnadeError
from colonnade.runtime import logging

SPINNER = Spinner("dots")


class Goal(msgspec.Struct, frozen=True):
    """What the project promises for a figure, in words and as the most that it may be."""

    words: str = ""
    most: float | None = None


GOALS: Final = {  # shown beside what was measured
    "ready_s": Goal(),
    "create_to_first_200_s": Goal("< 1 s", 1.0),
    # haproxy counts a monitor's delay from the end of a check, and a server that is gone lets a
    # check wait for its timeout: at worst (delay 1 s + timeout 1 s) x max_retries_down 2, and the
    # heartbeat that tells of it.
    "member_down_detected_s": Goal("2 x (1 s pause + 1 s timeout) + < 1 s", 5.0),
    "failed_requests_after_detection": Goal("0", 0),
    "member_up_detected_s": Goal(),
    "member_change_to_live_ms": Goal("< 100 ms", 100.0),
    "failed_requests_during_member_changes": Goal("0", 0),
    "amphora_kill_gap_s": Goal("< 7 s", 7.0),
    "delete_s": Goal(),
    "leftovers": Goal("none", 0),
}
_NO_GAP: Final = {"amphora_kill_gap_s": Goal("< 0.5 s", 0.5)}
MORE_GOALS: Final = {Kind.ACTIVE_STANDBY: _NO_GAP, Kind.ACTIVE_ACTIVE: _NO_GAP}
SCENARIOS: Final = {
    Kind.SINGLE: Scenario,
    Kind.ACTIVE_STANDBY: OnPair,
    Kind.ACTIVE_ACTIVE: OnMany,
}


def run_demo(kind: Kind, *, as_json: bool, keep: bool) -> int:
    """The exit code: 0 when every step held and nothing was left behind."""
    logging.configure("demo", level="ERROR")
    show = Show(Console(stderr=False, quiet=as_json))
    figures = Figures()
    began = time.monotonic()
    try:
        with show.watched():
            asyncio.run(_demo(kind, figures, show, keep=keep))
    except ColonnadeError as error:
        figures.error = str(error)
    except KeyboardInterrupt:
        figures.error = "interrupted"
    figures.total_s = round(time.monotonic() - began, 1)
    if not figures.error and figures.leftovers:
        figures.error = f"something was left behind: {'; '.join(figures.leftovers)}"
    figures.ok = not figures.error
    goals = GOALS | MORE_GOALS.get(kind, {})
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(figures)).decode())
    else:
        show.table(figures, goals)
    if figures.error:
        print(f"colonnade demo: {figures.error}", file=sys.stderr)
    return 0 if figures.ok else 1


async def _demo(kind: Kind, figures: Figures, show: "Show", *, keep: bool) -> None:
    with show.step("The whole system starts: database, API, controller, health, network"):
        words = ("--spares", str(SCENARIOS[kind].spares)) if kind is not Kind.SINGLE else ()
        starting = running(*words, keep=keep)
        system = await starting.__aenter__()
        show.result(f"{system.endpoint} after {system.ready_s:.1f} s")
    figures.ready_s = round(system.ready_s, 2)
    try:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            for step in steps(SCENARIOS[kind](rest, hosts, figures)):
                with show.step(step.title):
                    show.result(await step.take())
    finally:
        with show.step("The system stops, and what is left is looked for"):
            await starting.__aexit__(None, None, None)
            figures.leftovers = system.left
            show.result("nothing left" if not system.left else f"{len(system.left)} left")


class Row(msgspec.Struct):
    """One step on the screen; `mark` is empty while it is under way."""

    title: str
    began: float
    result: str = ""
    mark: str = ""
    took_s: float = 0.0


class Show:
    """The steps as a table that fills while they are taken; line by line where nobody watches."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: list[Row] = []
        self._live = Live(get_renderable=self._steps, console=console, refresh_per_second=8)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        with self._live if self._console.is_terminal else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        row = Row(title=title, began=time.monotonic())
        self._rows.append(row)
        row_mark = "[red]✗[/red]"
        try:
            yield
            row_mark = "[green]✓[/green]"
        finally:
            row.mark, row.took_s = row_mark, time.monotonic() - row.began
            if not self._console.is_terminal:
                self._console.print(f"{row.mark} {row.title} [dim]({row.took_s:.1f} s)[/dim]")
                words = row.result.replace("\n", "\n    ")
                self._console.print(f"    {words}" if words else "", highlight=False)

    def result(self, words: str) -> None:
        self._rows[-1].result = words

    def _steps(self) -> Table:
        table = Table("", "step", "result", "took", title="The main job", title_justify="left")
        for row in self._rows:
            took = row.took_s if row.mark else time.monotonic() - row.began
            mark = row.mark or SPINNER.render(time.monotonic())
            table.add_row(mark, row.title, f"[cyan]{row.result}[/cyan]", f"{took:.1f} s")
        return table

    def table(self, figures: Figures, goals: Mapping[str, Goal] = GOALS) -> None:
        table = Table(title="What was measured", title_justify="left")
        for heading in ("", "measured", "goal", ""):
            table.add_column(heading, overflow="fold")
        for name, goal in goals.items():
            value = getattr(figures, name)
            missed = misses(value, goal)
            words = f"[red]{_words(value)}[/red]" if missed else _words(value)
            table.add_row(name, words, goal.words, "[red]missed[/red]" if missed else "")
        self._console.print(table)
        self._console.print(f"in {figures.total_s:.0f} s, on this machine, just now")


def misses(value: object, goal: Goal) -> bool:
    """Whether a figure is not what is promised; one that was not reached is not."""
    if goal.most is None:
        return False
    if isinstance(value, list):
        return len(value) > goal.most
    return not isinstance(value, int | float) or value > goal.most


def _words(value: object) -> str:
    if value is None:
        return "not reached"
    if isinstance(value, list):
        return "none" if not value else "; ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
