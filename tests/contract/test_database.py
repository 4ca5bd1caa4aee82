# SPDX-License-Identifier: Apache-2.0
"""Connections to the database, as those who wait for one meet them."""

import asyncio

from colonnade.store.postgres.database import Database

TURNS_MAX = 16  # of the event loop: more than it takes from a connection's return to its next user


async def test_who_is_cancelled_as_a_connection_comes_ends(database_url: str) -> None:
    database = await Database.connect(database_url, pool_max=1)
    had: list[int] = []

    async def ask(turns: int) -> None:
        async with database.read():
            had.append(turns)
            await asyncio.Event().wait()

    try:
        for turns in range(TURNS_MAX):
            async with database.read():
                asking = asyncio.create_task(ask(turns))
                await asyncio.sleep(0)
                assert database.pool().waiting == 1
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking], timeout=10)
            assert asking.cancelled(), f"a cancellation after {turns} turns was lost"
        assert 0 < len(had) < TURNS_MAX, "some were cancelled before they had it, and some after"
        async with database.read() as connection:  # each gave it back
            await connection.execute("SELECT 1")
    finally:
        await database.close()
