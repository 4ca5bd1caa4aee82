# SPDX-License-Identifier: Apache-2.0
"""Short-lived programs: run one to its end, and pass on what it said."""

import asyncio
import re
import subprocess
from typing import Final

WORDS_MAX: Final = 4000  # characters of a program's output that are passed on
_PREFIX = re.compile(r"^\[(\w+)\]\s+\(\d+\) : ")  # haproxy's: "[ALERT]    (23) : "


async def run(*command: str, given: bytes = b"", within_s: float) -> tuple[int, str]:
    """Exit code and output of a short-lived process; killed when it takes too long."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(within_s):
            output, _ = await child.communicate(given)
    except TimeoutError:
        child.kill()
        await child.wait()
        return -1, f"{command[0]} did not end within {within_s:g} s"
    return child.returncode or 0, output.decode(errors="replace")


def words(output: str) -> str:
    """The output, cut to what is worth reading."""
    lines = [_PREFIX.sub(r"[\1] ", line) for line in output.splitlines()]
    return "\n".join(line for line in lines if not line.startswith("[NOTICE]")).strip()[-WORDS_MAX:]
