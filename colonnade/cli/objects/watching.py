# SPDX-License-Identifier: Apache-2.0
"""`--watch`: the same answer again and again, drawn in place.

It ends by itself when nothing is PENDING any more, where that was asked for, and at Ctrl-C. In a
pipe, and with --json, there is no place to refresh: then the last answer alone is printed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rich.console import RenderableType

from colonnade.cli.objects.session import Session
from colonnade.cli.objects.settling import is_pending

PAUSE_S = 1.0

T = TypeVar("T")


async def watch(
    session: Session,
    look: Callable[[], Awaitable[T]],
    draw: Callable[[T], RenderableType],
    *,
    until_settled: bool,
) -> None:
    if session.as_json or not session.printer.is_terminal:
        found: Any = await _settled(look)
        if session.as_json:
            session.printer.json(found)
        else:
            session.printer.show(draw(found))
        return
    from rich.live import Live

    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        with Live(console=session.printer.console, auto_refresh=False) as live:
            while True:
                found = await look()
                live.update(draw(found), refresh=True)
                if until_settled and not is_pending(found):
                    return
                await asyncio.sleep(PAUSE_S)


async def _settled(look: Callable[[], Awaitable[T]]) -> T:
    while True:
        found = await look()
        if not is_pending(found):
            return found
        await asyncio.sleep(PAUSE_S)
