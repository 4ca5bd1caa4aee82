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
from collections.abc import Iterator

import msgspec
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from colonnade.cli.hosts import Hosts
from colonnade.cli.rest import Rest
from colonnade.cli.scenario import Figures, Scenario, steps
from colonnade.cli.system import running
from colonnade.domain.errors import ColonnadeError
from colonnade.runtime import logging

GOALS = {  # what the project promises for each figure; shown beside what was measured
    "ready_s": "",
    "create_to_first_200_s": "< 1 s",
    "member_down_detected_s": "2 failed checks, one a second, + < 1 s",
    "failed_requests_after_detection": "0",
    "member_up_detected_s": "",
    "member_change_to_live_ms": "< 100 ms",
    "failed_requests_during_member_changes": "0",
    "amphora_kill_gap_s": "< 7 s",
    "delete_s": "",
    "leftovers": "none",
}


def run_demo(*, as_json: bool, keep: bool) -> int:
    """The exit code: 0 when every step held and nothing was left behind."""
    logging.configure("demo", level="ERROR")
    show = Show(Console(stderr=False, quiet=as_json))
    figures = Figures()
    began = time.monotonic()
    try:
        asyncio.run(_demo(figures, show, keep=keep))
    except ColonnadeError as error:
        figures.error = str(error)
    except KeyboardInterrupt:
        figures.error = "interrupted"
    figures.total_s = round(time.monotonic() - began, 1)
    if not figures.error and figures.leftovers:
        figures.error = f"something was left behind: {'; '.join(figures.leftovers)}"
    figures.ok = not figures.error
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(figures)).decode())
    else:
        show.table(figures)
    if figures.error:
        print(f"colonnade demo: {figures.error}", file=sys.stderr)
    return 0 if figures.ok else 1


async def _demo(figures: Figures, show: "Show", *, keep: bool) -> None:
    with show.step("The whole system starts: database, API, controller, health, network"):
        starting = running(keep=keep)
        system = await starting.__aenter__()
        show.result(f"{system.endpoint} after {system.ready_s:.1f} s")
    figures.ready_s = round(system.ready_s, 2)
    try:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            for step in steps(Scenario(rest, hosts, figures)):
                with show.step(step.title):
                    show.result(await step.take())
    finally:
        with show.step("The system stops, and what is left is looked for"):
            await starting.__aexit__(None, None, None)
            figures.leftovers = system.left
            show.result("nothing left" if not system.left else f"{len(system.left)} left")


class Show:
    """Steps on the screen: a spinner while one is under way, a mark and a result afterwards."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._result = ""

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        self._result = ""
        began = time.monotonic()
        mark = "[red]✗[/red]"
        with Live(Spinner("dots", Text(title)), console=self._console, transient=True):
            try:
                yield
                mark = "[green]✓[/green]"
            finally:
                took = time.monotonic() - began
                self._console.print(f"{mark} {title} [dim]({took:.1f} s)[/dim]")
                if self._result:
                    self._console.print(f"    [cyan]{self._result}[/cyan]", highlight=False)

    def result(self, words: str) -> None:
        self._result = words

    def table(self, figures: Figures) -> None:
        table = Table(title="What was measured", title_justify="left")
        for heading in ("", "measured", "goal"):
            table.add_column(heading, overflow="fold")
        for name, goal in GOALS.items():
            value = getattr(figures, name)
            table.add_row(name, _words(value), goal)
        self._console.print(table)
        self._console.print(f"in {figures.total_s:.0f} s, on this machine, just now")


def _words(value: object) -> str:
    if value is None:
        return "not reached"
    if isinstance(value, list):
        return "none" if not value else "; ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
