# SPDX-License-Identifier: Apache-2.0
"""What it costs to hear amphorae: one datagram from the socket to memory, and 10 000 each second.

Datagrams are signed with the amphorae's own keys and go through real sockets. Processor time is
counted, not the clock's, so a busy machine disturbs little; that of the generator stands apart.
Then some fall silent one by one, and many at once, and how soon they are found is told; and 30 real
ones of a whole system are killed (`bench/recovery.py`).
`python -m bench.health ROLE FILE` is one of the processes that `measure` starts.
"""

import asyncio
import hmac
import os
import random
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from bench import recovery
from bench.results import Figures, percentile
from colonnade.domain.errors import Unreachable
from colonnade.domain.ids import AmphoraId, new_id
from colonnade.drivers.secrets.database import Seal
from colonnade.health.intake import Intake
from colonnade.health.process import Health, Keys
from colonnade.health.receiver import Receiver
from colonnade.health.senders import Sender, Senders
from colonnade.protocol.datagram import HEADER, MAGIC, VERSION, Heartbeat, Kind
from colonnade.protocol.messages import StatisticsReport, StatusReport
from colonnade.runtime import logging
from colonnade.runtime.clock import SystemClock
from colonnade.runtime.config import Failovers, Heartbeats
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.migrations import migrate

BATCH, BATCHES = 2000, 50
AMPHORAE = 10_000
STEPS_PER_S: Final = 100  # amphorae are spread over the second
WARM_UP_S, WATCH_S = 40.0, 20.0  # first the receiver asks each of them for its status, once
FEW, MANY = 30, 200  # that fall silent one by one, and at once
SPREAD_S, FOUND_S = 5.0, 15.0
SIGNALS = {"one_by_one": signal.SIGUSR1, "at_once": signal.SIGUSR2}
TICKS = os.sysconf("SC_CLK_TCK")
# What is asked is how soon they are found, not how many at a time may be replaced.
LIMITS = Failovers(per_minute=AMPHORAE, per_host_per_minute=AMPHORAE)
STATUS = secrets.token_bytes(16)
PAYLOAD = msgspec.msgpack.encode(Heartbeat(STATUS, 0.5, True, 1))

GOALS = {
    "socket_to_memory_per_s": ">= 50000",
    "beating_10000.all_percent": "< 50 of one core",
    "beating_10000.dropped": "0",
    "beating_10000.failed": "0",
    "one_by_one.found": "30",
    "one_by_one.max_s": "< 5",
    "at_once.found": "200",
    **recovery.GOALS,
}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What the processes of a run know of each other."""

    database_url: str
    master_key: str
    port: int
    keys: dict[str, str]  # by amphora


class Nobody:
    """In the place of amphorae that are asked: each serves nothing, and says so."""

    async def __call__(self, amphorae: Sequence[UUID]) -> Mapping[UUID, tuple[bytes, int]]:
        raise Unreachable(f"{len(amphorae)} amphorae were to be known already")

    async def names(self) -> list[UUID]:
        return []

    async def status(self, address: str, amphora_id: str) -> StatusReport:  # noqa: ARG002
        return StatusReport(generation=1, haproxy_running=True)

    async def statistics(self, address: str, amphora_id: str) -> StatisticsReport:
        raise Unreachable(f"{amphora_id} at {address} has no counters")


async def measure() -> Figures:
    return await _socket_to_memory() | await _beating() | await recovery.measure()


async def _socket_to_memory() -> Figures:
    """Of one core: what is sent is not counted, what is received and made of it is."""
    clock = SystemClock()
    senders = Senders(Nobody(), clock)
    # Never opened: what is measured ends where a flush would begin.
    receiver = Receiver(senders, Intake(Database("dbname=never"), Nobody(), clock), clock)
    keys = {UUID(new_id()).bytes: secrets.token_bytes(32) for _ in range(BATCH)}
    for name, key in keys.items():
        sender = senders.known[name] = Sender(AmphoraId(str(UUID(bytes=name))), key, 0)
        sender.status, sender.is_greeted = STATUS, True
    listening = receiver.listen("127.0.0.1", 0)
    rates = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.connect((listening.address, listening.port))
        for sequence in range(1, BATCHES + 1):
            for name, key in keys.items():
                sending.send(_heartbeat(name, key, sequence))
            began = time.process_time()
            taken = listening.take(BATCH + 1)
            rates.append(taken / (time.process_time() - began))
    figures: Figures = {
        "socket_to_memory_per_s": round(percentile(rates, 0.5)),
        "socket_to_memory_dropped": receiver.dropped(),
        "heartbeat_bytes": len(_heartbeat(bytes(16), b"key", 1)),
    }
    assert receiver.accepted + receiver.dropped() == BATCH * BATCHES, receiver.rejected
    listening.close()
    return figures


def _heartbeat(name: bytes, key: bytes, sequence: int) -> bytes:
    signed = HEADER.pack(MAGIC, VERSION, Kind.HEARTBEAT, name, sequence, 1) + PAYLOAD
    return signed + hmac.digest(key, signed, "sha256")


async def _beating() -> Figures:
    folder = Path(tempfile.mkdtemp(prefix="colonnade-"))
    server = EmbeddedPostgres(folder / "state", folder / "run")
    try:
        await server.start()
        await asyncio.to_thread(migrate, server.url)
        database = await Database.connect(server.url)
        try:
            site = Site(
                database_url=server.url,
                master_key=secrets.token_hex(32),
                port=_free_port(),
                keys={new_id(): secrets.token_hex(32) for _ in range(AMPHORAE)},
            )
            await _furnish(database, site)
            file = folder / "site.json"
            file.touch(mode=0o600)
            file.write_bytes(msgspec.json.encode(site))
            lock = (folder / "state" / "postgres" / "postmaster.pid").read_text()
            return await _watched(database, int(lock.split()[0]), site, file)
        finally:
            await database.close()
    finally:
        await server.stop()
        shutil.rmtree(folder)


async def _furnish(database: Database, site: Site) -> None:
    """Amphorae that serve, each a cluster of its own."""
    seal = Seal(bytes.fromhex(site.master_key))
    names = list(site.keys)
    sealed = [seal.seal(bytes.fromhex(site.keys[name]), name) for name in names]
    async with database.transaction() as connection:
        await connection.execute(
            """INSERT INTO clusters (id, provider, generation, applied_lowest)
            SELECT id, 'amphora', 1, 1 FROM unnest(%s::uuid[]) AS n (id)""",
            [names],
        )
        await connection.execute(
            """INSERT INTO amphorae
                (id, state, flavor, cluster_id, applied, lb_network_ip, heartbeat_key)
            SELECT id, 'SERVING', 'default', id, 1, '198.18.0.9', key
            FROM unnest(%s::uuid[], %s::bytea[]) AS n (id, key)""",
            [names, sealed],
        )


async def _watched(database: Database, postgres: int, site: Site, file: Path) -> Figures:
    roles = ("receiver", "generator")
    children = []
    try:
        for role in roles:
            words = (sys.executable, "-m", "bench.health", role, str(file))
            children.append(await asyncio.create_subprocess_exec(*words))
        await asyncio.sleep(WARM_UP_S)
        pids = {role: child.pid for role, child in zip(roles, children, strict=True)}
        before, dropped = _spent(pids, postgres), _dropped(site.port)
        await asyncio.sleep(WATCH_S)
        after = _spent(pids, postgres)
        percent = {
            name: round((after[name] - cpu_s) / WATCH_S * 100, 1) for name, cpu_s in before.items()
        }
        found: Figures = {f"{name}_percent": cpu for name, cpu in percent.items()}
        found["all_percent"] = round(percent["receiver"] + percent["postgres"], 1)
        found["dropped"] = _dropped(site.port) - dropped
        found |= await _counts(database)
        figures: Figures = {f"beating_{AMPHORAE}.{name}": one for name, one in found.items()}
        known: set[str] = set()
        for name, number in SIGNALS.items():
            os.kill(pids["generator"], number)
            await asyncio.sleep(FOUND_S)
            figures |= await _found(database, name, known)
        return figures
    finally:
        for child in children:
            child.terminate()
            await child.wait()


def _spent(pids: dict[str, int], postgres: int) -> dict[str, float]:
    """Seconds of processor, user and system, by what the process is."""
    backends = Path(f"/proc/{postgres}/task/{postgres}/children").read_text().split()
    spent = {role: _cpu_s(pid) for role, pid in pids.items()}
    return spent | {"postgres": sum(map(_cpu_s, (postgres, *map(int, backends))))}


def _cpu_s(pid: int) -> float:
    """Its own and that of children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def _dropped(port: int) -> int:
    """What the kernel had no room for, by its own list of sockets."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    place = f":{port:04X}"
    return sum(int(line.split()[-1]) for line in lines if line.split()[1].endswith(place))


async def _counts(database: Database) -> Figures:
    """Heartbeats of the last two seconds, and amphorae that were given up."""
    async with database.read() as connection:
        cursor = await connection.execute(
            """SELECT (SELECT count(*) FROM heartbeats
                WHERE seen_at > now() - interval '2.5 s'),
            (SELECT count(*) FROM amphorae WHERE state <> 'SERVING')"""
        )
        row = await cursor.fetchone()
    assert row is not None
    return {"fresh": row[0], "failed": row[1]}


async def _found(database: Database, name: str, known: set[str]) -> Figures:
    """Of those given up beside the known ones: from its last heartbeat until it was, each."""
    async with database.read() as connection:
        cursor = await connection.execute(
            """SELECT a.id, extract(epoch FROM a.state_since - h.seen_at)::float
            FROM amphorae a JOIN heartbeats h ON h.amphora_id = a.id WHERE a.state = 'FAILED'"""
        )
        took = {row[0]: row[1] for row in await cursor.fetchall() if row[0] not in known}
    known.update(took)
    found: Figures = {f"{name}.found": len(took)}
    for word, share in {"p50_s": 0.5, "max_s": 1.0}.items():
        found[f"{name}.{word}"] = round(percentile([*took.values()], share), 2) if took else None
    return found


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


async def _receive(site: Site) -> None:
    """All of `colonnade health`, but that no agent is asked over the network."""
    logging.configure("health", level="ERROR")
    database = await Database.connect(site.database_url, pool_max=4)
    keys = Keys(database, Seal(bytes.fromhex(site.master_key)))
    health = Health(database, keys, Nobody(), Heartbeats(), LIMITS)
    async with health.listening("127.0.0.1", site.port):
        assert health.running is not None
        await health.running


def _generate(site: Site) -> None:
    """A heartbeat of each in every second, signed as it is sent, evenly spread."""
    keys = [(UUID(name).bytes, bytes.fromhex(key)) for name, key in site.keys.items()]
    names = [name for name, _ in keys]
    silent_from: dict[bytes, float] = {}

    def fall_silent(number: int, _frame: object) -> None:
        """Some at any moment of the next seconds, or many now."""
        now, is_many = time.monotonic(), number == SIGNALS["at_once"]
        chosen, spread_s = (names[FEW : FEW + MANY], 0.0) if is_many else (names[:FEW], SPREAD_S)
        silent_from.update({name: now + random.random() * spread_s for name in chosen})

    for number in SIGNALS.values():
        signal.signal(number, fall_silent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        address = ("127.0.0.1", site.port)
        due = time.monotonic()
        while True:
            for step in range(STEPS_PER_S):
                due += 1 / STEPS_PER_S
                time.sleep(max(0.0, due - time.monotonic()))
                now = time.time_ns()
                for name, key in keys[step::STEPS_PER_S]:
                    if name in silent_from and silent_from[name] <= due:
                        continue
                    sending.sendto(_heartbeat(name, key, now), address)


def main(role: str, file: str) -> None:
    site = msgspec.json.decode(Path(file).read_bytes(), type=Site)
    if role == "receiver":
        asyncio.run(_receive(site))
    else:
        _generate(site)


if __name__ == "__main__":
    main(*sys.argv[1:])
