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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from colonnade.cli.local.system import running
from tests.environments import environment

PINS = Path(__file__).with_name("client-constraints.txt")
CLIENTS = ("python-openstackclient", "python-octaviaclient", "openstacksdk")
START_S_MAX = 20.0
ANY_SUBNET = "6f2b1a0e-8d4c-4c6e-9a57-3b1f0d5e7c21"  # each worker must name a test alike


@pytest.fixture
def openstack() -> Path:
    """The folder of the client's programs, installed first where they are missing."""
    return environment("clients", CLIENTS, constraints=PINS)


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
        f"[api]\nport = {port}\nnoop = true\n"
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
    """The openstack client, many commands in one process of its own."""

    def __init__(self, programs: Path, *whom: str, clouds: Path | None = None) -> None:
        """`whom`: the words that say who asks, and where; `clouds`: the file that they mean."""
        environment = {n: v for n, v in os.environ.items() if not n.startswith("OS_")}
        if clouds is not None:
            environment["OS_CLIENT_CONFIG_FILE"] = str(clouds)
        self._start = [*whom, "loadbalancer"]
        self._process = subprocess.Popen(
            [programs / "python", Path(__file__).with_name("openstack_shell.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.given: list[str] = []

    def run(self, words: str, *, code: int = 0) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self.given.append(words)
        self._process.stdin.write(json.dumps([*self._start, *words.split()]) + "\n")
        self._process.stdin.flush()
        done = json.loads(self._process.stdout.readline())
        assert done["code"] == code, f"{words}: {done['err'] or done['out']}"
        return str(done["out"] if code == 0 else done["err"])

    def read(self, words: str) -> Any:
        return json.loads(self.run(f"{words} -f json"))

    def close(self) -> None:
        self._process.communicate(timeout=20)


def commands(programs: Path) -> set[str]:
    """All that the client knows of load balancers, without the word for them."""
    listing = (
        "from importlib.metadata import entry_points as e;"
        "print(*(p.name for p in e(group='openstack.load_balancer.v2')))"
    )
    found = subprocess.run(
        [programs / "python", "-c", listing], capture_output=True, text=True, check=True
    )
    return {
        name.removeprefix("loadbalancer").strip("_").replace("_", " ")
        for name in found.stdout.split()
    }


# What is done with a tree, in this order. "{subnet}" is where the VIP is; each row gives words,
# and what the same object's `show` then says.
TREE: list[tuple[str, str, dict[str, Any]]] = [
    ("create --name web --vip-subnet-id {subnet} --wait", "show web",
     {"provisioning_status": "ACTIVE", "name": "web"}),
    ("set --description shop --tag a web", "show web", {"description": "shop", "tags": ["a"]}),
    ("unset --description web", "show web", {"description": ""}),
    ("listener create --name front --protocol HTTP --protocol-port 80 web --wait",
     "listener show front", {"protocol": "HTTP", "connection_limit": -1}),
    ("listener set --connection-limit 70 --insert-headers X-Forwarded-For=true front",
     "listener show front", {"connection_limit": 70}),
    ("listener unset --connection-limit front", "listener show front", {"connection_limit": -1}),
    ("pool create --name back --protocol HTTP --lb-algorithm ROUND_ROBIN --listener front"
     " --session-persistence type=SOURCE_IP", "pool show back", {"lb_algorithm": "ROUND_ROBIN"}),
    ("pool set --lb-algorithm LEAST_CONNECTIONS back", "pool show back",
     {"lb_algorithm": "LEAST_CONNECTIONS"}),
    ("pool unset --session-persistence back", "pool show back", {"session_persistence": None}),
    ("member create --name one --address 10.0.0.11 --protocol-port 8080 --weight 7 back --wait",
     "member show back one", {"weight": 7, "address": "10.0.0.11"}),
    ("member set --weight 4 back one", "member show back one", {"weight": 4}),
    ("member unset --weight back one", "member show back one", {"weight": 1}),
    ("healthmonitor create --name check --type HTTP --delay 5 --timeout 3 --max-retries 2"
     " --http-version 1.1 --domain-name a.example.org back", "healthmonitor show check",
     {"delay": 5, "url_path": "/", "domain_name": "a.example.org"}),
    ("healthmonitor set --delay 9 --url-path /up check", "healthmonitor show check",
     {"delay": 9, "url_path": "/up"}),
    ("healthmonitor unset --url-path check", "healthmonitor show check", {"url_path": "/"}),
    ("l7policy create --name away --action REDIRECT_TO_URL --redirect-url http://e.org/ front",
     "l7policy show away", {"redirect_http_code": 302, "position": 1}),
    ("l7policy set --redirect-http-code 307 --description d away", "l7policy show away",
     {"redirect_http_code": 307, "description": "d"}),
    ("l7policy unset --description away", "l7policy show away", {"description": ""}),
]  # fmt: skip


def check_tree(client: Client, subnet: str) -> None:
    for words, look, wanted in TREE:
        client.run(words.format(subnet=subnet))
        shown = client.read(look)
        assert {name: shown[name] for name in wanted} == wanted, words
    rule = client.read("l7rule create --type PATH --compare-type STARTS_WITH --value /old away")
    client.run(f"l7rule set --invert away {rule['id']}")
    assert client.read(f"l7rule show away {rule['id']}")["invert"] is True
    client.run(f"l7rule unset --invert away {rule['id']}")
    assert client.read(f"l7rule show away {rule['id']}")["invert"] is False
    assert [row["id"] for row in client.read("l7rule list away")] == [rule["id"]]
    for noun, name in (("", "web"), ("listener", "front"), ("pool", "back"),
                       ("healthmonitor", "check"), ("l7policy", "away")):  # fmt: skip
        assert [row["name"] for row in client.read(f"{noun} list")] == [name]
    assert [row["name"] for row in client.read("member list back")] == ["one"]
    statuses = json.loads(client.run("status show web"))["loadbalancer"]
    assert statuses["listeners"][0]["pools"][0]["members"][0]["name"] == "one"
    assert client.read("stats show web")["total_connections"] == 0
    assert client.read("listener stats show front")["total_connections"] == 0


def check_deletes(client: Client) -> None:
    rule = client.read("l7rule list away")[0]["id"]
    for words in (f"l7rule delete away {rule}", "l7policy delete away --wait",
                  "member delete back one", "healthmonitor delete check",
                  "pool delete back", "listener delete front", "delete web --wait"):  # fmt: skip
        client.run(words)
    assert client.read("list") == []
    assert "Unable to locate web" in client.run("show web", code=1)


def check_catalogue(client: Client, provider: str) -> None:
    data = '{"loadbalancer_topology":"SINGLE"}'
    client.run(f"flavorprofile create --name fp --provider {provider} --flavor-data {data}")
    client.run("flavorprofile set --name fp2 fp")
    assert client.read("flavorprofile show fp2")["provider_name"] == provider
    client.run("flavor create --name small --flavorprofile fp2 --description d --enable")
    client.run("flavor set --description e small")
    assert client.read("flavor show small")["description"] == "e"
    client.run("flavor unset --description small")
    assert [row["name"] for row in client.read("flavor list")] == ["small"]
    client.run("flavor create --name small --flavorprofile fp2", code=1)
    client.run("flavor delete small")
    assert len(client.read("flavorprofile list")) == 1
    client.run("flavorprofile delete fp2")
    client.run(
        f"availabilityzoneprofile create --name zp --provider {provider}"
        ' --availability-zone-data {"compute_zone":"nova"}'
    )
    client.run("availabilityzoneprofile set --name zp2 zp")
    assert client.read("availabilityzoneprofile show zp2")["provider_name"] == provider
    assert len(client.read("availabilityzoneprofile list")) == 1
    client.run("availabilityzone create --name az --availabilityzoneprofile zp2 --description d")
    client.run("availabilityzone set --description e az")
    assert client.read("availabilityzone show az")["description"] == "e"
    client.run("availabilityzone unset --description az")
    assert [row["name"] for row in client.read("availabilityzone list")] == ["az"]
    client.run("availabilityzone delete az")
    client.run("availabilityzoneprofile delete zp2")


def check_operators(client: Client, *, served: bool) -> None:
    """`served`: not noop, whose amphorae are records alone, without counters."""
    assert {row["name"] for row in client.read("provider list")} >= {"amphora", "octavia"}
    assert client.read("provider capability list amphora")
    assert client.read("quota defaults show")["load_balancer"] == -1
    client.run("quota set --listener 3 --loadbalancer 2 p1")
    assert client.read("quota show p1")["listener"] == 3
    client.run("quota unset --listener p1")
    assert client.read("quota show p1")["listener"] == -1
    assert len(client.read("quota list")) == 1
    client.run("quota reset p1")
    assert client.read("quota list") == []
    for words in ("show", "configure", "failover", "delete", "stats show"):
        client.run(f"amphora {words} {uuid4()}", code=1)
    serving = next(row for row in client.read("amphora list") if row["status"] == "ALLOCATED")
    assert client.read(f"amphora show {serving['id']}")["role"] == "STANDALONE"
    client.run(f"amphora configure {serving['id']} --wait")
    client.run(f"amphora stats show {serving['id']}", code=0 if served else 1)
    assert "ERROR" in client.run(f"amphora delete {serving['id']}", code=1)
    client.run(f"amphora failover {serving['id']} --wait")
    client.run("failover web --wait")
    assert client.read("show web")["provisioning_status"] == "ACTIVE"


def unused(programs: Path, given: Sequence[str]) -> set[str]:
    """The commands of the client that were not given."""
    return {
        command
        for command in commands(programs)
        if not any(words.startswith(command) for words in given)
    }


@pytest.mark.parametrize(
    ("system", "subnet"), [("api_alone", ANY_SUBNET), ("whole_system", "public-subnet")]
)
def test_every_command_of_the_openstack_client_does_its_work(
    openstack: Path, system: str, subnet: str, request: pytest.FixtureRequest
) -> None:
    endpoint = request.getfixturevalue(system)
    client = Client(openstack, "--os-auth-type", "none", "--os-endpoint", endpoint)
    try:
        check_tree(client, subnet)
        check_operators(client, served=system == "whole_system")
        check_deletes(client)
        check_catalogue(client, "amphora")
    finally:
        client.close()
    assert unused(openstack, client.given) == set()


@pytest.mark.parametrize(
    ("system", "subnet"), [("api_alone", ANY_SUBNET), ("whole_system", "public-subnet")]
)
def test_all_of_the_sdks_proxy_does_its_work(
    openstack: Path, system: str, subnet: str, request: pytest.FixtureRequest
) -> None:
    endpoint = request.getfixturevalue(system)
    if system == "whole_system":
        subnets = httpx.get(f"{endpoint}/v2.0/subnets", params={"name": subnet}).json()["subnets"]
        subnet = subnets[0]["id"]
    done = subprocess.run(
        [openstack / "python", Path(__file__).with_name("sdk_calls.py"), endpoint, subnet],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [], "these were not used"
