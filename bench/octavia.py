# SPDX-License-Identifier: Apache-2.0
"""The reference: Octavia's own API on MariaDB, as it comes from its authors, served for a while.

It gets the easy case, so that what is compared is two APIs with their databases: no Keystone, no
message queue, the provider that does nothing, and no controller. What a controller would report,
that a change is applied, MariaDB says itself within the same statement. Only what was deleted
stays, until `tidy`. Everything is in folders of its own and ends with this process.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.client import Load
from bench.served import Served, answers
from colonnade.cli.local.system import free_port
from colonnade.domain.errors import Broken

PACKAGES: Final = ("octavia>=19", "gunicorn", "pymysql")
TOLD: Final = ("octavia", "gunicorn", "sqlalchemy", "pymysql")  # whose versions are told
DATABASE_PACKAGES: Final = ("mariadb-server-core", "mariadb-client-core")
CACHE: Final = "COLONNADE_BENCH_CACHE"  # a folder; where the packages are kept
START_S_MAX: Final = 90.0
THREADS: Final = 8
ERROR_SHOWN_MAX: Final = 600
ROOT: Final = {"provider": "noop_driver", "project_id": "bench"}
# Octavia's driver for a network that is none keeps its notes there, whatever it is told.
NETWORK_NOTES: Final = Path("/tmp/octavia-network-noop.db")

SETTINGS: Final = """
[DEFAULT]
transport_url = fake://
default_log_levels = octavia=WARNING
[api_settings]
auth_strategy = noauth
enabled_provider_drivers = noop_driver:serves nothing
default_provider_driver = noop_driver
[database]
connection = mysql+pymysql://root@localhost/octavia?unix_socket={socket}&charset=utf8mb3
[controller_worker]
network_driver = network_noop_driver
[certificates]
cert_manager = noop_cert_manager
"""
# Its modules read the words of the command line as if these were for them, so there are none.
SERVER: Final = """
wsgi_app = "octavia.wsgi.api:application"
bind = "127.0.0.1:{port}"
workers = 1
worker_class = "gthread"
threads = {threads}
timeout = 300
keepalive = 300
control_socket_disable = True
"""
APPLIED: Final = """
CREATE TRIGGER {table}_{event} BEFORE {event} ON {table} FOR EACH ROW SET NEW.provisioning_status =
IF(NEW.provisioning_status LIKE 'PENDING_%ATE', 'ACTIVE', NEW.provisioning_status);
"""
TIED: Final = ("setpriv", "--pdeathsig=TERM", "--")  # ends when this process does, however it does
TABLES: Final = ("load_balancer", "listener", "pool", "member")
GONE: Final = "DELETE FROM octavia.member WHERE provisioning_status = 'PENDING_DELETE'"


class Octavia(Served):
    """The reference, running."""

    socket = Path()

    async def tidy(self) -> None:
        """What its controller would do with members that were deleted."""
        await _sql(self.socket, GONE)


@asynccontextmanager
async def serving() -> AsyncIterator[Octavia]:
    home = await _installed()
    folder = Path(tempfile.mkdtemp(prefix="col-"))
    noted = NETWORK_NOTES.exists()
    database = api = None
    try:
        database = await _database(folder)
        await _furnished(database, home, folder)
        port = free_port()
        api = await _api(home, folder, port)
        await answers(port, "/", START_S_MAX)
        load = await Load.of(port, ROOT)
        served = Octavia(load, api.pid, database.pid)
        served.socket = folder / "socket"
        yield served
        load.close()
    finally:
        for process in (api, database):
            if process is not None and process.returncode is None:
                process.terminate()
                await process.wait()
        shutil.rmtree(folder)
        if not noted:
            NETWORK_NOTES.unlink(missing_ok=True)


def cache() -> Path:
    """Where packages are kept from one run to the next."""
    below = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE) or Path(below) / "colonnade" / "bench")


async def _installed() -> Path:
    """An environment with the newest release that this Python runs, made once."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = cache() / f"octavia-python{version}"
    ready = home / "ready"
    if not ready.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        await _run(sys.executable, "-m", "venv", "--clear", home)
        await _run(home / "bin/pip", "install", "-q", "--disable-pip-version-check", *PACKAGES)
        ready.touch()
    return home


async def versions() -> str:
    """Of what is measured, in words."""
    home = await _installed()
    code = "import sys, importlib.metadata as m; print(*(m.version(n) for n in sys.argv[1:]))"
    versions = (await _run(home / "bin/python", "-c", code, *TOLD)).split()
    named = (f"{name} {version}" for name, version in zip(TOLD, versions, strict=True))
    database = (
        (await _run(await _program("mariadbd"), "--version")).partition("Ver ")[2].partition("-")[0]
    )
    return ", ".join((*named, f"MariaDB {database}"))


async def _database(folder: Path) -> asyncio.subprocess.Process:
    """As durable as it comes, on a socket that only our user reaches."""
    who = ["--user=root"] if os.geteuid() == 0 else []
    common = ["--no-defaults", f"--datadir={folder / 'data'}", *who]
    make = await _program("mariadb-install-db")
    await _run(make, *common, "--auth-root-authentication-method=normal", "--skip-test-db")
    with (folder / "database.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *TIED,
            await _program("mariadbd"),
            *common,
            *(f"--socket={folder / 'socket'}", "--skip-networking"),
            *(f"--pid-file={folder / 'pid'}", "--character-set-server=utf8mb3"),
            stdout=log,
            stderr=log,
        )


async def _furnished(process: asyncio.subprocess.Process, home: Path, folder: Path) -> None:
    """The schema of Octavia, and what its controller would do."""
    socket, deadline = folder / "socket", time.monotonic() + START_S_MAX
    while not socket.exists():
        if process.returncode is not None or time.monotonic() > deadline:
            said = (folder / "database.log").read_text()[-ERROR_SHOWN_MAX:]
            raise Broken(f"MariaDB did not start: {said}")
        await asyncio.sleep(0.05)
    await _sql(socket, "CREATE DATABASE octavia CHARACTER SET utf8mb3")
    settings = folder / ".octavia" / "octavia.conf"  # where the API looks for it, below HOME
    settings.parent.mkdir()
    settings.write_text(SETTINGS.format(socket=socket))
    await _run(home / "bin/octavia-db-manage", "--config-file", settings, "upgrade", "head")
    triggers = (
        APPLIED.format(table=table, event=event)
        for table in TABLES
        for event in ("INSERT", "UPDATE")
    )
    await _sql(socket, "USE octavia;" + "".join(triggers))


async def _api(home: Path, folder: Path, port: int) -> asyncio.subprocess.Process:
    server = folder / "server.py"
    server.write_text(SERVER.format(port=port, threads=THREADS))
    environment = os.environ | {"HOME": str(folder), "GUNICORN_CMD_ARGS": f"-c {server}"}
    with (folder / "api.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *TIED, home / "bin/gunicorn", env=environment, stdout=log, stderr=log
        )


async def _sql(socket: Path, statements: str) -> None:
    client = await _program("mariadb")
    await _run(client, "--no-defaults", "-uroot", f"--socket={socket}", "-e", statements)


async def _program(name: str) -> str:
    """One of MariaDB's. By root it is installed: these packages start no server."""
    place = os.environ.get("PATH", "") + ":/usr/sbin"
    if shutil.which(name, path=place) is None and os.geteuid() == 0:
        await _run("apt-get", "update", "-qq")
        options = ("install", "-y", "-qq", "--no-install-recommends")
        await _run("apt-get", *options, *DATABASE_PACKAGES)
    found = shutil.which(name, path=place)
    if found is None:
        raise Broken(f"there is no {name} here: apt-get install {' '.join(DATABASE_PACKAGES)}")
    return found


async def _run(*words: str | Path) -> str:
    """What it printed. Raises Broken with its last words."""
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    text = said.decode(errors="replace")
    if process.returncode:
        raise Broken(f"{words[0]} ended with {process.returncode}: {text[-ERROR_SHOWN_MAX:]}")
    return text
