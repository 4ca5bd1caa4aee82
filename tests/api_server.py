# SPDX-License-Identifier: Apache-2.0
"""The API as it really runs: `colonnade api` as a process on a free port of loopback.

It is stopped at the end, and must stop cleanly; whatever it wrote is kept for a look.
"""

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from colonnade.cli.local.identities import ensure_master_key
from colonnade.cli.local.starting import api_answers
from colonnade.runtime.config import Api

START_S_MAX = 90.0
STOP_S_MAX = 20.0


class Server:
    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.pid = process.pid
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(word) for word in children.split()]

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(self.endpoint + path, headers=headers, timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_config(
    folder: Path,
    database_url: str,
    *,
    metrics_port: int = 0,
    keystone: Mapping[str, Any] | None = None,
    cloud: Mapping[str, Mapping[str, Any]] | None = None,
    **api: Any,
) -> Path:
    file = folder / "api.toml"
    lines = [f'state_dir = "{folder}"', f'run_dir = "{folder}"']
    lines += ['network_driver = "neutron"', 'compute_driver = "nova"'] if cloud else []
    lines += [f"database_url = {json.dumps(database_url)}", "[api]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in api.items()]
    lines += ["[metrics]", f"port = {metrics_port}", "[keystone]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in (keystone or {}).items()]
    for table, said in (cloud or {}).items():
        lines += [f"[{table}]", *(f"{name} = {json.dumps(one)}" for name, one in said.items())]
    file.write_text("\n".join(lines) + "\n")
    return file


@contextlib.asynccontextmanager
async def serving(folder: Path, database_url: str, **api: Any) -> AsyncIterator[Server]:
    """`api`: what stands in the table [api]; by default the noop provider under every name.
    `keystone` in it: what stands in that table. `cloud`: the tables of Neutron and Nova."""
    port = free_port()
    config = write_config(folder, database_url, **({"port": port, "noop": True} | api))
    ensure_master_key(folder / "pki")
    log = folder / "api.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "colonnade", "api", "--config", str(config),
            stdout=output, stderr=output,
        )  # fmt: skip
    server = Server(process, port, log)
    try:
        await eventually(
            lambda: api_answers(Api(port=port)), within_s=START_S_MAX, otherwise=lambda: server.said
        )
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
    assert process.returncode == 0, server.said


async def eventually(
    fact: Callable[[], Any], *, within_s: float = 10.0, otherwise: Callable[[], str] = str
) -> None:
    deadline = time.monotonic() + within_s
    while not await fact():
        assert time.monotonic() < deadline, otherwise() or "it did not come about"
        await asyncio.sleep(0.05)
