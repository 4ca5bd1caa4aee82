# SPDX-License-Identifier: Apache-2.0
"""`python -m bench [PART...]`: measure, keep the figures, and show them beside those of before.

Without words it measures every part that this machine can measure alone, one after the other, so
that none disturbs another. It is never a test: a goal that is missed is shown, and the exit code
stays 0. A part that cannot be measured is told, the others go on, and the exit code is 1.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from rich.console import Console

from bench import (
    api,
    away,
    chaos,
    cycles,
    dataplane,
    health,
    idle,
    kills,
    many,
    octavia,
    peer,
    render,
    results,
    scale,
    shared,
    storm,
    system,
    takeover,
    vips,
)
from colonnade.domain.errors import ColonnadeError
from colonnade.runtime import logging

ERROR_SHOWN_MAX = 600  # a system that does not start says a lot; its end says why


class Part(msgspec.Struct, frozen=True):
    what: str
    measure: Callable[[], Awaitable[results.Figures]]
    goals: Mapping[str, str] = {}
    beside: Callable[[], Awaitable[str]] | None = None  # who else was measured, in words
    named_only: bool = False  # not one of those that are measured when none is named


def _apart(module: str) -> Callable[[], Awaitable[results.Figures]]:
    """With one worker and with two, each in a process of its own, as it is run by hand: it is a
    client that needs a core."""

    async def measure() -> results.Figures:
        found: results.Figures = {}
        for workers in (1, 2):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, str(workers), stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
            if process.returncode:
                raise ColonnadeError(f"{module} ended with {process.returncode}")
            figures = msgspec.json.decode(said.splitlines()[-1])
            found |= results.flat(figures, f"workers_{workers}.")
        return found

    return measure


PARTS = {
    "render": Part("what is computed without a network: one core", render.measure, render.GOALS),
    "api": Part("the user API alone, with the noop provider", _apart("bench.api"), api.GOALS),
    "storm": Part("many writers at one load balancer", _apart("bench.storm"), storm.GOALS),
    "health": Part("what it costs to hear amphorae", health.measure, health.GOALS),
    "idle": Part("what a system costs that has nothing to do", idle.measure, idle.GOALS),
    "system": Part("how long a user waits", system.measure, system.GOALS),
    "dataplane": Part("what traffic pays, and waits", dataplane.measure, dataplane.GOALS),
    "kills": Part("what traffic pays when a part dies", kills.measure, kills.GOALS),
    "cycles": Part("what a system holds after much", cycles.measure, cycles.GOALS),
    "scale": Part("what a full store costs", scale.measure, scale.GOALS),
    "chaos": Part(
        "half an hour (MINUTES=30 SEED=1) of everything killed and stopped",
        chaos.measure,
        chaos.GOALS,
        named_only=True,
    ),
    "away": Part(
        "an hour (MINUTES=60) without any control plane",
        away.measure,
        away.GOALS,
        named_only=True,
    ),
    "takeover": Part(
        "how long clients miss what befalls an amphora, EVENTS=50 times each; many hours, "
        "or some of TOPOLOGIES, CAUSES and LOAD_BALANCERS",
        takeover.measure,
        takeover.GOALS,
        named_only=True,
    ),
    "vips": Part(
        "whether a takeover takes longer with more VIPs, EVENTS=20 times each; ten minutes",
        vips.measure,
        vips.GOALS,
        named_only=True,
    ),
    "many": Part(
        "how clients fare with several amphorae at once, EVENTS=10 losses; ten minutes",
        many.measure,
        many.GOALS,
        named_only=True,
    ),
    "shared": Part(
        "what load balancers on one amphora cost, NUMBERS=1,10,50 of them; half an hour",
        shared.measure,
        shared.GOALS,
        named_only=True,
    ),
    "peer": Part(
        "the user API beside Octavia's; 15 minutes, with package registries",
        peer.measure,
        peer.GOALS,
        beside=octavia.versions,
        named_only=True,
    ),
}


def main(words: list[str]) -> int:
    console = Console()
    unknown = [word for word in words if word not in PARTS]
    if unknown:
        console.print("usage: python -m bench [PART...]; without a word, all of")
        for name, part in PARTS.items():
            console.print(f"  {name:9} {part.what}{'; only by its name' * part.named_only}")
        return 0 if unknown[0] in ("-h", "--help", "list") else 2
    logging.configure("bench", level="ERROR")
    run = results.begin()
    console.print(f"{run.machine}; load average {run.load_before:g}")
    failed = False
    for name in chosen(words):
        began = time.monotonic()
        try:
            figures = asyncio.run(_measured(PARTS[name], name, run))
        except (ColonnadeError, OSError) as error:
            console.print(f"{name} was not measured: {str(error)[-ERROR_SHOWN_MAX:]}", markup=False)
            failed = True
            continue
        console.print(
            results.compared(name, figures, results.before(name, run.began), PARTS[name].goals)
        )
        console.print(f"{PARTS[name].what}; took {time.monotonic() - began:.0f} s\n")
    if run.parts:
        console.print(f"kept in {results.save(run)}")
    return 1 if failed else 0


def chosen(words: list[str]) -> list[str]:
    """The parts to measure."""
    return words or [name for name, part in PARTS.items() if not part.named_only]


async def _measured(part: Part, name: str, run: results.Run) -> results.Figures:
    run.parts[name] = figures = await part.measure()
    if part.beside is not None:
        run.beside[name] = await part.beside()
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
