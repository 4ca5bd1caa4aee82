# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/networks.md, as they are printed, on a machine with systemd that has one
address; a neighbour asks its load balancer.

Only three things differ from a reader's: the environment is this one, so it is not installed; the
token is the one that `init` printed; and the machine is one of namespaces.
"""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.outer_world import Place, give
from tests.systemd_machine import Machine, machine
from tests.typed_commands import blocks, typed

PAGE = "docs/networks.md"
ADDRESS = "192.0.2.5"


@pytest.fixture
def server() -> Iterator[Machine]:
    with machine() as made:
        yield made


@pytest.fixture
def neighbour(server: Machine) -> Iterator[Place]:
    """On the other end of the server's eth0."""
    place = Place()
    try:
        words = ["ip", "link", "add", "name", "eth0", "netns", str(server.init), "type", "veth"]
        subprocess.run([*words, "peer", "name", "eth0", "netns", str(place.pid)], check=True)
        give(place, "eth0", ["192.0.2.50"])
        for line in (
            "link set eth0 up", f"address add {ADDRESS}/24 dev eth0", "route add default dev eth0",
        ):  # fmt: skip
            server.run("ip", *line.split())
        yield place
    finally:
        place.end()


def test_a_server_with_one_address_serves_its_neighbours(server: Machine, neighbour: Place) -> None:
    init, start, balance = blocks(PAGE, "One server with one address")
    said = typed(server, init)
    (token,) = re.findall(r"COLONNADE_TOKEN=(col_\S+)", said)
    assert "web" in typed(server, start, token)
    assert ADDRESS in typed(server, balance, token)
    assert neighbour.ask(f"http://{ADDRESS}/ping") == "pong"
    (more,) = blocks(PAGE, "Further addresses")
    assert "web, lan" in typed(server, more, token)
    assert neighbour.ask(f"http://{ADDRESS}/ping") == "pong"
    assert "eth7 is not on this machine" in server.run("sh", "-c", WRONG, code=1)


WRONG = (
    'sed -i \'s/interface = "eth0"/interface = "eth7"/\' /etc/colonnade/colonnade.toml; '
    f"COLUMNS=300 {sys.prefix}/bin/colonnade doctor"
)
