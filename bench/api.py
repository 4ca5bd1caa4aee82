# SPDX-License-Identifier: Apache-2.0
"""How fast the user API answers: requests a second and latencies, as one JSON object.

Starts a database and one `colonnade api` of its own with the noop provider, so that only the API
and its store are measured. The client runs on the same machine and takes part of it; what a
request costs the API and the database in processor time is told too, for that holds on a busy
machine as well. Run it with nothing else running: `python -m bench.api [WORKERS]`.
"""

import asyncio
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.client import CLIENTS_MAX, Load, member
from bench.served import Figures, Request, Served, answers, load_average, spent
from colonnade.cli.local.system import free_port
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.migrations import migrate

START_S_MAX = 20.0
ROUNDS = 3  # of each figure: what is told is the median
FEW, SOME, MANY = 100, 1000, 10_000  # load balancers in the store

# Twenty times what Octavia 19 does alone on such a machine; and what the contract of lists says.
GOALS = {
    "workers_1.get_one.per_s": "> 2540",
    "workers_1.list_100.per_s": "> 520",
    "workers_1.list_1000.per_s": "> 44",
    "workers_1.list_1000.alone_p50_ms": "< 60",
    "workers_1.post_load_balancer.per_s": "> 880",
    "workers_1.post_member_10.per_s": "> 1020",
    "workers_1.put_batch_of_100.per_s": "> 234",
    "workers_1.growth.get_one": "about 1",
    "workers_1.growth.post_load_balancer": "about 1",
    "workers_1.growth.post_member_10": "about 1",
}


class Bench(Served):
    """Colonnade, running."""

    start_s = 0.0
    database_url = ""

    async def measured(self, requests: int, at_once: int, request: Request) -> Figures:
        """Medians of some rounds, and how long one takes when nobody else asks."""
        numbers = itertools.count()
        rounds = [await self.round(requests, at_once, request, numbers) for _ in range(ROUNDS)]
        alone = await self.round(max(8, requests // 10), 1, request, numbers)
        found = {name: median(one[name] for one in rounds) for name in rounds[0]}
        return found | {"alone_p50_ms": alone["p50_ms"]}

    async def run(self, *, many: bool) -> dict[str, Any]:
        """`many`: also in a store that has many load balancers, which takes a while to fill."""
        load, measured = self.load, self.measured
        one = await load.root()
        await self.round(200, 8, lambda _: self._get(one), iter(range(200)))
        found = {"list_1": await measured(400, 4, self._list)}
        await self.fill(FEW)
        found["list_100"] = await measured(100, 4, self._list)
        few = await self._of_one_tree(one)
        await self.fill(SOME)
        found["list_1000"] = await measured(20, 2, self._list)
        found |= few
        for size, pools, requests in ((100, 64, 200), (1000, 16, 32)):
            found[f"post_member_{size}"] = await self._members(size, pools, requests)
        found["put_batch_of_100"] = await self._batches()
        root, _ = await load.pool(1000)
        found["status_of_1000"] = await measured(
            20, 2, lambda _: load.ask("GET", f"loadbalancers/{root}/status")
        )
        if not many:
            return found
        await self.fill(MANY)
        later = await self._of_one_tree(one)
        found |= {f"{name}_of_{MANY}": figures for name, figures in later.items()}
        found[f"list_1000_of_{MANY}"] = await measured(20, 2, self._list)
        return found | {"growth": {name: _growth(few[name], later[name]) for name in few}}

    async def _of_one_tree(self, one: str) -> dict[str, Figures]:
        """What should cost the same however many others there are."""
        return {
            "get_one": await self.measured(2000, 8, lambda _: self._get(one)),
            "post_load_balancer": await self.measured(240, 8, lambda _: self.load.root()),
            "post_member_10": await self._members(10, 64, 200),
        }

    async def _members(self, size: int, pools: int, requests: int) -> Figures:
        """Into pools that have about so many, each client into another one."""
        before = size - requests * ROUNDS // pools // 2
        made = [(await self.load.pool(min(before, 990)))[1] for _ in range(pools)]
        return await self.measured(
            requests,
            8,
            lambda n: self.load.ask(
                "POST", f"pools/{made[n % pools]}/members", {"member": member(2000 + n)}
            ),
        )

    async def _batches(self) -> Figures:
        """Each batch replaces all hundred members by others."""
        pools = [(await self.load.pool(100))[1] for _ in range(CLIENTS_MAX)]

        def batch(number: int) -> Awaitable[Any]:
            bodies = [member(1000 + number * 100 + n) for n in range(100)]
            pool = pools[number % len(pools)]
            return self.load.ask("PUT", f"pools/{pool}/members", {"members": bodies})

        return await self.measured(60, 4, batch)

    async def _get(self, one: str) -> None:
        await self.load.ask("GET", f"loadbalancers/{one}")

    async def _list(self, _number: int) -> None:
        await self.load.ask("GET", "loadbalancers")


def _growth(few: Figures, many: Figures) -> float:
    """What one request costs the machine in a full store, in that of an almost empty one."""
    return round(spent(many) / spent(few), 2)


@asynccontextmanager
async def serving(workers: int) -> AsyncIterator[Bench]:
    """A database and an API of its own, and clients that are connected to it."""
    folder = Path(tempfile.mkdtemp(prefix="col-"))
    server = EmbeddedPostgres(folder / "state", folder / "run", durable=True)
    await server.start()
    api: asyncio.subprocess.Process | None = None
    try:
        migrate(server.url)
        port = free_port()
        config = folder / "api.toml"
        config.write_text(
            f'state_dir = "{folder}"\nrun_dir = "{folder}"\nlog_level = "WARNING"\n'
            f"database_url = {json.dumps(server.url)}\n[api]\nport = {port}\nworkers = {workers}\n"
        )
        program = Path(sys.executable).with_name("colonnade")
        started = time.perf_counter()
        api = await asyncio.create_subprocess_exec(program, "api", "--config", config)
        await answers(port, "/healthcheck", START_S_MAX)
        start_s = round(time.perf_counter() - started, 2)
        lock = (folder / "state" / "postgres" / "postmaster.pid").read_text()
        load = await Load.of(port, {"provider": "noop"})
        bench = Bench(load, api.pid, int(lock.split()[0]))
        bench.start_s, bench.database_url = start_s, server.url
        yield bench
        load.close()
    finally:
        if api is not None:
            api.terminate()
            await api.wait()
        await server.stop()
        shutil.rmtree(folder)


async def main(workers: int) -> None:
    async with serving(workers) as bench:
        begun = {"start_s": bench.start_s, "pss_at_start_mb": bench.api_mb()}
        found = await bench.run(many=workers == 1)
        ended = {"pss_mb": bench.api_mb(), "load_average": load_average()}
        print(json.dumps(found | begun | ended))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
