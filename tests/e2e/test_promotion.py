# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL elsewhere, reached by TCP: the primary is killed and its standby promoted. No write
that was answered is lost, no request fails, and no amphora is blamed."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

import pytest

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError
from tests.beside import beside
from tests.live_chaos import Writer
from tests.replicated_postgres import couple, password

AWAY_S: Final = 1.0  # until somebody, or a program, promotes
BACK_S_MAX: Final = 10.0  # until writes are answered, after the promotion
TOLD_S_MAX: Final = 60.0
Fact: TypeAlias = Callable[[], Awaitable[bool]]


@pytest.mark.timed
async def test_a_promoted_standby_knows_all_that_was_answered() -> None:
    folder = Path(tempfile.mkdtemp(prefix="col-"))
    folder.chmod(0o755)
    async with couple(folder) as servers:
        async with (
            running("--database", servers.url, *password(folder)) as system,
            Rest(system.endpoint) as rest,
            Hosts(system.state) as hosts,
        ):
            scenario = Scenario(rest, hosts, Figures())
            for step in (scenario.hosts, scenario.spare, scenario.create):
                await step()
            served_by = await scenario.serving()
            writer = Writer(scenario, Random(1))
            async with beside(writer.write()), scenario.visits(50) as visits:
                await visits.first_ok(since=0.0)
                await until(_more(writer, 0), within_s=30, what="writes")
                await servers.primary.kill()
                await asyncio.sleep(AWAY_S)
                servers.standby.promote()
                promoted, before = time.monotonic(), writer.acknowledged
                await until(_more(writer, before), within_s=BACK_S_MAX, what="writes again")
                print(f"writes again after {time.monotonic() - promoted:.1f} s")  # noqa: T201
                await until(_told_anew(rest), within_s=TOLD_S_MAX, what="the amphora to be told")
            assert await writer.lost() == 0
            assert visits.failed() == []
            assert await scenario.serving() == served_by
            assert "failed" not in await _kinds(rest)  # nor is any amphora
        assert system.left == []


def _more(writer: Writer, before: int) -> Fact:
    async def more() -> bool:
        return writer.acknowledged > before + 3

    return more


def _told_anew(rest: Rest) -> Fact:
    async def told() -> bool:
        with contextlib.suppress(ColonnadeError):
            return "restored" in await _kinds(rest)
        return False

    return told


async def _kinds(rest: Rest) -> set[str]:
    return {one["kind"] for one in (await rest.get("lbaas/events"))["events"]}
