# SPDX-License-Identifier: Apache-2.0
"""An application of a cloud's service on loopback, while a test asks it, and its line in the
catalog."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


@asynccontextmanager
async def on_loopback(app: web.Application) -> AsyncIterator[str]:
    """Its URL."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def catalogued(kind: str, url: str) -> dict[str, Any]:
    """What a catalog says of a service of that type."""
    return {
        "type": kind,
        "endpoints": [{"interface": "public", "url": url, "region": "RegionOne"}],
    }
