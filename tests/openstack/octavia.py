# SPDX-License-Identifier: Apache-2.0
"""A real Octavia API with its own amphora provider, whose VIPs are ports in the real Neutron.

Its worker would need a Nova that boots its amphorae. What that would write of a change, that it is
applied, MariaDB says itself; of a deletion, `delete` does it with Octavia's own network driver.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tests.openstack.environments import installed
from tests.openstack.keystone import GUNICORN, REGION, SERVICE_PASSWORD, Cloud, free_port, served
from tests.openstack.stores import SBIN, mariadb

USER = "octavia"
# Octavia's driver of computes that are none keeps its notes there, whatever it is told.
_NOTES = Path("/tmp/octavia-network-noop.db")
_CONFIG = """
[DEFAULT]
transport_url = fake://
log_file = {folder}/octavia.log
[api_settings]
auth_strategy = keystone
enabled_provider_drivers = amphora:The Octavia Amphora driver.,octavia:An alias.,amphorav2:Another.
default_provider_driver = amphora
[database]
connection = {database}
[controller_worker]
network_driver = allowed_address_pairs_driver
compute_driver = compute_noop_driver
amphora_driver = amphora_noop_driver
image_driver = image_noop_driver
volume_driver = volume_noop_driver
[certificates]
cert_manager = noop_cert_manager
[neutron]
region_name = {region}
[keystone_authtoken]
www_authenticate_uri = {keystone}
{who}
[service_auth]
{who}
"""
_WHO = """
auth_url = {keystone}
auth_type = password
username = octavia
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
"""
_TABLES = ("load_balancer", "listener", "pool", "member", "health_monitor", "l7policy", "l7rule")
_APPLIED = """
CREATE TRIGGER {table}_{event} BEFORE {event} ON {table} FOR EACH ROW SET NEW.provisioning_status =
IF(NEW.provisioning_status LIKE 'PENDING_%ATE', 'ACTIVE', NEW.provisioning_status);
"""
_GIVE_UP = """
import sys
from octavia.common import config
config.init(["--config-file", sys.argv[1]])
from octavia.db import api, repositories
from octavia.network.drivers.neutron import allowed_address_pairs
with api.session().begin() as session:
    found = repositories.LoadBalancerRepository().get(session, id=sys.argv[2])
    allowed_address_pairs.AllowedAddressPairsDriver().deallocate_vip(found.vip)
"""


class Octavia(msgspec.Struct, frozen=True):
    url: str
    folder: Path
    asked: Callable[[str], str]  # what its database answers

    def pending(self) -> list[str]:
        """The load balancers that are to be deleted."""
        wanted = "SELECT id FROM load_balancer WHERE provisioning_status = 'PENDING_DELETE'"
        return self.asked(wanted).split()

    def delete(self, root_id: str) -> None:
        """As its worker: the VIP given back by Octavia's own network driver, and marked as gone."""
        argv: list[str | Path] = [
            installed("octavia") / "python", "-c", _GIVE_UP, self.folder / "octavia.conf", root_id,
        ]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        gone = "UPDATE load_balancer SET provisioning_status = 'DELETED' WHERE id = "
        self.asked(f"{gone}'{root_id}'")

    def amphora(self, root_id: str, port_id: str) -> None:
        """One that serves the load balancer on that port."""
        self.asked(
            "INSERT INTO amphora (id, status, role, load_balancer_id, vrrp_port_id, cert_busy)"
            f" VALUES (UUID(), 'ALLOCATED', 'STANDALONE', '{root_id}', '{port_id}', FALSE)"
        )


@contextlib.contextmanager
def octavia(folder: Path, cloud: Cloud) -> Iterator[Octavia]:
    """Its user must be in the project `service`, and Neutron in the catalog."""
    programs = installed("octavia")
    home = folder / ".octavia"  # where the API looks for its configuration, below HOME
    home.mkdir(parents=True)
    noted = _NOTES.exists()
    with mariadb(folder / "mariadb", ("octavia",)) as at:
        who = _WHO.format(keystone=cloud.url, password=SERVICE_PASSWORD)
        text = _CONFIG.format(
            folder=folder, database=at("octavia"), keystone=cloud.url, who=who, region=REGION
        )
        for file in (home / "octavia.conf", folder / "octavia.conf"):
            file.write_text(text)
        argv: list[str | Path] = [programs / "octavia-db-manage", "--config-file"]
        subprocess.run([*argv, folder / "octavia.conf", "upgrade", "head"], check=True,
                       capture_output=True)  # fmt: skip

        def asked(statements: str) -> str:
            words = ["mariadb", "-uroot", f"--socket={folder}/mariadb/sock", "-N", "octavia"]
            said = dict(os.environ) | {"PATH": SBIN}
            done = subprocess.run(
                [*words, "-e", statements], env=said, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        for table in _TABLES:
            for event in ("INSERT", "UPDATE"):
                asked(_APPLIED.format(table=table, event=event))
        said = {n: v for n, v in os.environ.items() if not n.startswith(("OS_", "GUNICORN"))}
        port = free_port()
        server = GUNICORN.format(application="octavia.wsgi.api:application", port=port)
        server = server.replace("threads = 1", "threads = 4")
        url = f"http://127.0.0.1:{port}"
        try:
            with served(programs, folder, server, said | {"HOME": str(folder)}, url):
                yield Octavia(url, folder, asked)
        finally:
            if not noted:
                _NOTES.unlink(missing_ok=True)
