# SPDX-License-Identifier: Apache-2.0
"""A whole system as a child process, for the demo, the benchmarks and the end-to-end tests.

It is `colonnade up` on a state folder of its own and a free port of loopback, carrying a mark in
its environment, so that afterwards it can be told whether anything of it is left.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from colonnade.cli.local import folders, leftovers
from colonnade.cli.local.children import colonnade
from colonnade.domain.errors import Unavailable
from colonnade.drivers.network.namespaces.processes import ProcessName

START_S_MAX = 60.0
STOP_S_MAX = 30.0


class System(msgspec.Struct, kw_only=True):
    """A running system. `left` is filled when it has been stopped."""

    endpoint: str
    state: Path
    mark: str
    pid: int
    ready_s: float
    left: list[str] = []


@contextlib.asynccontextmanager
async def running(
    *words: str, state: Path | None = None, keep: bool = False
) -> AsyncIterator[System]:
    """Start `colonnade up` with these further words; stop it at the end, whatever happened.

    Without `state` a temporary folder is made, and removed unless `keep`. Raises Unavailable with
    the last words of the process when it does not become ready."""
    folder = state or Path(tempfile.mkdtemp(prefix="colonnade-"))
    before = leftovers.look()
    mark = uuid.uuid4().hex
    seen: dict[ProcessName, str] = {}
    system: System | None = None
    process, log = await _start(folder, mark, words)
    try:
        system = await _ready(process, folder, mark, log)
        yield system
    finally:
        seen = leftovers.named(leftovers.family(mark))
        await _stop(process)
        gone = [folders.run_dir_path(folder)]
        if state is None and not keep:
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(folder)
        if system is not None and "--keep" not in words:  # that leaves what it should
            system.left.extend(await _left(mark, before, seen, gone))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _start(
    folder: Path, mark: str, words: tuple[str, ...]
) -> tuple[asyncio.subprocess.Process, Path]:
    log = folder / "up.log"
    api = f"127.0.0.1:{free_port()}"
    argv = colonnade("up", "--state", str(folder), "--api", api, *words)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, leftovers.MARK: mark},
            start_new_session=True,
        )
    return process, log


async def _ready(process: asyncio.subprocess.Process, folder: Path, mark: str, log: Path) -> System:
    began = time.monotonic()
    assert process.stdout is not None
    line = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_S_MAX):
            line = await process.stdout.readline()
    word, _, endpoint = line.decode().strip().partition(" ")
    if word != "ready:":
        said = log.read_text(errors="replace")[-2000:].strip()
        raise Unavailable(f"the system did not start: {said or 'it said nothing'}")
    return System(
        endpoint=endpoint,
        state=folder,
        mark=mark,
        pid=process.pid,
        ready_s=time.monotonic() - began,
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _left(
    mark: str, before: leftovers.Before, seen: dict[ProcessName, str], gone: list[Path]
) -> list[str]:
    """What is left once everything had a moment to be collected by its parent."""
    for _ in range(50):
        left = leftovers.leftovers(mark, before, seen, gone)
        if not left:
            return []
        await asyncio.sleep(0.1)
    return left
