# SPDX-License-Identifier: Apache-2.0
"""Two of each, with one database: APIs, controllers, receivers. One of the two hosts dies, comes
back, and then the other one freezes: each time the one that is left does all the work."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from colonnade.cli.demo.scenario import PUBLIC, Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError
from tests.beside import beside
from tests.frozen import frozen
from tests.live_chaos import Writer
from tests.replicated_postgres import alone, password, url_to
from tests.second_host import second_host
from tests.untouched import bystander, settled, untouched

# A process that is frozen may hold rows until the server ends its transaction, after 10 s; its
# leases end after 15 s; and who found them taken asks again within 10 s.
WITHIN_S = 60.0


async def test_no_process_of_the_control_plane_is_special() -> None:
    async with far_system() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        scenario = Scenario(rest, hosts, Figures())
        await scenario.hosts()
        async with second_host(system) as second, Rest(second.endpoint) as other:
            await until(lambda: both_run(rest), within_s=WITHIN_S, what="two of each")
            await scenario.spare()
            await scenario.create()
            subnet = await hosts.subnet(PUBLIC)
            writers = Writer(scenario, Random(1)), Writer(by_way_of(other, scenario), Random(2))
            async with untouched(rest, str(scenario.load_balancer["id"])), scenario.visits(30) as v:
                await v.first_ok(since=0.0)
                async with beside(writers[0].write()), beside(writers[1].write()):
                    await until(more(writers), within_s=WITHIN_S, what="writes by both APIs")
                async with beside(writers[0].write()):
                    await second.die()
                    made = await bystander(rest, subnet, "after-a-death")
                    await settled(rest, made, within_s=WITHIN_S)
                    await until(more(writers[:1]), within_s=WITHIN_S, what="writes by one API")
                await second.start()
                with frozen(second.of_first()):
                    async with beside(writers[1].write()):
                        await until(more(writers[1:]), within_s=WITHIN_S, what="writes")
                        made = await bystander(other, subnet, "while-one-is-frozen")
                        await settled(other, made, within_s=WITHIN_S)
                assert v.failed() == []
            for writer in writers:
                assert await writer.lost() == 0
    assert system.left == []


@contextlib.asynccontextmanager
async def far_system() -> AsyncIterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="col-"))
    folder.chmod(0o755)
    async with alone(folder) as server:
        words = ("--database", url_to(server), *password(folder), "--spares", "3")
        async with running(*words) as system:
            yield system


def by_way_of(rest: Rest, scenario: Scenario) -> Scenario:
    """The same load balancer, at another API."""
    found = Scenario(rest, scenario.lab, Figures())
    found.load_balancer, found.pool = scenario.load_balancer, scenario.pool
    return found


async def both_run(rest: Rest) -> bool:
    with contextlib.suppress(ColonnadeError):
        found: Any = await rest.get("octavia/fleet")
        kinds = [one["kind"] for one in found["fleet"]["daemons"]]
        return kinds.count("controller") == kinds.count("health") == 2
    return False


def more(writers: tuple[Writer, ...]) -> Callable[[], Awaitable[bool]]:
    before = [writer.acknowledged for writer in writers]

    async def are_more() -> bool:
        pairs = zip(writers, before, strict=True)
        return all(writer.acknowledged > known + 5 for writer, known in pairs)

    return are_more
