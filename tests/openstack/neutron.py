# SPDX-License-Identifier: Apache-2.0
"""A real Neutron API on a free port of loopback, without agents: addresses, rights and records are
in earnest, and no packet moves. It asks the Keystone that it is given."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.openstack.keystone import GUNICORN, SERVICE_PASSWORD, Cloud, free_port, served

USER = "neutron"
# Neutron's migrations do not run on SQLite; its models make the same tables.
_SCHEMA = """
import sys, sqlalchemy
from neutron.db.migration.models import head
engine = sqlalchemy.create_engine(sys.argv[1])
head.get_metadata().create_all(engine)
"""
_CONFIG = """
[DEFAULT]
log_file = {folder}/neutron.log
core_plugin = ml2
service_plugins = router,qos,tag,timestamp,revisions,port_forwarding
api_paste_config = {paste}
transport_url = fake://
auth_strategy = keystone
dhcp_agent_notification = false
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
state_path = {folder}
[database]
connection = {database}
[quotas]
default_quota = -1
quota_network = -1
quota_subnet = -1
quota_port = -1
[oslo_concurrency]
lock_path = {folder}
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = neutron
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
"""
_ML2 = """
[ml2]
type_drivers = local
tenant_network_types = local
mechanism_drivers = of_tests
extension_drivers = port_security,qos
[securitygroup]
enable_security_group = true
"""
# Binds each port to the host that is asked for: Neutron's own bind where an agent lives.
_BINDING = """
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api
class Driver(api.MechanismDriver):
    connectivity = portbindings.CONNECTIVITY_L2
    def initialize(self):
        pass
    def bind_port(self, context):
        for segment in context.segments_to_bind[:1]:
            details = {portbindings.CAP_PORT_FILTER: True}
            context.set_binding(
                segment[api.ID], portbindings.VIF_TYPE_OVS, details, constants.PORT_STATUS_ACTIVE
            )
"""


@contextlib.contextmanager
def neutron(programs: Path, folder: Path, cloud: Cloud) -> Iterator[str]:
    """Its address. The user `neutron` must be in the project `service` with the role `service`."""
    database = f"sqlite:///{folder}/neutron.db?timeout=30"
    said = {n: v for n, v in os.environ.items() if not n.startswith(("OS_", "GUNICORN"))}
    paste = folder / "api-paste.ini"
    shutil.copy(programs.parent / "etc" / "neutron" / "api-paste.ini", paste)
    config = _CONFIG.format(
        folder=folder, paste=paste, database=database, keystone=cloud.url, password=SERVICE_PASSWORD
    )
    (folder / "neutron.conf").write_text(config)
    (folder / "ml2_conf.ini").write_text(_ML2)
    subprocess.run([programs / "python", "-c", _SCHEMA, database], check=True, env=said)
    files = [f"--config-file={folder / name}" for name in ("neutron.conf", "ml2_conf.ini")]
    subprocess.run(
        [programs / "neutron-db-manage", *files, "stamp", "heads"],
        check=True, env=said, capture_output=True,
    )  # fmt: skip
    said |= {
        "PYTHONPATH": str(_binding(folder / "binding")),
        "OS_NEUTRON_CONFIG_DIR": str(folder),
        "OS_NEUTRON_CONFIG_FILES": "neutron.conf;ml2_conf.ini",
    }
    port = free_port()
    text = GUNICORN.format(application="neutron.wsgi.api:application", port=port)
    with served(programs, folder, text, said, f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}"


def _binding(folder: Path) -> Path:
    """The mechanism driver, as if it were installed there."""
    about = folder / "of_tests-1.dist-info"
    about.mkdir(parents=True)
    (folder / "of_tests.py").write_text(_BINDING)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: of-tests\nVersion: 1\n")
    points = "[neutron.ml2.mechanism_drivers]\nof_tests = of_tests:Driver\n"
    (about / "entry_points.txt").write_text(points)
    return folder
