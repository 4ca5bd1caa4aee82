# SPDX-License-Identifier: Apache-2.0
"""A boot of the server: the power is cut, and amphorae serve again before the control plane does.

The machine is one of namespaces with a real systemd. Cut means that every process of it is killed
at once, with its namespaces, links and mounts, and that nothing in /run is left. Its database is
broken when it boots, so nothing but the network daemon can work.
"""

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from colonnade.cli.lab.visits import Visits
from colonnade.cli.waiting import until
from tests.certificates import Made, made
from tests.systemd_machine import Disk, Machine, disk, machine

RATE = 20.0
DATABASE = "/var/lib/colonnade/postgres"
NAME = "www.example.org"
FILE = """
kind: LoadBalancer
name: {name}
vip_subnet: public-subnet
listeners:
- name: http
  protocol: HTTP
  protocol_port: 80
  default_pool: servers
  l7policies:
  - name: ping
    action: FIXED_RESPONSE
    fixed_response: {{status_code: 200, body: "{words}"}}
    rules:
    - {{type: PATH, compare_type: EQUAL_TO, value: /ping}}
- name: https
  protocol: TERMINATED_HTTPS
  protocol_port: 443
  default_tls_container_ref: web
  default_pool: servers
pools:
- name: servers
  protocol: HTTP
  lb_algorithm: ROUND_ROBIN
  members:
  - {{name: web1, address: 10.0.0.11, protocol_port: 80}}
"""
# Says what a host of the name answers by HTTP, and by HTTPS with its certificate checked.
ASK = """
import http.client, ssl, sys
address, authority, path = sys.argv[1:]
plain = http.client.HTTPConnection(address, timeout=5)
context = ssl.create_default_context(cafile=authority)
context.check_hostname = False  # it is asked by its address
secure = http.client.HTTPSConnection(address, timeout=5, context=context)
for connection, asked in ((plain, path), (secure, "/")):
    connection.request("GET", asked)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode()[:20].split("\\n")[0])
"""


@pytest.fixture
def server_disk() -> Iterator[Disk]:
    with disk() as made_disk:
        yield made_disk


class Server:
    def __init__(self, made_machine: Machine, token: str = "") -> None:
        self.machine = made_machine
        self.token = token
        self._env = {"COLONNADE_TOKEN": token}

    def ask(self, *words: str) -> str:
        return self.machine.run(f"{sys.prefix}/bin/colonnade", *words, env=self._env)

    def told(self, *words: str) -> Any:
        return json.loads(self.ask(*words, "--json"))

    def write(self, path: str, text: str) -> None:
        self.machine.run("sh", "-c", f'printf %s "$TEXT" >{path}', env={"TEXT": text})

    def apply(self, name: str, words: str) -> None:
        self.write("/root/lb.yaml", FILE.format(name=name, words=words))
        self.ask("apply", "-f", "/root/lb.yaml", "--wait")

    def load_balancers(self) -> Mapping[str, Mapping[str, Any]]:
        return {str(one["name"]): one for one in self.told("lb", "list")}

    def amphora(self, name: str) -> str:
        """The one that serves it."""
        (found,) = self.told("amphora", "list", "--lb", name)
        return str(found["id"])

    def web_server(self) -> None:
        """The member; it is a machine of its own, and not ours to start again."""
        words = ("--network", "private", "--address", "10.0.0.11", "--")
        self.ask("lab", "host", "add", "web1", *words, sys.executable, "-m", "http.server", "80")

    async def answers(self, address: str, words: str) -> None:
        """Return when it answers by HTTP and, through the member, by HTTPS."""
        argv = (sys.executable, "-c", ASK, address, "/root/cert.pem", "/ping")
        want = [f"200 {words}", "200 <!DOCTYPE HTML>"]

        async def are() -> bool:
            said = await asyncio.to_thread(self.machine.run, "sh", "-c", '"$@" || :', "sh", *argv)
            return said.splitlines() == want

        await until(are, within_s=60, what=f"{address} to answer {words!r}", pause_s=0.2)


def waited(act: Callable[[], None]) -> None:
    """Do it as soon as it can be done: units start in their own time."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return act()
        except AssertionError:
            if time.monotonic() > deadline:
                raise


def begun(made_machine: Machine, certificate: Made) -> Server:
    """Two load balancers serve: `web` its second generation, and `gone`, which is to go."""
    said = Server(made_machine).ask("init", "--host-route", "--spares", "0")
    (token,) = re.findall(r"COLONNADE_TOKEN=(col_\S+)", said)
    server = Server(made_machine, token)
    made_machine.run("systemctl", "enable", "--now", "colonnade.target")
    waited(server.web_server)
    server.write("/root/cert.pem", certificate.public)
    server.write("/root/key.pem", certificate.secret)
    server.ask("secret", "create", "web", "/root/cert.pem", "/root/key.pem")
    server.apply("web", "first")
    server.apply("gone", "from before")
    server.apply("web", "second")
    return server


def struck(server: Server) -> None:
    """What is wanted changes while nobody can do it; then the database is lost for a while."""
    server.machine.run("systemctl", "stop", "colonnade-controller")
    server.ask("lb", "delete", "gone", "--cascade")
    server.machine.run("touch", "/run/before")
    server.machine.run("systemctl", "stop", "colonnade-database")
    server.machine.run("mv", DATABASE, f"{DATABASE}.away")


async def test_after_a_loss_of_power_amphorae_serve_without_the_control_plane(
    server_disk: Disk,
) -> None:
    with machine(server_disk) as first:
        server = begun(first, made(NAME))
        amphora = server.amphora("web")
        vips = {name: str(one["vip_address"]) for name, one in server.load_balancers().items()}
        await server.answers(vips["web"], "second")
        struck(server)
    with machine(server_disk) as second:
        server = Server(second, server.token)
        second.run("test", "-e", "/run/before", code=1)
        await asyncio.to_thread(waited, server.web_server)
        await server.answers(vips["web"], "second")
        await server.answers(vips["gone"], "from before")
        assert second.show("ActiveState", "colonnade-api") == ["activating"]
        async with Visits(second.enter(), f"http://{vips['web']}/ping", rate=RATE) as visits:
            await visits.first_ok(since=0.0)
            second.run("mv", f"{DATABASE}.away", DATABASE)
            await converged(server)
            assert server.amphora("web") == amphora
            await asyncio.to_thread(server.apply, "web", "third")
            await server.answers(vips["web"], "third")
            assert visits.failed() == []
        assert len(visits.all) > RATE
        assert server.told("amphora", "list")[0]["id"] == amphora
        kept = second.run("ls", "/var/lib/colonnade/network/amphorae").split()
        assert kept == [f"{amphora}.json"]


async def converged(server: Server) -> None:
    """Return when what was wanted before the loss of power is so."""

    async def is_as_wanted() -> bool:
        with contextlib.suppress(AssertionError):
            found = await asyncio.to_thread(server.load_balancers)
            states = [
                (one["provisioning_status"], one["operating_status"]) for one in found.values()
            ]
            return set(found) == {"web"} and states == [("ACTIVE", "ONLINE")]
        return False

    await until(is_as_wanted, within_s=120, what="one load balancer, in order", pause_s=0.5)
