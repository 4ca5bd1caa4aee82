# SPDX-License-Identifier: Apache-2.0
"""The API alone with nothing behind it (`colonnade api --noop`), and tokens as a person makes
them, with real processes; and that a token's secret is written nowhere.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import httpx
import psycopg
import pytest

from colonnade.api.app import ROUTES
from colonnade.runtime.certificate_authority import Authority
from colonnade.store.postgres.embedded import binaries
from tests.api_server import eventually, free_port, serving

START_S_MAX = 60.0
PATH = "/v2/lbaas/loadbalancers"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because of the path of the database's socket."""
    with tempfile.TemporaryDirectory(prefix="col-") as name:
        yield Path(name)


async def started(folder: Path, *words: str) -> tuple[asyncio.subprocess.Process, str]:
    """The process and the one line that it says."""
    with (folder / "noop.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "colonnade", "api", "--noop", *words,
            stdout=subprocess.PIPE, stderr=log,
            env={**os.environ, "TMPDIR": str(folder)},
        )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(START_S_MAX):
        line = (await process.stdout.readline()).decode()
    assert line.startswith("ready: "), (folder / "noop.log").read_text()
    return process, line.removeprefix("ready: ").strip()


async def stopped(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        rest, _ = await process.communicate()
    assert (process.returncode, rest) == (0, b"")


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(inner for child in children for inner in family(int(child)))]


def left(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def test_it_serves_the_contract_with_nothing_configured_and_leaves_nothing(
    folder: Path,
) -> None:
    process, endpoint = await started(folder, "--listen", "127.0.0.1:0")  # which it says then
    pids = family(process.pid)
    try:
        async with httpx.AsyncClient(base_url=endpoint) as client:
            for provider in ("amphora", "octavia", "noop", None):
                body = {"vip_subnet_id": str(uuid4())} | (
                    {"provider": provider} if provider else {}
                )
                made = (await client.post(PATH, json={"loadbalancer": body})).json()["loadbalancer"]
                assert made["provider"] == (provider or "noop")
                assert made["provisioning_status"] == "ACTIVE"
                assert made["operating_status"] == "OFFLINE"
                changed = await client.put(
                    f"{PATH}/{made['id']}", json={"loadbalancer": {"name": "other"}}
                )
                assert changed.json()["loadbalancer"]["operating_status"] == "OFFLINE"
            amphorae = (await client.get("/v2.0/octavia/amphorae")).json()["amphorae"]
            assert [one["status"] for one in amphorae] == ["ALLOCATED"] * 4
            listed = (await client.get("/v2.0/lbaas/providers")).json()["providers"]
            assert {one["name"] for one in listed} == {"amphora", "octavia", "noop"}
            assert len((await client.get("/")).json()["versions"]) == 31
            for path in (route.path for route in ROUTES if route.method == "GET"):
                if "{" not in path:
                    assert (await client.get(path)).status_code == 200, path
            pem = Authority(Authority.new()).issue("www.example.org", days=30).pem
            secret = await client.post("/v2/lbaas/secrets", json={"secret": {"pem": pem}})
            assert secret.status_code == 201, secret.text
            failover = await client.put(f"{PATH}/{made['id']}/failover")
            assert failover.status_code == 202, failover.text
    finally:
        await stopped(process)
    await eventually(lambda: _gone(pids))
    assert [file.name for file in folder.iterdir()] == ["noop.log"]


async def test_a_file_says_which_providers_are_listed_and_in_which_words(
    folder: Path, database_url: str
) -> None:
    file = folder / "c.toml"
    file.write_text(
        f'state_dir = "{folder}"\nrun_dir = "{folder}"\ndatabase_url = "{database_url}"\n'
        '[api]\nenabled_providers = ["amphora", "octavia"]\n'
        '[api.provider_descriptions]\noctavia = "the same"\n'
    )
    words = ("--listen", f"127.0.0.1:{free_port()}", "--config", str(file))
    process, endpoint = await started(folder, *words)
    try:
        async with httpx.AsyncClient(base_url=endpoint) as client:
            listed = (await client.get("/v2.0/lbaas/providers")).json()["providers"]
            assert {one["name"]: one["description"] for one in listed} == {
                "amphora": "The Octavia Amphora driver.",
                "octavia": "the same",
            }
            body = {"loadbalancer": {"vip_subnet_id": str(uuid4())}}
            made = (await client.post(PATH, json=body)).json()["loadbalancer"]
            assert (made["provider"], made["provisioning_status"]) == ("amphora", "ACTIVE")
            body["loadbalancer"]["provider"] = "noop"
            assert (await client.post(PATH, json=body)).status_code == 400
    finally:
        await stopped(process)


async def _gone(pids: list[int]) -> bool:
    return not left(pids)


async def test_a_state_folder_keeps_what_was_made(folder: Path) -> None:
    state = folder / "state"
    words = ("--state", str(state), "--listen", f"127.0.0.1:{free_port()}")
    ids: list[str] = []
    for _ in range(2):
        process, endpoint = await started(folder, *words)
        try:
            async with httpx.AsyncClient(base_url=endpoint) as client:
                found = (await client.get(PATH)).json()["loadbalancers"]
                assert [one["id"] for one in found] == ids
                body = {"loadbalancer": {"vip_subnet_id": str(uuid4())}}
                ids.append((await client.post(PATH, json=body)).json()["loadbalancer"]["id"])
        finally:
            await stopped(process)


async def test_a_database_of_ones_own_will_do(folder: Path, database_url: str) -> None:
    listen = f"127.0.0.1:{free_port()}"
    process, endpoint = await started(folder, "--database", database_url, "--listen", listen)
    try:
        async with httpx.AsyncClient(base_url=endpoint) as client:
            assert (await client.get(PATH)).json()["loadbalancers"] == []
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family(process.pid)]
        assert not any(b"postgres" in command.split(b"\0")[0] for command in commands)
    finally:
        await stopped(process)


async def test_what_is_kept_for_a_time_is_forgotten_while_it_runs(
    folder: Path, database_url: str
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    process, _ = await started(folder, "--database", database_url, "--listen", listen)
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:

            def count(sentence: LiteralString) -> int:
                found = connection.execute(sentence).fetchone()
                return int(found[0]) if found else 0

            async def has_rested() -> bool:
                """After the first time, which is at the start."""
                return count("SELECT count(*) FROM work WHERE due_at > now() + '1 minute'") == 1

            async def forgotten() -> bool:
                return count("SELECT count(*) FROM idempotency_keys") == 0

            await eventually(has_rested)
            connection.execute(
                "INSERT INTO idempotency_keys (project_id, key, digest, kind, at)"
                " VALUES ('', 'old', '', '', now() - interval '25 hours')"
            )
            connection.execute("UPDATE work SET due_at = now() WHERE key = 'sweeping:all'")
            connection.execute("NOTIFY work")
            await eventually(forgotten)
    finally:
        await stopped(process)


def test_what_cannot_be_served_is_said(folder: Path) -> None:
    for words, reason in (
        (("--listen", "192.0.2.1:80"), "loopback"),
        (("--listen", "nowhere"), "HOST:PORT"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "colonnade", "api", "--noop", *words],
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True, text=True, timeout=START_S_MAX, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert reason in done.stderr
        assert done.stdout == ""
    assert list(folder.iterdir()) == []


def token(config: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "colonnade", "token", *words, "--config", str(config)],
        capture_output=True, text=True, timeout=START_S_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout.strip() if code == 0 else done.stderr


async def test_a_token_is_made_used_listed_revoked_and_written_nowhere(
    folder: Path, database_url: str
) -> None:
    said: list[str] = []
    async with serving(folder, database_url, auth="token") as server:
        config = folder / "api.toml"

        async def status(secret: str, method: str = "GET", body: Any = None) -> int:
            async with httpx.AsyncClient() as client:
                answer = await client.request(
                    method, server.endpoint + PATH, json=body, headers={"X-Auth-Token": secret}
                )
                said.append(answer.text)
                return answer.status_code

        make = ("create", "--project", "mine")
        secret = token(config, *make, "--role", "member", "--name", "robot")
        both = json.loads(token(config, *make, "--role", "reader", "--role", "service", "--json"))
        token(config, *make, "--role", "king", code=2)
        token(config, *make, code=2)
        body = {"loadbalancer": {"vip_subnet_id": str(uuid4())}}
        assert await status(secret, "POST", body) == 201
        assert await status(both["token"], "POST", body) == 403
        assert await status(both["token"]) == 200
        assert await status("col_" + "x" * 43) == 401

        listed = json.loads(token(config, "list", "--json"))
        assert [(one["roles"], one["name"]) for one in listed] == [
            ("member", "robot"), ("reader,service", ""),
        ]  # fmt: skip
        said.append(json.dumps(listed) + token(config, "list"))
        token(config, "revoke", listed[0]["id"])
        assert "not found" in token(config, "revoke", listed[0]["id"], code=1)

        async def refused() -> bool:
            return await status(secret) == 401

        await eventually(refused)
        assert await status(both["token"]) == 200
        said.append(server.said)
        said.append(dumped(database_url))
    assert "audit" in said[-2]
    assert listed[1]["id"] in said[-1]
    for text in said:
        for hidden in (secret, both["token"]):
            assert hidden.removeprefix("col_") not in text


def dumped(database_url: str) -> str:
    done = subprocess.run(
        [binaries() / "pg_dump", "--dbname", database_url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


async def test_many_wrong_tokens_stop_nobody(folder: Path, database_url: str) -> None:
    async with serving(folder, database_url, auth="token") as server:
        config = folder / "api.toml"
        secret = token(config, "create", "--project", "mine", "--role", "reader")
        async with httpx.AsyncClient(base_url=server.endpoint, timeout=60) as strangers:
            wrong = [
                strangers.get(PATH, headers={"X-Auth-Token": f"col_{number:043d}"})
                for number in range(300)
            ]
            asking = asyncio.gather(*wrong)
            assert (await server.get(PATH, **{"X-Auth-Token": secret})).status_code == 200
            assert {answer.status_code for answer in await asking} == {401}
