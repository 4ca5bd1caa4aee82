# SPDX-License-Identifier: Apache-2.0
"""A process that is told to end does, whatever it waits for at that moment."""

import subprocess
import sys

import pytest

END_S_MAX = 20

PROCESS = """
import asyncio
from colonnade.runtime.termination import until_told

async def work():
    print("works", flush=True)
    {work}

print("told" if asyncio.run(until_told(work())) else "by itself", flush=True)
"""
# As a library does that meets what it waited for and the cancellation at once.
DEAF_ONCE = """
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(3600)
"""


@pytest.mark.parametrize(
    ("work", "is_told", "said"),
    [
        ("await asyncio.sleep(3600)", True, "told\n"),
        (DEAF_ONCE, True, "told\n"),
        ("pass", False, "by itself\n"),
    ],
    ids=["waits", "misses the first cancellation", "ends"],
)
def test_it_ends_when_told(work: str, is_told: bool, said: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS.format(work=work)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "works\n"
        if is_told:
            process.terminate()
        assert process.wait(END_S_MAX) == 0
        assert process.stdout.read() == said


def test_what_the_work_raises_is_raised() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROCESS.format(work="raise OSError('broken')")],
        capture_output=True, text=True, timeout=END_S_MAX, check=False,
    )  # fmt: skip
    assert (ended.returncode, "OSError: broken" in ended.stderr) == (1, True)
