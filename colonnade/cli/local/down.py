# SPDX-License-Identifier: Apache-2.0
"""`colonnade down`: stop a running system, or clear away what a killed one left.

The state folder stays; removing it is the user's decision.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from colonnade.cli.local import finding, folders, own_networks
from colonnade.cli.local.starting import SYSTEMD, locked
from colonnade.domain.errors import ColonnadeError, Conflict, NotFound, Unavailable
from colonnade.drivers.network.namespaces.lab import end_leftovers
from colonnade.runtime import logging
from colonnade.store.postgres.embedded import EmbeddedPostgres

STOP_S_MAX = 40.0


def run_down(wanted_state: Path | None) -> int:
    logging.configure("down", level="WARNING")
    state = folders.state_dir(wanted_state)
    try:
        if not (state / "lock").exists():
            if finding.is_named(wanted_state):
                raise NotFound(f"no system uses the state folder {state}")
            print(f"nothing to do: the state folder {state} does not exist")
            return 0
        was_running = _stop_supervisor(state / "lock")
        asyncio.run(_clear(state))
    except ColonnadeError as error:
        print(f"colonnade down: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(
            f"colonnade down: {error.filename or state} is not yours ({error.strerror}): "
            "run this as the user that runs the system",
            file=sys.stderr,
        )
        return 1
    done = "stopped" if was_running else "no system was running; leftovers are removed"
    print(f"{done} (the state stays in {state})")
    return 0


async def _clear(state: Path) -> None:
    run_dir = folders.run_dir(state)
    if await end_leftovers(run_dir):
        await asyncio.to_thread(own_networks.clear, run_dir)
    await EmbeddedPostgres(state, run_dir).end_leftovers()
    folders.remove_run_dir(state)


def _stop_supervisor(lock: Path) -> bool:
    """End the supervisor that holds the lock, if one does."""
    with lock.open("r+") as file:
        if locked(file):
            return False
        holder = file.read()
        if holder == SYSTEMD:
            raise Conflict(
                "systemd runs this system: `systemctl stop colonnade.target` stops the control "
                "plane, and `systemctl stop colonnade.lab` the amphorae"
            )
        with contextlib.suppress(ValueError, ProcessLookupError):
            os.kill(int(holder), signal.SIGTERM)
        deadline = time.monotonic() + STOP_S_MAX
        while not locked(file):
            if time.monotonic() > deadline:
                raise Unavailable("the running system does not stop")
            time.sleep(0.1)
    return True
