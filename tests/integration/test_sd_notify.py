# SPDX-License-Identifier: Apache-2.0
"""What a process tells its service manager: that it serves, that it is alive, and how bad a line
of its log is. The other end is a socket of the test's own.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LIMIT_S = 0.6  # after which the manager would think that it hangs
HEARD_S_MAX = 20.0
HANG = """
import asyncio, os, sys, time
from colonnade.runtime import sd_notify
from colonnade.runtime.workers import run_workers

async def serve(hangs):
    async with sd_notify.telling():
        while not (hangs and os.path.exists(sys.argv[1])):
            await asyncio.sleep(0.02)
        time.sleep(3600)
"""
ALONE = HANG + "asyncio.run(serve(True))"
WORKERS = HANG + "run_workers(2, lambda number, stop: asyncio.run(serve(number == 1)))"
LOG = """
from colonnade.runtime import logging
import structlog
logging.configure("api")
structlog.get_logger().warning("late")
"""


@contextmanager
def told(program: str, address: str, told_to_hang: Path) -> Iterator[socket.socket]:
    """The socket at which the manager hears of the program."""
    hearing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    hearing.bind(f"\0{address[1:]}" if address.startswith("@") else address)
    hearing.settimeout(HEARD_S_MAX)
    watched = {"WATCHDOG_USEC": str(round(LIMIT_S * 1e6)), "WATCHDOG_PID": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(told_to_hang)],
        env=os.environ | {"NOTIFY_SOCKET": address} | watched,
        start_new_session=True,
    ) as process:
        try:
            yield hearing
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            hearing.close()


def hear(hearing: socket.socket, words: str) -> None:
    while hearing.recv(4096).decode() != words:
        pass


@pytest.mark.parametrize("program", [ALONE, WORKERS], ids=["alone", "one of two workers"])
def test_a_process_is_silent_once_its_loop_hangs(program: str, tmp_path: Path) -> None:
    hang = tmp_path / "hang"
    with told(program, str(tmp_path / "notify"), hang) as hearing:
        hear(hearing, "READY=1\nWATCHDOG=1")
        hear(hearing, "WATCHDOG=1")
        hang.touch()
        hearing.settimeout(3 * LIMIT_S)  # longer than a manager waits
        with pytest.raises(TimeoutError):
            for _ in range(100):
                hearing.recv(4096)


def test_an_abstract_socket_is_one_too(tmp_path: Path) -> None:
    with told(ALONE, f"@colonnade-test-{os.getpid()}", tmp_path / "hang") as hearing:
        hear(hearing, "READY=1\nWATCHDOG=1")


@pytest.mark.parametrize("is_journal", [True, False])
def test_a_line_for_the_journal_begins_with_its_level(is_journal: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = os.fstat(theirs.fileno())
        named = f"{found.st_dev}:{found.st_ino}" if is_journal else ""
        subprocess.run(
            [sys.executable, "-c", LOG],
            stderr=theirs.fileno(),
            env=os.environ | {"JOURNAL_STREAM": named},
            check=True,
            timeout=30,
        )
        said = ours.recv(4096).decode()
    assert said.startswith('<4>{"' if is_journal else '{"')
