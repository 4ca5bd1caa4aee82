# SPDX-License-Identifier: Apache-2.0
"""The package of `make deb`, on a machine with systemd: installed, used, installed again, removed
and purged. It is run by that word alone, for it takes a package to look at.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd_machine import Machine, machine

(FILE, *_) = [*(Path(__file__).parents[2] / "dist").glob("colonnade_*.deb"), None]
VIP = ("lb", "create", "web", "--subnet", "public-subnet", "--wait", "--json")
LEFT = """
ls -d /opt/colonnade /usr/bin/colonnade /etc/colonnade /var/lib/colonnade /run/colonnade
ls /etc/systemd/system /etc/sysusers.d | grep colonnade
getent passwd | grep ^colonnade
getent group | grep ^colonnade
ps -eo args | grep -E 'pytho[n]|hapro[x]y|postgre[s]|lab-ini[t]'
true
"""


@pytest.fixture
def server() -> Iterator[Machine]:
    if not FILE:
        pytest.skip("needs a package: make deb")
    with machine() as made:
        yield made


def test_a_package_is_a_system_until_it_is_purged(server: Machine) -> None:
    assert "next, as root: colonnade init" in server.run("dpkg", "--install", str(FILE))
    assert server.run("colonnade", "--version").startswith("colonnade ")
    (token,) = re.findall(r"COLONNADE_TOKEN=(col_\S+)", server.run("colonnade", "init"))
    env = {"COLONNADE_TOKEN": token}
    server.run("systemctl", "enable", "--now", "colonnade.target")
    lb = json.loads(server.run("colonnade", *VIP, env=env))
    assert lb["provisioning_status"] == "ACTIVE"
    amphorae = ("colonnade", "amphora", "list", "--lb", "web", "--json")
    (before,) = json.loads(server.run(*amphorae, env=env))
    # As another release is installed: processes are others, amphorae are the same.
    pid = server.show("MainPID", "colonnade-api")
    server.run("dpkg", "--install", str(FILE))
    assert server.show("MainPID", "colonnade-api") != pid
    server.run("colonnade", "lb", "set", "web", "--description", "after", "--wait", env=env)
    (after,) = json.loads(server.run(*amphorae, env=env))
    assert after["id"] == before["id"]
    # Removed, it leaves what is worth something; purged, nothing.
    server.run("dpkg", "--remove", "colonnade")
    left = server.run("sh", "-c", LEFT).splitlines()
    assert left[:2] == ["/etc/colonnade", "/var/lib/colonnade"]
    assert [line for line in left[2:] if not line.startswith("colonnade")] == []  # accounts
    server.run("dpkg", "--purge", "colonnade")
    assert server.run("sh", "-c", LEFT) == ""
