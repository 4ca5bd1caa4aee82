# SPDX-License-Identifier: Apache-2.0
"""`make chaos`: many runs, from one seed on; those that fail are told, and how to see one again."""

import argparse
import asyncio
import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import structlog

from colonnade.store.postgres.embedded import EmbeddedPostgres
from tests.chaos.database import CLOCK, Line
from tests.chaos.runs import Outcome, run
from tests.database import Databases

TOLD_MAX: Final = 5  # stories
TOLD_RUNS: Final = 500
GARBAGE: Final = 100_000  # objects


@contextmanager
def databases() -> Iterator[Databases]:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    server = EmbeddedPostgres(folder / "state", folder / "run", durable=False)
    try:
        with asyncio.Runner() as runner:
            runner.run(server.start())
            try:
                yield Databases(server, "world", CLOCK)
            finally:
                runner.run(server.stop())
    finally:
        shutil.rmtree(folder)


def work(seeds: range) -> Iterator[Outcome]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    gc.freeze()  # modules and what they hold: a tenth of a run was spent looking through them
    gc.set_threshold(GARBAGE)
    with databases() as made, made.fresh() as url, closing(Line(url)) as line:
        for seed in seeds:
            yield run(line, seed)


def _worker(seeds: range, until: float, results: "multiprocessing.Queue[Outcome | None]") -> None:
    # It and its PostgreSQL take turns: on two processors each wakes the other across, which takes
    # as long again as all they do.
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[seeds.start % len(processors)]})
    for outcome in work(seeds):
        results.put(outcome)
        if time.monotonic() > until:
            break
    results.put(None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60.0, help="no run begins later")
    parser.add_argument("--at-once", type=int, default=min(os.cpu_count() or 1, 8))
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.runs)
    at_once = min(options.at_once, options.runs)
    results: multiprocessing.Queue[Outcome | None] = multiprocessing.Queue()
    began = time.monotonic()
    until = began + options.minutes * 60
    workers = [
        multiprocessing.Process(target=_worker, args=(seeds[place::at_once], until, results))
        for place in range(at_once)
    ]
    for worker in workers:
        worker.start()
    found: list[Outcome] = []
    failed, busy = 0, at_once
    while busy:
        outcome = results.get()
        if outcome is None:
            busy -= 1
            continue
        found.append(outcome)
        failed += bool(outcome.wrong)
        if outcome.wrong or len(seeds) == 1:
            _tell(outcome, is_whole=failed <= TOLD_MAX)
        if len(found) % TOLD_RUNS == 0:
            sys.stdout.write(f"{len(found)} runs, {failed} failed\n")
            sys.stdout.flush()
    for worker in workers:
        worker.join()
    waits = sorted(outcome.converged_s for outcome in found)
    sys.stdout.write(
        f"{len(found)} runs in {time.monotonic() - began:.0f} s, {failed} failed; as wished again"
        f" after {waits[len(waits) // 2]:.0f} s in half of them, {waits[-1]:.0f} s at most\n"
    )
    return 1 if failed else 0


def _tell(outcome: Outcome, *, is_whole: bool) -> None:
    sys.stdout.write(f"seed {outcome.seed}: {outcome.wrong or 'all is well'}\n")
    if is_whole:
        sys.stdout.write(f"{outcome.story}\n")
    sys.stdout.write(f"again: make chaos SEED={outcome.seed} RUNS=1\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
