# SPDX-License-Identifier: Apache-2.0
"""A real Barbican API on a free port of loopback, with a database of its own in a folder. It asks
the Keystone that it is given."""

import base64
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.openstack.keystone import GUNICORN, SERVICE_PASSWORD, Cloud, free_port, served

USER = "barbican"
# Its own module for WSGI wants files in /etc; this is the same application.
_APPLICATION = """
from paste import deploy
application = deploy.loadapp("config:{folder}/barbican-api-paste.ini")
"""
_CONFIG = """
[DEFAULT]
log_file = {folder}/barbican.log
host_href = {url}
transport_url = fake://
[database]
connection = sqlite:///{folder}/barbican.db?timeout=30
[queue]
enable = False
[secretstore]
enabled_secretstore_plugins = store_crypto
[crypto]
enabled_crypto_plugins = simple_crypto
[simple_crypto_plugin]
kek = {key}
[oslo_policy]
enforce_scope = true
enforce_new_defaults = true
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = barbican
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
"""


@contextlib.contextmanager
def barbican(programs: Path, folder: Path, cloud: Cloud) -> Iterator[str]:
    """Its address. The user `barbican` must be in the project `service` with the role `service`."""
    home = folder / ".barbican"  # where it looks
    home.mkdir()
    said = {n: v for n, v in os.environ.items() if not n.startswith(("OS_", "GUNICORN"))}
    said |= {"HOME": str(folder), "PYTHONPATH": str(home)}
    paste = programs.parent / "etc" / "barbican" / "barbican-api-paste.ini"
    text = paste.read_text().replace("/etc/barbican/", f"{home}/")
    (home / "barbican-api-paste.ini").write_text(text)
    (home / "barbican_served.py").write_text(_APPLICATION.format(folder=home))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = _CONFIG.format(
        folder=folder, url=url, keystone=cloud.url, password=SERVICE_PASSWORD,
        key=base64.b64encode(os.urandom(32)).decode(),
    )  # fmt: skip
    (home / "barbican.conf").write_text(config)
    subprocess.run(
        [programs / "barbican-manage", "db", "upgrade"], check=True, env=said, capture_output=True
    )
    text = GUNICORN.format(application="barbican_served:application", port=port)
    with served(programs, folder, text, said, f"{url}/healthcheck"):
        yield url
