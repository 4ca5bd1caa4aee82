# SPDX-License-Identifier: Apache-2.0
"""Waiting on a level, never on an edge: ask again and again until a fact holds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from colonnade.domain.errors import Unavailable

PAUSE_S = 0.02

T = TypeVar("T")


async def until(
    fact: Callable[[], Awaitable[T]], *, within_s: float, what: str, pause_s: float = PAUSE_S
) -> T:
    """The first true answer of `fact`. Raises Unavailable, naming `what`, when time is up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        answer = await fact()
        if answer:
            return answer
        if loop.time() > deadline:
            raise Unavailable(f"{what}: not within {within_s:g} s")
        await asyncio.sleep(pause_s)
