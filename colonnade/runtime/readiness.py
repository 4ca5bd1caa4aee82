# SPDX-License-Identifier: Apache-2.0
"""When a descriptor has something to say. What it is a descriptor of is not known here."""

import asyncio


async def readable(descriptor: int) -> None:
    """Wait until a read of the descriptor would not wait."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
