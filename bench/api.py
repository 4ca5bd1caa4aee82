# SPDX-License-Identifier: Apache-2.0
"""How fast the user API answers: requests a second and latencies, as one JSON object.

Starts a database and one `colonnade api` of its own with the noop provider, so that only the API
and its store are measured; the client shares the machine. Run it with nothing else running:
`python -m bench.api`.
"""

import asyncio
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from colonnade.store.embedded import EmbeddedPostgres
from colonnade.store.migrations import migrate

START_S_MAX = 20.0
ROOTS = 1000


class Load:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._subnet = str(uuid4())

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, f"/v2/lbaas/{path}", json=body) as answer:
            text = await answer.read()
            assert answer.status in (200, 201, 202), (answer.status, text)
            return text

    async def root(self) -> Any:
        body = {"loadbalancer": {"vip_subnet_id": self._subnet, "provider": "noop"}}
        return json.loads(await self.ask("POST", "loadbalancers", body))["loadbalancer"]

    async def pool(self) -> str:
        body = {
            "loadbalancer_id": (await self.root())["id"],
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
        }
        made = json.loads(await self.ask("POST", "pools", {"pool": body}))
        return str(made["pool"]["id"])


async def measured(
    requests: int, at_once: int, request: Callable[[int], Awaitable[Any]]
) -> dict[str, float]:
    numbers = iter(range(requests))
    took: list[float] = []

    async def client() -> None:
        for number in numbers:
            started = time.perf_counter()
            await request(number)
            took.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    elapsed = time.perf_counter() - started
    took.sort()
    return {
        "per_s": round(requests / elapsed, 1),
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
    }


async def run(session: aiohttp.ClientSession) -> dict[str, dict[str, float]]:
    load = Load(session)
    one = (await load.root())["id"]
    pools = [await load.pool() for _ in range(16)]

    def member(number: int) -> Awaitable[Any]:
        body = {"address": f"10.1.{number // 250}.{number % 250 + 1}", "protocol_port": 80}
        return load.ask("POST", f"pools/{pools[number % 16]}/members", {"member": body})

    def batch(number: int) -> Awaitable[Any]:
        bodies = [
            {"address": f"10.2.{number % 250}.{last}", "protocol_port": 80}
            for last in range(1, 101)
        ]
        return load.ask("PUT", f"pools/{pools[number % 16]}/members", {"members": bodies})

    return {
        "get_one": await measured(4000, 8, lambda _: load.ask("GET", f"loadbalancers/{one}")),
        "post_load_balancer": await measured(ROOTS, 8, lambda _: load.root()),
        "list_100": await measured(200, 4, lambda _: load.ask("GET", "loadbalancers?limit=100")),
        "list_1000": await measured(20, 2, lambda _: load.ask("GET", "loadbalancers")),
        "post_member": await measured(800, 8, member),
        "put_batch_of_100": await measured(60, 4, batch),
    }


async def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="col-"))
    server = EmbeddedPostgres(folder / "state", folder / "run", durable=True)
    await server.start()
    api: asyncio.subprocess.Process | None = None
    try:
        migrate(server.url)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = folder / "api.toml"
        config.write_text(
            f'state_dir = "{folder}"\nrun_dir = "{folder}"\nlog_level = "WARNING"\n'
            f"database_url = {json.dumps(server.url)}\n[api]\nport = {port}\n"
        )
        program = Path(sys.executable).with_name("colonnade")
        started = time.perf_counter()
        api = await asyncio.create_subprocess_exec(program, "api", "--config", config)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            await _answers(session)
            start_s = round(time.perf_counter() - started, 2)
            found: dict[str, Any] = dict(await run(session))
        print(json.dumps(found | {"start_s": start_s, "rss_mb": _resident_mb(api.pid)}))
    finally:
        if api is not None:
            api.terminate()
            await api.wait()
        await server.stop()
        shutil.rmtree(folder)


async def _answers(session: aiohttp.ClientSession) -> None:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline:
        try:
            async with session.get("/healthcheck") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)
    raise TimeoutError("the API did not start")


def _resident_mb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 // 1_000_000


if __name__ == "__main__":
    asyncio.run(main())
