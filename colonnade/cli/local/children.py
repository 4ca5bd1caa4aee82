# SPDX-License-Identifier: Apache-2.0
"""Child processes that are kept running: started, watched, started again, ended.

A child that ends by itself is started again after a pause that doubles up to `PAUSE_MAX_S`; one
that ran long enough starts from a short pause again. Every child dies with the supervisor, even
when that is killed outright (`setpriv --pdeathsig`). While a system starts, a child that ends by
itself with an error stops the start, with its own words. This module does not know what it runs.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from colonnade.cli.local.log_tail import last_words
from colonnade.domain.errors import Broken

PAUSE_MIN_S = 0.2
PAUSE_MAX_S = 10.0
STEADY_S = 30.0
STOP_S = 8.0
SIGNALLED = 128  # `nsenter` and `sh` add this to the number of the signal that ended a child

log = structlog.get_logger()
T = TypeVar("T")


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `argv` is complete: entering namespaces and dropping rights included."""

    name: str
    argv: tuple[str, ...]
    sockets: Mapping[str, int] = {}  # open files that it is given, by the variable that names them
    told: Mapping[str, str] = {}  # further variables


def colonnade(*words: str) -> tuple[str, ...]:
    """The command line of one of our own processes, with this interpreter."""
    return (sys.executable, "-m", "colonnade", *words)


def tied(argv: Sequence[str]) -> tuple[str, ...]:
    """The same command, killed when its starter dies."""
    return ("setpriv", "--pdeathsig", "KILL", "--", *argv)


class Children:
    """The children of one supervisor, in the order they were started."""

    def __init__(self, logs: Path) -> None:
        """`logs`: the folder in which each child's output goes to a file of its name."""
        self._logs = logs
        logs.mkdir(mode=0o700, exist_ok=True)
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = False
        self._refusal: asyncio.Future[str] | None = None

    def start(self, command: Command) -> None:
        self._keepers[command.name] = asyncio.create_task(self._keep(command))

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    async def starting(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns. Raises Broken, with the child's own words, as soon as a child ends
        by itself with an error meanwhile: what it lacks now, it would lack again."""
        self._refusal = refusal = asyncio.get_running_loop().create_future()
        doing = asyncio.create_task(work)
        try:
            await asyncio.wait({doing, refusal}, return_when=asyncio.FIRST_COMPLETED)
            if refusal.done():
                raise Broken(refusal.result())
            return await doing
        finally:
            self._refusal = None
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)

    async def stop(self) -> None:
        """End all, the last started first. Whoever does not go in time is killed."""
        self._stopping = True
        for name in reversed(list(self._keepers)):
            await self._end(name)
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)

    async def _keep(self, command: Command) -> None:
        pause = PAUSE_MIN_S
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started, written = loop.time(), self._written(command.name)
            process = await self._spawn(command)
            self._running[command.name] = process
            code = await process.wait()
            if self._stopping:
                return
            pause = PAUSE_MIN_S if loop.time() - started > STEADY_S else min(pause * 2, PAUSE_MAX_S)
            said = last_words(self._log(command.name), written)
            if self._refusal is not None and not self._refusal.done() and 0 < code < SIGNALLED:
                self._refusal.set_result(f"the process `{command.name}` does not start: {said}")
                return
            log.warning("process ended", name=command.name, code=code, again_in_s=pause, said=said)
            await asyncio.sleep(pause)

    async def _spawn(self, command: Command) -> asyncio.subprocess.Process:
        with self._log(command.name).open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=tuple(command.sockets.values()),
                env={
                    **os.environ,
                    **{name: str(file) for name, file in command.sockets.items()},
                    **command.told,
                },
            )

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _written(self, name: str) -> int:
        path = self._log(name)
        return path.stat().st_size if path.exists() else 0

    async def _end(self, name: str) -> None:
        process = self._running.get(name)
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            log.warning("process would not stop", name=name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
