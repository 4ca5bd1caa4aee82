# SPDX-License-Identifier: Apache-2.0
"""Receivers as processes, several on one host; and a database that really crashes under one."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from colonnade.cli.local.identities import ensure_master_key
from colonnade.domain.ids import new_id
from colonnade.drivers.secrets.database import Seal
from colonnade.health.process import Health, Keys
from colonnade.protocol.messages import PORT_HEALTH, PORT_RECEIVERS
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.config import Heartbeats
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.migrations import migrate
from tests.contract.test_health import SEAL, Agents
from tests.contract.test_receivers import Amphora

PACE_S = 0.25
ALLOWED = Heartbeats(interval_s=PACE_S, stale_s=2.0, spare_stale_s=2.0)
WITHIN_S = 40.0


async def until(fact: Callable[[], Awaitable[bool]], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not await fact():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.05)


class Host:
    """`colonnade health` with its workers, at an address of loopback of its own."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process = process
        self.address = address
        self.receivers = [f"{address}:{PORT_RECEIVERS + place}" for place in range(2)]

    def worker_of(self, receiver: str) -> int:
        """The process that has this port, by the kernel's own list."""
        host, _, port = receiver.rpartition(":")
        packed = "".join(f"{int(part):02X}" for part in reversed(host.split(".")))
        place = f"{packed}:{int(port):04X}"
        lines = Path("/proc/net/udp").read_text().splitlines()[1:]
        (inode,) = [line.split()[9] for line in lines if line.split()[1] == place]
        for pid in self.workers():
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(file.readlink()) == f"socket:[{inode}]":
                        return pid
        raise AssertionError(f"nobody has {receiver}")

    def workers(self) -> list[int]:
        pid = self.process.pid
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@asynccontextmanager
async def host(folder: Path, database_url: str) -> AsyncIterator[Host]:
    pki = folder / "pki"
    ensure_master_key(pki)
    authority = Authority.new()
    (pki / "ca.pem").write_text(authority.certificate)
    (pki / "health.pem").write_text(Authority(authority).issue("health", days=1).pem)
    address = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
    config = folder / "colonnade.toml"
    config.write_text(
        f'state_dir = "{folder}"\nrun_dir = "{folder}"\n'
        f"database_url = {json.dumps(database_url)}\n"
        f'[lb_network]\naddress = "{address}"\n[health]\nreceivers = 2\n'
        f"[heartbeats]\ninterval_s = {PACE_S}\nstale_s = 2.0\nspare_stale_s = 2.0\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "colonnade", "health", "--config", str(config)
    )
    host = Host(process, address)
    try:
        yield host
    finally:
        if process.returncode is None:
            for worker in host.workers():
                os.kill(worker, signal.SIGCONT)
            process.terminate()
        await process.wait()


class Speaking:
    """An amphora that beats from a socket of its own, for as long as the context lasts."""

    def __init__(self, database: Database, amphora: Amphora) -> None:
        self._database = database
        self._amphora = amphora

    @asynccontextmanager
    async def aloud(self, pace_s: float = PACE_S) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )

        async def beat() -> None:
            while True:
                place, datagram = self._amphora.heartbeat()
                address, _, port = place.rpartition(":")
                transport.sendto(datagram, (address, int(port)))
                await asyncio.sleep(pace_s)

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            beating.cancel()
            transport.close()

    async def is_in(self, state: str) -> bool:
        async with self._database.read() as connection:
            cursor = await connection.execute(
                "SELECT state FROM amphorae WHERE id = %s", [self._amphora.id]
            )
            return await cursor.fetchone() == (state,)


async def amphora(database: Database, seal: Seal, state: str, *receivers: str) -> Speaking:
    """Made an hour ago."""
    made = Amphora(0)
    made.knows = list(receivers)
    cluster = new_id() if state == "SERVING" else None
    async with database.transaction() as connection:
        if cluster is not None:
            await connection.execute(
                "INSERT INTO clusters (id, provider, generation) VALUES (%s, 'amphora', 1)",
                [cluster],
            )
        await connection.execute(
            """INSERT INTO amphorae
                (id, state, flavor, cluster_id, applied, lb_network_ip, heartbeat_key, state_since)
            VALUES (%s, %s, 'default', %s, 1, '127.0.0.1', %s, now() - interval '1 hour')""",
            [made.id, state, cluster, seal.seal(made.key, made.id)],
        )
    return Speaking(database, made)


async def listed(database: Database) -> list[str]:
    async with database.read() as connection:
        cursor = await connection.execute("SELECT address FROM daemons ORDER BY address")
        return [row[0] for row in await cursor.fetchall()]


async def have_been_listed(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE receivers SET listed_since = to_timestamp(0)")


async def test_of_two_receivers_on_a_host_one_may_hang_or_die(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    async with host(tmp_path, database_url) as here:

        async def are_listed() -> bool:
            return await listed(database) == here.receivers

        await until(are_listed)
        await have_been_listed(database)
        seal = Seal.from_file(tmp_path / "pki" / "master.key")
        newborn = await amphora(database, seal, "BOOTING", f"{here.address}:{PORT_HEALTH}")
        async with newborn.aloud():
            await until(lambda: newborn.is_in("SPARE"))  # by the port that both have
        web = await amphora(database, seal, "SERVING", *here.receivers)
        async with web.aloud():
            hung = here.worker_of(here.receivers[1])
            os.kill(hung, signal.SIGSTOP)
            stopped = time.monotonic()

            async def long_ago() -> bool:
                assert await web.is_in("SERVING")
                return time.monotonic() - stopped > 2.5 * ALLOWED.stale_s

            await until(long_ago)
            os.kill(hung, signal.SIGKILL)

            async def another() -> bool:
                with contextlib.suppress(AssertionError, ValueError, OSError):
                    return here.worker_of(here.receivers[1]) != hung
                return False

            await until(another)
            await until(are_listed)
            assert await web.is_in("SERVING")
        await until(lambda: web.is_in("FAILED"))
        here.process.terminate()
        assert await here.process.wait() == 0
        assert await listed(database) == []


async def test_a_crash_of_the_database_forgets_heartbeats_and_fails_nobody(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "state", tmp_path / "run")
    await server.start()
    try:
        await asyncio.to_thread(migrate, server.url)
        database = await Database.connect(server.url)
        health = Health(database, Keys(database, SEAL), Agents(), ALLOWED)
        async with health.listening("127.0.0.1", 0) as listening:
            place = f"127.0.0.1:{listening.port}"
            web = await amphora(database, SEAL, "SERVING", place)
            seldom = await amphora(database, SEAL, "SPARE", place)

            async def remembered() -> object:
                with contextlib.suppress(psycopg.Error):
                    async with await psycopg.AsyncConnection.connect(server.url) as connection:
                        cursor = await connection.execute(
                            """SELECT m.since FROM heartbeats_remembered m WHERE 1 < (
                                SELECT count(*) FROM heartbeats)"""
                        )
                        return await cursor.fetchone()
                return None

            async def is_remembered() -> bool:
                return await remembered() is not None

            async with web.aloud(), seldom.aloud(pace_s=1.5):
                await until(is_remembered)
                before = await remembered()
                with psycopg.connect(server.url) as victim:
                    os.kill(victim.info.backend_pid, signal.SIGKILL)

                async def is_another() -> bool:
                    now = await remembered()
                    return now is not None and now != before

                await until(is_another)
                crashed = time.monotonic()

                async def long_ago() -> bool:
                    return time.monotonic() - crashed > 2 * ALLOWED.stale_s

                await until(long_ago)
                assert await web.is_in("SERVING")
                assert await seldom.is_in("SPARE")
            await until(lambda: web.is_in("FAILED"))
        await database.close()
    finally:
        await server.stop()
