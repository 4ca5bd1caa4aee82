# SPDX-License-Identifier: Apache-2.0
"""Two real PostgreSQL servers on sockets: a primary, and a standby that each commit waits for."""

import asyncio
import contextlib
import os
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
SETTINGS: Final = {
    "listen_addresses": "",
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
        self._folder = folder
        self._data = folder / "data"
        self._process: asyncio.subprocess.Process | None = None

    def create(self) -> None:
        words = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions")
        self._run("initdb", "-D", str(self._data), "-U", "colonnade", *words)

    def copy(self, primary: "Server") -> None:
        """As a standby of it."""
        source = f"host={primary.socket_folder} user=colonnade application_name=standby"
        self._run("pg_basebackup", "-D", str(self._data), "-d", source, "-R", "-c", "fast")

    async def start(self, **settings: str) -> None:
        words = [f"--{name}={value}" for name, value in (SETTINGS | settings).items()]
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


class Couple:
    """`url` leads to whichever of the two takes writes."""

    def __init__(self, primary: Server, standby: Server) -> None:
        self.primary, self.standby = primary, standby
        places = f"{primary.socket_folder},{standby.socket_folder}"
        words = "target_session_attrs=read-write&connect_timeout=2"
        self.url = f"postgresql:///colonnade?user=colonnade&host={places}&{words}"


@contextlib.asynccontextmanager
async def couple(folder: Path) -> AsyncIterator[Couple]:
    """`folder` may be entered by anybody."""
    servers = []
    for name in ("one", "other"):
        for made in (folder / name, folder / name / "s"):
            made.mkdir()
            if os.geteuid() == 0:
                os.chown(made, NOBODY, NOBODY)
        servers.append(Server(folder / name))
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
