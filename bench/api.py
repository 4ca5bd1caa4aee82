# SPDX-License-Identifier: Apache-2.0
"""How fast the user API answers: requests a second and latencies, as one JSON object.

Starts a database and one `colonnade api` of its own with the noop provider, so that only the API
and its store are measured. The client shares the machine, so it is as lean as it can be; what a
request costs the API and the database in processor time is told too, for that holds on a busy
machine as well. Run it with nothing else running: `python -m bench.api [WORKERS]`.
"""

import asyncio
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from colonnade.store.embedded import EmbeddedPostgres
from colonnade.store.migrations import migrate

START_S_MAX = 20.0
ROOTS = 1000
CLIENTS_MAX = 16
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


class Client:
    """One connection that is kept, and just enough HTTP to ask and to read the answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._port, limit=8_000_000
            )
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length.group(1)) if length is not None else 0
        return int(head[9:12]), await self._reader.readexactly(size) if size else b""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class Load:
    def __init__(self, port: int) -> None:
        self._idle = [Client(port) for _ in range(CLIENTS_MAX)]
        self._subnet = str(uuid4())

    async def ask(self, method: str, path: str, body: Any = None) -> bytes:
        client = self._idle.pop()
        content = json.dumps(body).encode() if body is not None else b""
        status, answer = await client.ask(method, f"/v2/lbaas/{path}", content)
        self._idle.append(client)
        assert status in (200, 201, 202), (status, answer)
        return answer

    def close(self) -> None:
        for client in self._idle:
            client.close()

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


class Bench:
    """`processes` are what is measured; each is told by name in the results."""

    def __init__(self, port: int, api_pid: int, database_pid: int) -> None:
        self.load = Load(port)
        self._api_pid, self._database_pid = api_pid, database_pid

    async def measured(
        self, requests: int, at_once: int, request: Callable[[int], Awaitable[Any]]
    ) -> dict[str, float]:
        numbers = iter(range(requests))
        took: list[float] = []

        async def client() -> None:
            for number in numbers:
                started = time.perf_counter()
                await request(number)
                took.append(time.perf_counter() - started)

        api, database = self._spent_us()
        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(at_once)))
        elapsed = time.perf_counter() - started
        api_after, database_after = self._spent_us()
        took.sort()
        return {
            "per_s": round(requests / elapsed, 1),
            "p50_ms": round(took[len(took) // 2] * 1000, 2),
            "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
            "api_cpu_us": round((api_after - api) / requests),
            "database_cpu_us": round((database_after - database) / requests),
        }

    def _spent_us(self) -> tuple[int, int]:
        database = [self._database_pid, *_children(self._database_pid)]
        api = [self._api_pid, *_children(self._api_pid)]
        return _cpu_us(api), _cpu_us(database)

    async def run(self) -> dict[str, dict[str, float]]:
        load, measured = self.load, self.measured
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

        await measured(200, 8, lambda _: load.ask("GET", f"loadbalancers/{one}"))
        return {
            "get_one": await measured(4000, 8, lambda _: load.ask("GET", f"loadbalancers/{one}")),
            "post_load_balancer": await measured(ROOTS, 8, lambda _: load.root()),
            "list_100": await measured(
                300, 4, lambda _: load.ask("GET", "loadbalancers?limit=100")
            ),
            "list_1000": await measured(40, 2, lambda _: load.ask("GET", "loadbalancers")),
            "post_member": await measured(800, 8, member),
            "put_batch_of_100": await measured(100, 4, batch),
        }


async def main(workers: int) -> None:
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
            f"database_url = {json.dumps(server.url)}\n[api]\nport = {port}\nworkers = {workers}\n"
        )
        program = Path(sys.executable).with_name("colonnade")
        started = time.perf_counter()
        api = await asyncio.create_subprocess_exec(program, "api", "--config", config)
        await _answers(port)
        start_s = round(time.perf_counter() - started, 2)
        lock = (folder / "state" / "postgres" / "postmaster.pid").read_text()
        bench = Bench(port, api.pid, int(lock.split()[0]))
        found: dict[str, Any] = dict(await bench.run())
        bench.load.close()
        pids = [api.pid, *_children(api.pid)]
        memory = {"pss_mb": sum(map(_own_mb, pids)), "rss_mb": _resident_mb(api.pid)}
        print(json.dumps(found | {"workers": workers, "start_s": start_s} | memory))
    finally:
        if api is not None:
            api.terminate()
            await api.wait()
        await server.stop()
        shutil.rmtree(folder)


async def _answers(port: int) -> None:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline:
        client = Client(port)
        try:
            status, _ = await client.ask("GET", "/healthcheck", b"")
            if status == 200:
                return
        except OSError:
            await asyncio.sleep(0.02)
        finally:
            client.close()
    raise TimeoutError("the API did not start")


def _children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_us(pids: list[int]) -> int:
    """Of processes that run on; user and system time."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_US


def _resident_mb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 // 1_000_000


def _own_mb(pid: int) -> int:
    """Its own memory and its part of what it shares."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    return int(found.group(1)) * 1024 // 1_000_000 if found is not None else 0


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
