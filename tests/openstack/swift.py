# SPDX-License-Identifier: Apache-2.0
"""A real Swift on a free port of loopback, whose accounts are those of the Keystone that it is
given."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.log_servers import Proxy, ask, swift_cluster, until
from tests.openstack.keystone import SERVICE_PASSWORD, Cloud, free_port

USER = "swift"
FILTERS = ("catch_errors", "gatekeeper", "tempurl", "authtoken", "keystoneauth")
_WHO = """
auth_url = {keystone}
auth_type = password
username = swift
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
"""
_FILTERS = """
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone}
delay_auth_decision = true
{who}
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
"""


@contextlib.contextmanager
def swift(programs: Path, folder: Path, cloud: Cloud) -> Iterator[str]:
    """Its address. The user `swift` must be in the project `service` with the role `service`."""
    port = free_port()
    who = _WHO.format(keystone=cloud.url, password=SERVICE_PASSWORD)
    more = _FILTERS.format(keystone=cloud.url, who=who)
    url = f"http://127.0.0.1:{port}"
    with swift_cluster(programs, folder, Proxy("proxy", port, FILTERS, more)):
        until(lambda: ask("GET", f"{url}/v1/AUTH_x")[0] == 401)
        yield url
