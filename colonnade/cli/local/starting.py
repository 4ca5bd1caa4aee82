# SPDX-License-Identifier: Apache-2.0
"""What every supervisor on this machine does: lock its state folder, start and stop its parts,
tell when the API answers, and stop on a signal. It knows no command.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from colonnade.domain.errors import Broken, ColonnadeError, Conflict, Invalid
from colonnade.runtime import logging
from colonnade.runtime.config import Api
from colonnade.runtime.sockets import tcp_listener


class Part(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@contextlib.asynccontextmanager
async def started(part: Part) -> AsyncIterator[None]:
    try:
        await part.start()
        yield
    finally:
        await part.stop()


def run(command: str, running: Coroutine[Any, Any, None]) -> int:
    """Run until told to stop. The exit code: 0 after a clean stop, 1 with a reason on stderr."""
    return exit_code(command, lambda: asyncio.run(running))


def exit_code(command: str, act: Callable[[], None]) -> int:
    """Do it: 0, or 1 with the reason on stderr."""
    logging.configure(command, level=os.environ.get("COLONNADE_LOG", "WARNING"))
    try:
        act()
    except ColonnadeError as error:
        reason = str(error)
    except OSError as error:  # a full disk, a folder that is read only
        named = f"{error.filename}: " if error.filename else ""
        reason = f"{named}{error.strerror or error}"
    else:
        return 0
    print(f"colonnade {command}: {reason}", file=sys.stderr)
    return 1


def make_state(state: Path) -> None:
    """The folder is there, and may be written to. Raises Broken when it is not ours."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        (state / "lock").open("a+").close()
    except OSError as error:
        raise Broken(
            f"the state folder {state} cannot be written to ({error.strerror}); "
            "choose another with --state"
        ) from error


SYSTEMD = "systemd"  # stands in the lock of a system that units run


@contextlib.contextmanager
def only_one(state: Path, who: str = "") -> Iterator[IO[str]]:
    """Hold the state folder's lock. Raises Conflict while another supervisor does."""
    with (state / "lock").open("a+") as file:
        if not locked(file):
            file.seek(0)
            found = file.read()
            holder = "by systemd" if found == SYSTEMD else f"process {found}"
            raise Conflict(f"a system with the state folder {state} is running already ({holder})")
        file.truncate(0)
        file.write(who or str(os.getpid()))
        file.flush()
        yield file


def is_held(state: Path) -> bool:
    """Whether a supervisor runs with this state, ready or not."""
    try:
        with (state / "lock").open("r+") as file:
            return not locked(file)
    except OSError:
        return False


def locked(lock: IO[str]) -> bool:
    """Lock the open file for this process until it is closed. False: another one holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def place(text: str) -> dict[str, Any]:
    """HOST:PORT as the configuration has it; for port 0, one that is free. Raises Invalid."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise Invalid(f"--api takes HOST:PORT, not {text!r}")
    host = host.strip("[]")
    return {"host": host, "port": int(port) or _free_port(host)}


def _free_port(host: str) -> int:
    """Chosen here, for the API is another process, and we say where it is. 0: there is no such
    address, which is told when it is checked."""
    try:
        with tcp_listener(host, 0) as listener:
            return int(listener.getsockname()[1])
    except OSError:
        return 0


async def api_answers(api: Api) -> bool:
    """Does it answer a question that takes the database, and that anybody may ask?"""
    question = "GET /healthcheck HTTP/1.1\r\nHost: colonnade\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection(api.host, api.port)
    except OSError:
        return False
    try:
        writer.write(question.encode())
        async with asyncio.timeout(5):
            line = await reader.readline()
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
    return line.split(b" ")[1:2] == [b"200"]


def stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
