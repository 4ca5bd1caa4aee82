# SPDX-License-Identifier: Apache-2.0
"""A real Nova with two hosts on free ports of loopback, and the Placement and Glance that it asks.

Its hosts are Nova's own stand-ins (`fake.FakeDriver`): the API, the scheduler, quotas, states and
the ports' bindings are in earnest, and no guest is started. Its user is in the project `service`.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tests.openstack.environments import installed
from tests.openstack.keystone import GUNICORN, REGION, SERVICE_PASSWORD, Cloud, free_port, served
from tests.openstack.stores import mariadb, rabbitmq, skip_without, started

HOSTS = ("one", "two")
USERS = ("nova", "placement", "glance")
_WHO = """
auth_url = {keystone}
auth_type = password
username = {user}
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
region_name = {region}
"""
_PLACEMENT = """
[DEFAULT]
log_file = {folder}/placement.log
[placement_database]
connection = sqlite:///{folder}/placement.db?timeout=30
sync_on_startup = true
[api]
auth_strategy = keystone
[keystone_authtoken]
www_authenticate_uri = {keystone}
{who}
[oslo_policy]
enforce_scope = false
"""
_GLANCE = """
[DEFAULT]
log_file = {folder}/glance.log
enabled_backends = disk:file
transport_url = fake://
[glance_store]
default_backend = disk
[disk]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/stage
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[database]
connection = sqlite:///{folder}/glance.db?timeout=30
[oslo_concurrency]
lock_path = {folder}
[paste_deploy]
flavor = keystone
config_file = {folder}/glance-api-paste.ini
[keystone_authtoken]
www_authenticate_uri = {keystone}
{who}
"""
_NOVA = """
[DEFAULT]
transport_url = {messages}
state_path = {folder}
compute_driver = fake.FakeDriver
my_ip = 127.0.0.1
osapi_compute_workers = 1
log_dir = {folder}
service_down_time = 30
report_interval = 5
[api]
auth_strategy = keystone
[api_database]
connection = {api_database}
[database]
connection = {database}
[wsgi]
api_paste_config = {folder}/api-paste.ini
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 2
[filter_scheduler]
enabled_filters = ComputeFilter,ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter
[oslo_concurrency]
lock_path = {folder}/lock
[keystone_authtoken]
www_authenticate_uri = {keystone}
{nova}
[service_user]
send_service_user_token = true
{nova}
[placement]
{nova}
[neutron]
{neutron}
[glance]
api_servers = {glance}
[cinder]
auth_type =
[vnc]
enabled = false
[oslo_messaging_notifications]
driver = noop
"""


class Urls(msgspec.Struct, frozen=True):
    """Where each of them is; `compute` is to be in the catalog with its version."""

    placement: str
    image: str
    compute: str


def _of_environment() -> dict[str, str]:
    return {n: v for n, v in os.environ.items() if not n.startswith(("OS_", "GUNICORN"))}


def _who(cloud: Cloud, user: str) -> str:
    return _WHO.format(keystone=cloud.url, user=user, password=SERVICE_PASSWORD, region=REGION)


@contextlib.contextmanager
def _wsgi(
    service: str, application: str, folder: Path, said: Mapping[str, str], *,
    threads: int = 1, page: str = "",
) -> Iterator[str]:  # fmt: skip
    port = free_port()
    text = GUNICORN.format(application=application, port=port)
    text = text.replace("threads = 1", f"threads = {threads}")
    within = folder / "server"
    within.mkdir()
    with served(installed(service), within, text, said, f"http://127.0.0.1:{port}/{page}"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def placement(folder: Path, cloud: Cloud) -> Iterator[str]:
    folder.mkdir()
    config = _PLACEMENT.format(folder=folder, keystone=cloud.url, who=_who(cloud, "placement"))
    (folder / "placement.conf").write_text(config)
    said = _of_environment() | {"OS_PLACEMENT_CONFIG_DIR": str(folder)}
    with _wsgi("placement", "placement.wsgi.api:application", folder, said) as url:
        yield url


@contextlib.contextmanager
def glance(folder: Path, cloud: Cloud) -> Iterator[str]:
    programs = installed("glance")
    for name in ("images", "stage", "tasks"):
        (folder / name).mkdir(parents=True)
    paste = programs.parent / "etc" / "glance" / "glance-api-paste.ini"
    shutil.copy(paste, folder / "glance-api-paste.ini")
    who = _who(cloud, "glance")
    config = _GLANCE.format(folder=folder, keystone=cloud.url, who=who)
    (folder / "glance-api.conf").write_text(config)
    said = _of_environment() | {"OS_GLANCE_CONFIG_DIR": str(folder)}
    argv: list[str | Path] = [
        programs / "glance-manage",
        "--config-file",
        folder / "glance-api.conf",
        "db_sync",
    ]
    subprocess.run(argv, check=True, capture_output=True, env=said)
    with _wsgi("glance", "glance.wsgi.api:application", folder, said, page="healthcheck") as url:
        yield url


@contextlib.contextmanager
def nova(folder: Path, cloud: Cloud, glance_url: str) -> Iterator[str]:
    """Placement and Neutron must be in the catalog."""
    skip_without()
    programs = installed("nova")
    folder.mkdir()
    with (
        mariadb(folder / "mariadb", ("nova_api", "nova", "nova_cell0")) as at,
        rabbitmq(folder / "rabbitmq") as messages,
    ):
        shutil.copy(programs.parent / "etc" / "nova" / "api-paste.ini", folder)
        config = _NOVA.format(
            folder=folder, messages=messages, keystone=cloud.url, glance=glance_url,
            api_database=at("nova_api"), database=at("nova"), nova=_who(cloud, "nova"),
            neutron=_who(cloud, "neutron"),
        )  # fmt: skip
        file = folder / "nova.conf"
        file.write_text(config)
        _make_tables(programs, file, at("nova_cell0"))
        said = _of_environment() | {"OS_NOVA_CONFIG_DIR": str(folder)}
        with contextlib.ExitStack() as stack:
            for name in ("conductor", "scheduler"):
                argv: list[str | Path] = [programs / f"nova-{name}", "--config-file", file]
                log = folder / f"{name}.out"
                stack.enter_context(started(argv, log, ready=lambda: True))
            for host in HOSTS:
                stack.enter_context(_host(programs, folder, host))
            application = "nova.wsgi.osapi_compute:application"
            url = stack.enter_context(_wsgi("nova", application, folder, said, threads=4))
            yield f"{url}/v2.1"


@contextlib.contextmanager
def _host(programs: Path, folder: Path, host: str) -> Iterator[None]:
    (folder / host).mkdir()
    own = folder / f"{host}.conf"
    own.write_text(f"[DEFAULT]\nhost = {host}\nstate_path = {folder}/{host}\n")
    files: list[str | Path] = ["--config-file", folder / "nova.conf", "--config-file", own]
    argv: list[str | Path] = [programs / "nova-compute", *files]
    with started(argv, folder / f"{host}.out", ready=lambda: True):
        yield


def _make_tables(programs: Path, file: Path, cell_0: str) -> None:
    for words in (
        ["api_db", "sync"], ["cell_v2", "map_cell0", "--database_connection", cell_0],
        ["db", "sync"], ["cell_v2", "create_cell", "--name", "cell1"],
    ):  # fmt: skip
        argv: list[str | Path] = [programs / "nova-manage", "--config-file", file, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
