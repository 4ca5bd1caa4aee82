# SPDX-License-Identifier: Apache-2.0
"""No change hurts traffic: neither connections that last nor requests of the moment.

A whole system, changed at random through its API, while connections of every kind are in use and
requests come at a constant rate. What is changed and what is not is told in `random_changes`.
"""

import asyncio
import contextlib
import secrets
import time
from typing import Any, Final

from tests.environments import needs_nft
from tests.hitless import Client, Site, hitless_site, repeated
from tests.random_changes import Changes

pytestmark = needs_nft

MEMBER_CHANGES, RELOADS = 100, 20
RANDOM_S, RANDOM_S_MAX = 15.0, 60.0
PAUSE_S: Final = 0.1
HELD: Final = (("websocket", 80), ("slow", 80), ("websocket", 443), ("slow", 443), ("tcp", 7000))
RATE: Final = 40.0  # requests a second, to each listener
EXCHANGES_MIN: Final = 100
SEEN_S: Final = 1.0  # some forty requests


async def test_connections_last_and_no_request_fails_over_random_changes() -> None:
    seed = secrets.randbelow(1_000_000)
    async with hitless_site() as site:
        changes = site.changes(seed)
        held = [site.hold(kind, port) for kind, port in HELD]
        loads = [site.load(80, RATE), site.load(443, RATE)]
        async with contextlib.AsyncExitStack() as under_way:
            for client in (*held, *loads):
                await under_way.enter_async_context(client)
            reloads = await site.reloads()
            try:
                await changed(site, changes, reloads)
            except Exception as error:
                error.add_note(f"seed {seed}, {changes.last}")
                raise
            reloads = await site.reloads() - reloads
        assert reloads >= RELOADS
    said = f"seed {seed}: {dict(changes.done)}"
    assert [hurt(client) for client in held if hurt(client)] == [], said
    assert [load.found["failures"] for load in loads if load.found["failed"]] == [], said
    assert all(load.found["requests"] > RANDOM_S * RATE for load in loads), said
    assert all(set(load.found["by"]) == {"web1", "web2", "web3"} for load in loads), said
    assert len(loads[1].found["certificates"]) > 1, said
    assert site.system.left == []


async def changed(site: Site, changes: Changes, reloads: int) -> None:
    """Members alone first, which haproxy learns while it runs; then everything."""

    async def enough_members() -> bool:
        return changes.members_changed >= MEMBER_CHANGES

    began = time.monotonic()

    async def enough() -> bool:
        lasted_s = time.monotonic() - began
        assert lasted_s < RANDOM_S_MAX, "there were too few reloads"
        return lasted_s > RANDOM_S and await site.reloads() - reloads >= RELOADS

    await repeated(changes.of_a_member, 0.0, enough_members)
    await site.settled()
    began = time.monotonic()
    async with asyncio.timeout(RANDOM_S_MAX + 10):
        await repeated(changes.one, PAUSE_S, enough)
    await site.settled()
    for which in (0, 1):
        await changes.all_certificates(which)
        await site.settled()
        await asyncio.sleep(SEEN_S)


def hurt(client: Client) -> dict[str, Any] | None:
    found = client.found
    return found if found["why"] or found["exchanges"] < EXCHANGES_MIN else None
