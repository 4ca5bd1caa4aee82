# SPDX-License-Identifier: Apache-2.0
"""Metrics are named as Prometheus wants them, and alerts fire when they should and no sooner:
its own tool says so.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from colonnade.runtime.metrics import text_of
from tests.api_server import eventually, free_port, serving
from tests.environments import PROMTOOL, ROOT, needs_promtool
from tests.metric_families import of_processes, text_of_project

RULES = sorted((ROOT / "examples" / "alerts").glob("*.rules.yml"))
TESTS = sorted((ROOT / "tests" / "alerts").glob("*.test.yml"))


@needs_promtool
@pytest.mark.parametrize("whose", ["processes", "project"])
def test_promtool_finds_nothing_wrong_with_any_metric(tmp_path: Path, whose: str) -> None:
    assert PROMTOOL is not None
    text = text_of_project()
    if whose == "processes":
        text = text_of(asyncio.run(of_processes(tmp_path)))
    for words in (["check", "metrics"], ["check", "metrics", "--lint=all"]):
        checked = subprocess.run([PROMTOOL, *words], input=text, capture_output=True, check=False)
        if b"unknown long flag" not in checked.stderr:
            assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b""), words


@needs_promtool
@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_promtool_understands_the_alerts(path: Path) -> None:
    assert_promtool_is_content("check", "rules", str(path))


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_alerts_fire_when_something_is_wrong_and_only_then(path: Path) -> None:
    assert_promtool_is_content("test", "rules", str(path))


def assert_promtool_is_content(*words: str) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_workers_of_the_api_count_together(tmp_path: Path, database_url: str) -> None:
    port, asked = free_port(), 40
    async with serving(tmp_path, database_url, workers=2, metrics_port=port) as server:
        for _ in range(asked):  # each on a connection of its own, which the kernel deals out
            assert (await server.get("/v2/lbaas/pools")).status_code == 200
        workers = server.workers()

        async def counted() -> float:
            return (await _samples(port))["colonnade_api_requests_total", "/v2/lbaas/pools"]

        assert len(workers) == 2
        for _ in range(4):  # whichever of them answers
            assert await counted() == asked
        os.kill(workers[0], signal.SIGKILL)  # what it counted stays, and another counts on

        async def both_are_back() -> bool:
            now = server.workers()
            return len(now) == 2 and workers[0] not in now

        await eventually(both_are_back)
        assert (await server.get("/v2/lbaas/pools")).status_code == 200
        await eventually(lambda: _is(asked + 1, counted()))


async def _is(expected: float, counting: Awaitable[float]) -> bool:
    return await counting == expected


async def _samples(port: int) -> dict[tuple[str, str], float]:
    """By name and route. On a new connection each time, so that any worker may answer."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics", timeout=10)).text
    return {
        (one.name, one.labels.get("route", "")): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }
