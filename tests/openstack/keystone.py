# SPDX-License-Identifier: Apache-2.0
"""A real Keystone on a free port of loopback, with a database of its own in a folder.

It is started for the tests that ask and ended with them, by its own process id.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import httpx
import msgspec

from colonnade.drivers.openstack.credentials import Credentials
from colonnade.drivers.openstack.session import Session

ADMIN_PASSWORD = "sentinel-admin-3c9e"
SERVICE_PASSWORD = "sentinel-service-81d2"
REGION = "RegionOne"
START_S_MAX = 240.0
DOMAIN = {"id": "default"}

# OpenStack's programs read their own command line, so gunicorn is told everything in a file.
# One thread: SQLite takes no two writers.
GUNICORN = """
wsgi_app = "{application}"
bind = "127.0.0.1:{port}"
workers = 1
worker_class = "gthread"
threads = 1
timeout = 300
keepalive = 5
control_socket_disable = True
"""
_CONFIG = """
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db?timeout=30
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/fernet-keys
[credential]
key_repository = {folder}/credential-keys
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
[oslo_policy]
enforce_scope = true
enforce_new_defaults = true
"""


class Cloud(msgspec.Struct, frozen=True):
    url: str  # with the version

    def credentials(self, user: str, password: str, project: str = "", **more: str) -> Credentials:
        return Credentials(
            auth_url=self.url, username=user, secret=password, project=project,
            user_domain=DOMAIN, project_domain=DOMAIN, **more,
        )  # fmt: skip

    def admin(self, **more: str) -> Credentials:
        return self.credentials("admin", ADMIN_PASSWORD, "admin", **more)


@contextlib.contextmanager
def keystone(programs: Path, folder: Path) -> Iterator[Cloud]:
    """Bootstrapped: the user admin with its project, and the roles that Keystone has."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/v3"
    said = {n: v for n, v in os.environ.items() if not n.startswith(("OS_", "GUNICORN"))}
    said |= {"OS_KEYSTONE_CONFIG_FILES": str(folder / "keystone.conf")}
    _prepare(programs, folder, url, said)
    text = GUNICORN.format(application="keystone.wsgi.api:application", port=port)
    with served(programs, folder, text, said, url):
        yield Cloud(url)


@contextlib.contextmanager
def served(
    programs: Path, folder: Path, config: str, said: Mapping[str, str], url: str
) -> Iterator[None]:
    """A service under gunicorn, with this configuration and environment, until it is left."""
    gunicorn, log = folder / "gunicorn.py", folder / "served.log"
    gunicorn.write_text(config)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [programs / "gunicorn"], stdout=output, stderr=output, start_new_session=True,
            env={**said, "GUNICORN_CMD_ARGS": f"-c {gunicorn}"},
        )  # fmt: skip
    try:
        _wait_for(url, process, log)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have failed to start
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _prepare(programs: Path, folder: Path, url: str, said: Mapping[str, str]) -> None:
    for name in ("fernet-keys", "credential-keys"):
        (folder / name).mkdir(mode=0o700)
    (folder / "keystone.conf").write_text(_CONFIG.format(folder=folder))
    who = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    roots = [
        word
        for kind in ("public", "internal", "admin")
        for word in (f"--bootstrap-{kind}-url", url)
    ]
    for words in (
        ["db_sync"], ["fernet_setup", *who], ["credential_setup", *who],
        [
            "bootstrap", "--bootstrap-password", ADMIN_PASSWORD,
            "--bootstrap-region-id", REGION, *roots,
        ],
    ):  # fmt: skip
        subprocess.run(
            [programs / "keystone-manage", "--config-file", folder / "keystone.conf", *words],
            env=said, check=True, capture_output=True,
        )  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=10).status_code == 200:
                return
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


class Administrator:
    """What an operator of the cloud does, one call each; what is there already stays."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def _made(self, noun: str, **about: object) -> str:
        query = f"?name={about['name']}"
        url = f"{self.session.auth_url}/{noun}s"
        found = (await self.session.ask("GET", url + query)).read(dict[str, object])[f"{noun}s"]
        if isinstance(found, list) and found:
            return str(found[0]["id"])
        answer = await self.session.ask("POST", url, body={noun: about})
        assert answer.status == 201, answer.body
        return str(msgspec.json.decode(answer.body)[noun]["id"])

    async def project(self, name: str) -> str:
        return await self._made("project", name=name, domain_id="default")

    async def user(self, name: str, password: str) -> str:
        return await self._made("user", name=name, password=password, domain_id="default")

    async def grant(self, user: str, project: str, *roles: str) -> None:
        for role in roles:
            role_id = await self._made("role", name=role)
            await self._put(f"projects/{project}/users/{user}/roles/{role_id}")

    async def grant_in_system(self, user: str, role: str) -> None:
        await self._put(f"system/users/{user}/roles/{await self._made('role', name=role)}")

    async def grant_in_domain(self, user: str, role: str) -> None:
        role_id = await self._made("role", name=role)
        await self._put(f"domains/default/users/{user}/roles/{role_id}")

    async def endpoint(self, kind: str, url: str) -> None:
        """Public, and in the place of the one that was."""
        service = await self._made("service", name=kind, type=kind)
        root = f"{self.session.auth_url}/endpoints"
        answer = await self.session.ask("GET", f"{root}?service_id={service}")
        for one in answer.within("endpoints", list[dict[str, object]]):
            await self.session.ask("DELETE", f"{root}/{one['id']}")
        about = {"service_id": service, "url": url, "interface": "public", "region_id": REGION}
        answer = await self.session.ask("POST", root, body={"endpoint": about})
        assert answer.status == 201, answer.body

    async def _put(self, path: str) -> None:
        answer = await self.session.ask("PUT", f"{self.session.auth_url}/{path}")
        assert answer.status == 204, answer.body

    async def revoke(self, token: str) -> None:
        url = f"{self.session.auth_url}/auth/tokens"
        answer = await self.session.ask("DELETE", url, headers={"X-Subject-Token": token})
        assert answer.status == 204, answer.body


def unique(name: str) -> str:
    return f"{name}-{uuid4().hex[:8]}"


async def log_in(cloud: Cloud, body: object) -> str:
    """A token, for a body of the form that Keystone asks."""
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{cloud.url}/auth/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return answer.headers["x-subject-token"]
