# SPDX-License-Identifier: Apache-2.0
"""A server whose database is elsewhere: the commands of docs/install.md, on a machine with systemd.

PostgreSQL is not Colonnade's, is reached by TCP with a password, and is known by two names, of
which one leads to nothing.
"""

import asyncio
import re
import sys
import time
from collections.abc import Iterator

import pytest

from colonnade.cli.lab.visits import Visits
from colonnade.cli.waiting import until
from colonnade.store.postgres.embedded import binaries
from tests.systemd_machine import Machine, machine
from tests.typed_commands import blocks, typed

PASSWORD = "s3cret'@:/"
# As another user, as PostgreSQL demands. Of the two names one is of nobody.
SERVER = r"""
set -eu
printf '127.0.0.5 db2.example.org\n127.0.0.6 db1.example.org\n' >>/etc/hosts
printf '%s\n' "$1" >/root/password
chmod 600 /root/password
mkdir /srv/pg && chown nobody /srv/pg
as="setpriv --reuid=nobody --clear-groups"
printf '%s' "$1" >/srv/pg/first && chown nobody /srv/pg/first
$as $0/initdb -D /srv/pg/data -U colonnade --locale=C --encoding=UTF8 --pwfile=/srv/pg/first \
    --auth-local=trust --auth-host=scram-sha-256
printf 'host all all 127.0.0.0/8 scram-sha-256\n' >>/srv/pg/data/pg_hba.conf
cat >/etc/systemd/system/pg.service <<END
[Service]
User=nobody
ExecStart=$0/postgres -D /srv/pg/data -k /srv/pg --listen_addresses=127.0.0.5
Restart=always
END
systemctl daemon-reload
systemctl start pg
until $0/psql -h /srv/pg -U colonnade postgres -c 'CREATE DATABASE colonnade'; do sleep 0.2; done
"""
PONG = "http://203.0.113.3/ping"


@pytest.fixture
def server() -> Iterator[Machine]:
    with machine() as made:
        made.run("sh", "-c", SERVER, str(binaries()), PASSWORD)
        yield made


async def test_load_balancers_are_made_with_a_database_elsewhere(server: Machine) -> None:
    said = typed(server, "".join(blocks("docs/install.md", "A database elsewhere")))
    (token,) = re.findall(r"COLONNADE_TOKEN=(col_\S+)", said)
    typed(server, "".join(blocks("docs/install.md", "Start")), token)
    made = typed(server, "".join(blocks("docs/install.md", "A load balancer")), token)
    assert "pong" in made
    assert server.run("sh", "-c", "ls /var/lib/colonnade").split().count("postgres") == 0
    async with Visits(server.enter(), PONG, rate=20.0) as visits:
        await visits.first_ok(since=0.0)
        for unit in ("colonnade-relay", "pg"):
            before = server.show("MainPID", unit)
            server.run("systemctl", "kill", "--signal=KILL", unit)

            async def is_another(unit: str = unit, before: list[str] = before) -> bool:
                return server.show("MainPID", unit) not in (before, ["0"])

            await until(is_another, within_s=30, what=f"another {unit}", pause_s=0.2)
            program = f"{sys.prefix}/bin/colonnade"
            words = ("lb", "set", "web", "--description", f"after {unit}", "--wait")
            await asyncio.to_thread(server.run, program, *words, env={"COLONNADE_TOKEN": token})
        await visits.first_ok(since=time.time())
        assert visits.failed() == []
    # It ends with an error above 2.0 of 10.
    server.run("systemd-analyze", "security", "--threshold=20", "colonnade-relay")
    shown = "journalctl --no-pager; cat /etc/systemd/system/colonnade*; ps -eo args; true"
    assert PASSWORD not in server.run("sh", "-c", shown)
    assert PASSWORD in server.run("cat", "/var/lib/colonnade/pki/database.password")
    assert server.run("stat", "-c", "%a %G", "/var/lib/colonnade/pki/database.password") == (
        "640 colonnade\n"
    )


CLOUD = """
state_dir = "/var/lib/colonnade"
run_dir = "/run/colonnade"
database_url = "postgresql://colonnade@db2.example.org,db1.example.org/colonnade"
database_password_file = "/var/lib/colonnade/pki/database.password"
network_driver = "neutron"
compute_driver = "nova"
[api]
auth = "token"
[keystone]
auth_url = "http://127.0.0.7:5000"
username = "lbaas"
secret_file = "/etc/colonnade/keystone-password"
[neutron]
lb_subnet = "5b9d4c0e-38f5-4a0e-8f67-1d1f5d9b6a11"
[nova]
flavor = "m1.amphora"
[lb_network]
address = "127.0.0.8"
[metrics]
port = 9877
"""
PROCESSES = ("api", "controller", "health", "notifier")


async def test_a_host_of_a_clouds_control_plane_has_no_lab(server: Machine) -> None:
    """Also while the cloud does not answer."""
    put = """
    mkdir /etc/colonnade && printf "%s" "$1" >/etc/colonnade/colonnade.toml
    umask 077 && echo secret >/etc/colonnade/keystone-password
    """
    server.run("sh", "-c", put, "sh", CLOUD)
    said = typed(server, "".join(blocks("docs/fleet.md", "A control plane on several hosts")))
    (token,) = re.findall(r"COLONNADE_TOKEN=(col_\S+)", said)
    units = [f"colonnade-{name}" for name in PROCESSES]

    async def are_up() -> bool:
        return server.show("ActiveState", *units) == ["active"] * len(units)

    await until(are_up, within_s=60, what="all processes to be up", pause_s=0.3)
    program = f"{sys.prefix}/bin/colonnade"
    assert (
        server.run(program, "lb", "list", "--json", env={"COLONNADE_TOKEN": token}).strip() == "[]"
    )
    read = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:%d/metrics').read())"
    for port in (9877, 9878, 9879, 9881):
        assert "process_start_time" in server.run(sys.executable, "-c", read % port)
    made = server.run("sh", "-c", "ls /etc/systemd/system")
    assert not {"lab", "network", "relay"} & set(re.findall(r"colonnade[-.](\w+)", made))
