# SPDX-License-Identifier: Apache-2.0
"""The real command line client makes, changes, shows and deletes a tree, without Keystone.

It asks two systems the same: one `colonnade api` process with the noop provider and no network
service, and the whole of `colonnade up`. The client lives in a virtual environment of its own.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from colonnade.cli.system import running
from tests.environments import environment

PINS = Path(__file__).with_name("client-constraints.txt")
CLIENTS = ("python-openstackclient", "python-octaviaclient")
START_S_MAX = 20.0


@pytest.fixture(scope="session")
def openstack() -> Path:
    """The client's program, installed first where it is missing."""
    return environment("clients", CLIENTS, constraints=PINS) / "openstack"


@pytest.fixture
def whole_system() -> Iterator[str]:
    with asyncio.Runner() as runner:
        context = running()
        system = runner.run(context.__aenter__())
        try:
            yield system.endpoint
        finally:
            runner.run(context.__aexit__(None, None, None))
    assert system.left == []


@pytest.fixture
def api_alone(database_url: str, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "api.toml"
    config.write_text(
        f'state_dir = "{tmp_path}"\nrun_dir = "{tmp_path}"\n'
        f"database_url = {json.dumps(database_url)}\n"
        f'[api]\nport = {port}\ndefault_provider = "noop"\n'
    )
    program = Path(sys.executable).with_name("colonnade")
    process = subprocess.Popen([program, "api", "--config", config], stdout=subprocess.PIPE)
    try:
        asyncio.run(_answers(f"http://127.0.0.1:{port}/healthcheck"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert said == b""


async def _answers(url: str) -> None:
    deadline = time.monotonic() + START_S_MAX
    async with httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"{url} did not answer in {START_S_MAX} s"
            await asyncio.sleep(0.05)


class Client:
    def __init__(self, program: Path, endpoint: str) -> None:
        self._start = [str(program), "--os-auth-type", "none", "--os-endpoint", endpoint]
        self._environment = {n: v for n, v in os.environ.items() if not n.startswith("OS_")}

    def run(self, words: str) -> str:
        command = [*self._start, "loadbalancer", *words.split()]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=self._environment, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def read(self, words: str) -> Any:
        return json.loads(self.run(f"{words} -f json"))


@pytest.mark.parametrize(
    ("system", "subnet"), [("api_alone", str(uuid4())), ("whole_system", "public-subnet")]
)
def test_the_openstack_client_makes_changes_shows_and_deletes_a_tree(
    openstack: Path, system: str, subnet: str, request: pytest.FixtureRequest
) -> None:
    client = Client(openstack, request.getfixturevalue(system))
    root = client.read(f"create --name web --vip-subnet-id {subnet} --wait")
    assert root["provisioning_status"] == "ACTIVE"
    client.run("listener create --name front --protocol HTTP --protocol-port 80 web")
    client.run(
        "pool create --name back --protocol HTTP --lb-algorithm ROUND_ROBIN --listener front"
    )
    client.run("member create --name one --address 10.0.0.11 --protocol-port 8080 back")
    client.run("healthmonitor create --name check --type HTTP --delay 5 --timeout 3"
        " --max-retries 2 back")  # fmt: skip
    for noun, name in (("", "web"), ("listener", "front"), ("pool", "back"),
        ("healthmonitor", "check")):  # fmt: skip
        assert [row["name"] for row in client.read(f"{noun} list")] == [name]
    assert [row["name"] for row in client.read("member list back")] == ["one"]

    client.run("set --description shop web")
    client.run("listener set --connection-limit 70 front")
    client.run("pool set --lb-algorithm SOURCE_IP back")
    client.run("member set --weight 4 back one")
    client.run("healthmonitor set --delay 9 check")
    assert client.read("show web")["description"] == "shop"
    assert client.read("listener show front")["connection_limit"] == 70
    assert client.read("pool show back")["lb_algorithm"] == "SOURCE_IP"
    assert client.read("member show back one")["weight"] == 4
    assert client.read("healthmonitor show check")["delay"] == 9
    statuses = json.loads(client.run("status show web"))["loadbalancer"]
    assert statuses["listeners"][0]["pools"][0]["members"][0]["name"] == "one"
    assert client.read("stats show web")["total_connections"] == 0

    client.run("member delete back one")
    client.run("healthmonitor delete check")
    client.run("pool delete back")
    client.run("listener delete front")
    client.run("delete web --wait")
    assert client.read("list") == []
