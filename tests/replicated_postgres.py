# SPDX-License-Identifier: Apache-2.0
"""Real PostgreSQL servers that are reached by TCP with a password: one, or a primary and a standby
that each commit waits for.

Each has an address of loopback for itself, so all have the same port.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from colonnade.cli.waiting import until
from colonnade.store.postgres.embedded import binaries

NOBODY: Final = 65534  # who may not be root
START_S_MAX: Final = 30.0
PORT: Final = 5432
PASSWORD: Final = "it's p@ss:/?#&% =\\"
SETTINGS: Final = {
    "port": str(PORT),
    "unix_socket_permissions": "0777",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "max_connections": "80",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",  # no power is cut here
}


class Server:
    def __init__(self, folder: Path) -> None:
        self.socket_folder = folder / "s"
        self.address = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
        self._folder = folder
        self._data = folder / "data"
        self._process: asyncio.subprocess.Process | None = None

    def create(self) -> None:
        file = self._folder / "password"
        file.write_text(PASSWORD)
        file.chmod(0o644)
        words = ("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={file}")
        more = ("--encoding=UTF8", "--locale=C", "--no-instructions")
        self._run("initdb", "-D", str(self._data), "-U", "colonnade", *words, *more)
        hba = self._data / "pg_hba.conf"
        hba.write_text(hba.read_text().replace("127.0.0.1/32", "127.0.0.0/8"))

    def copy(self, primary: "Server") -> None:
        """As a standby of it."""
        source = f"host={primary.socket_folder} user=colonnade application_name=standby"
        self._run("pg_basebackup", "-D", str(self._data), "-d", source, "-R", "-c", "fast")

    async def start(self, **settings: str) -> None:
        own = {"listen_addresses": self.address}
        words = [f"--{name}={value}" for name, value in (SETTINGS | own | settings).items()]
        place = ["-D", str(self._data), "-k", str(self.socket_folder)]
        argv = self._as_user([str(binaries() / "postgres"), *place, *words])
        log = (self._folder / "log").open("ab")
        self._process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)
        log.close()
        await until(self._answers, within_s=START_S_MAX, what="PostgreSQL to answer")

    def ask(self, query: str, database: str = "postgres") -> str:
        place = ("-h", str(self.socket_folder), "-U", "colonnade", database)
        return self._run("psql", "-X", "-A", "-t", "-c", query, *place).strip()

    def promote(self) -> None:
        self._run("pg_ctl", "promote", "-D", str(self._data))

    async def kill(self) -> None:
        """Its helpers end when they notice, as after a power cut of the machine."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGQUIT)
            await self._process.wait()

    async def _answers(self) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            return self.ask("SELECT 1") == "1"
        return False

    def _run(self, program: str, *words: str) -> str:
        argv = self._as_user([str(binaries() / program), *words])
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def _as_user(self, argv: Sequence[str]) -> list[str]:
        if os.geteuid() != 0:
            return list(argv)
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]


def url_to(*servers: Server) -> str:
    """Leads to whichever of them takes writes; a password comes from elsewhere."""
    places = ",".join(f"{one.address}:{PORT}" for one in servers)
    return f"postgresql://colonnade@{places}/colonnade?target_session_attrs=read-write"


def password(folder: Path) -> tuple[str, str]:
    """The words of a command line that give it."""
    file = folder / "given"
    file.write_text(f"{PASSWORD}\n")
    return "--database-password-file", str(file)


class Couple:
    def __init__(self, primary: Server, standby: Server) -> None:
        self.primary, self.standby = primary, standby
        self.url = url_to(primary, standby)


@contextlib.asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[Server]:
    """One, with an empty database. `folder` may be entered by anybody."""
    server = _prepared(folder / "only")
    try:
        server.create()
        await server.start()
        server.ask("CREATE DATABASE colonnade")
        yield server
    finally:
        await server.stop()
        shutil.rmtree(folder)


def _prepared(folder: Path) -> Server:
    for made in (folder, folder / "s"):
        made.mkdir()
        if os.geteuid() == 0:
            os.chown(made, NOBODY, NOBODY)
    return Server(folder)


@contextlib.asynccontextmanager
async def couple(folder: Path) -> AsyncIterator[Couple]:
    """`folder` may be entered by anybody."""
    servers = [_prepared(folder / name) for name in ("one", "other")]
    primary, standby = servers
    try:
        primary.create()
        await primary.start(synchronous_standby_names="standby")
        standby.copy(primary)
        await standby.start()
        primary.ask("CREATE DATABASE colonnade")  # waits for the standby
        yield Couple(primary, standby)
    finally:
        for server in servers:
            await server.stop()
        shutil.rmtree(folder)
