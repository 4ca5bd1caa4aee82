# SPDX-License-Identifier: Apache-2.0
"""Interfaces, asked of the short-lived process that makes them.

It runs in the traffic namespace for the bundle's interfaces, and in the agent's own for the one
on the LB network when nobody else has given that its address.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from colonnade.agent.network.hand_over import handing_over
from colonnade.agent.programs import run, words
from colonnade.protocol.bundle import Interface

INTERFACES_S_MAX = 15.0
MISSING = 3  # exit code of `interfaces`, which this process must not import: it is large


class NotThere(Exception):
    """An interface that is wanted has not been plugged in; it may come."""


class Failed(Exception):
    """The kernel refused, in the words of the process."""


async def arrange(wanted: Sequence[Interface], namespace: Path | None) -> Mapping[str, str]:
    """Make the interfaces as wanted; the answer is their names, by MAC address. Raises NotThere or
    Failed."""
    process = (sys.executable, "-I", "-m", "colonnade.agent.network.interface_process")
    given = msgspec.json.encode(wanted)
    if namespace is None:
        code, output = await run(*process, given=given, within_s=INTERFACES_S_MAX)
    else:
        enter = ("nsenter", f"--net={namespace}")
        async with handing_over({one.mac.lower() for one in wanted}, namespace):
            code, output = await run(*enter, *process, given=given, within_s=INTERFACES_S_MAX)
    if code == MISSING:
        raise NotThere(f"no interface with MAC address {output.strip()}")
    if code != 0:
        raise Failed(f"the interfaces could not be set: {words(output)}")
    return msgspec.json.decode(output.rpartition("\n")[2], type=dict[str, str])
