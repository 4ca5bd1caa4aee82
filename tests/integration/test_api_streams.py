# SPDX-License-Identifier: Apache-2.0
"""Streams and waiting answers of a real API process: live, shared, and gone with their readers."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.api_server import Server, eventually, serving

READERS = 50
SUBNET = "00000000-0000-4000-8000-000000000001"
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"


async def _read(server: Server, seen: list[float], started: asyncio.Event) -> None:
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream(
            "GET",
            f"{server.endpoint}/v2/lbaas/events",
            headers={"Accept": "text/event-stream"},
        ) as answer,
    ):
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("retry:"):
                started.set()
            if line.startswith("event: created"):
                seen.append(time.monotonic())
                return


async def _make(server: Server, name: str) -> Any:
    body = {"loadbalancer": {"vip_subnet_id": SUBNET, "name": name}}
    async with httpx.AsyncClient(timeout=30) as client:
        path = f"{server.endpoint}/v2/lbaas/loadbalancers?wait=10"
        answer = await client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["loadbalancer"]


@pytest.mark.timed
async def test_many_readers_hear_at_once_and_leave_nothing_behind(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(tmp_path, database_url) as server:
        await _make(server, "warm")
        seen: list[float] = []
        starts = [asyncio.Event() for _ in range(READERS)]
        readers = [asyncio.create_task(_read(server, seen, one)) for one in starts]
        async with asyncio.timeout(20):
            await asyncio.gather(*(one.wait() for one in starts))
        # One that never reads: nothing is gathered for it, and nobody waits for it.
        _, lazy = await asyncio.open_connection("127.0.0.1", server.port)
        lazy.write(
            b"GET /v2/lbaas/events?since=0 HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            b"accept: text/event-stream\r\n\r\n"
        )
        await lazy.drain()
        made = time.monotonic()
        root = await _make(server, "news")
        assert root["provisioning_status"] == "ACTIVE"
        async with asyncio.timeout(20):
            await asyncio.gather(*readers)
        assert len(seen) == READERS
        assert sorted(seen)[READERS // 2] - made < 1.0
        with psycopg.connect(database_url) as connection:
            row = connection.execute(LISTENERS).fetchone()
            assert row == (1,)
        lazy.close()
    assert '"event": "bug"' not in server.said


async def test_streams_beyond_a_projects_own_are_refused_and_places_come_back(
    database_url: str, tmp_path: Path
) -> None:
    """Whatever way a stream ends; and whoever is refused slows nobody."""
    most = 5
    asked = {"Accept": "text/event-stream", "X-Project-Id": "p"}
    async with serving(tmp_path, database_url, held_per_project=most) as server:
        url = f"{server.endpoint}/v2/lbaas/events"
        async with httpx.AsyncClient(timeout=30) as client:
            for _ in range(3):
                async with AsyncExitStack() as stack:
                    for _ in range(most):
                        got = await stack.enter_async_context(
                            client.stream("GET", url, headers=asked)
                        )
                        assert got.status_code == 200
                    answers = await asyncio.gather(
                        *(client.get(url, headers=asked) for _ in range(100))
                    )
                    assert {one.status_code for one in answers} == {429}
                    assert (await client.get(url, headers={"X-Project-Id": "p"})).is_success
                    other = {**asked, "X-Project-Id": "q"}
                    async with client.stream("GET", url, headers=other) as theirs:
                        assert theirs.status_code == 200

                async def has_room() -> bool:
                    async with client.stream("GET", url, headers=asked) as again:
                        return again.status_code == 200

                await eventually(has_room)
    assert '"event": "bug"' not in server.said
