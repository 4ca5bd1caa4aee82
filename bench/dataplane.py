# SPDX-License-Identifier: Apache-2.0
"""What the data plane costs: through an amphora, beside the same haproxy configured by hand.

Both haproxies run in the amphora's own traffic namespace, on the same VIP and with the same
members, which are haproxies too that answer by themselves; they are asked in turn, by a client
that waits for each answer. Then changes are made at random for a minute under load, and one by
one on pools of growing size; and listeners are added, to see what memory they take.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median

import msgspec

from bench.dataplane_growth import latencies, memories
from bench.results import Figures
from colonnade.cli.demo.operator_calls import allocated
from colonnade.cli.local import leftovers
from colonnade.cli.waiting import until
from colonnade.domain.errors import Broken
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.hitless import CLIENT, Site, hitless_site, repeated
from tests.random_changes import Changes

ROUNDS, ROUND_S, CONNECTIONS = 5, 2.0, 16
START_S_MAX = 10.0
HITLESS_S, HITLESS_PAUSE_S, HITLESS_RATE = 60.0, 0.1, 80.0
HELD = (("websocket", 80), ("slow", 443), ("tcp", 7000))
SEED = 1
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
PLACES = {"http": (80, 8080), "tls": (443, 8443)}  # ours, the one by hand
SETTINGS = """global
    nbthread 2
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
"""
GOALS = {
    "hitless.failed_requests": "0",
    "hitless.broken_connections": "0",
    "leftovers": "0",
}


class Round(msgspec.Struct, frozen=True):
    """What one client saw, and the processor time that haproxy took for a request."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float = 0.0


async def measure() -> Figures:
    figures: Figures = {}
    async with hitless_site() as site:
        figures |= await ratios(site)
        figures |= await hitless(site)
    left = list(site.system.left)
    async with hitless_site() as site:
        figures |= await latencies(site)
    left += site.system.left
    async with hitless_site() as site:
        figures |= await memories(site)
    left += site.system.left
    return {**figures, "leftovers": len(left)}


async def ratios(site: Site) -> Figures:
    """Requests a second, latency and processor time, ours divided by that of the other."""
    figures: Figures = {}
    async with by_hand(site) as other:
        ours = haproxies(site, "master.sock")
        for protocol, places in PLACES.items():
            for way in ("keep", "fresh"):
                rounds: tuple[list[Round], list[Round]] = ([], [])
                for number in range(2 * ROUNDS):
                    which = (number + number // 2) % 2  # so that neither is always the first
                    pids = (ours, other)[which]
                    rounds[which].append(await asked(site, places[which], way, pids))
                figures |= _compared(f"{protocol}_{way}", *rounds)
    return figures


def _compared(name: str, ours: Sequence[Round], other: Sequence[Round]) -> Figures:
    """Medians; a ratio is the median of those of each pair, which were asked side by side."""
    figures: Figures = {}
    for word, places in (("per_s", 0), ("p50_ms", 2), ("p99_ms", 2), ("cpu_us", 1)):
        pairs = [(getattr(m, word), getattr(t, word)) for m, t in zip(ours, other, strict=True)]
        figures[f"{name}.{word}"] = round(median(mine for mine, _ in pairs), places)
        figures[f"{name}.by_hand_{word}"] = round(median(theirs for _, theirs in pairs), places)
        figures[f"{name}.{word}_ratio"] = round(median(m / t for m, t in pairs), 3)
    return figures


async def asked(site: Site, port: int, way: str, pids: Sequence[int]) -> Round:
    words = (site.vip, str(port), f"{ROUND_S}", str(CONNECTIONS), way)
    argv = (*site.hosts.enter(CLIENT), sys.executable, "-m", "bench.closed_loop", *words)
    before = cpu_us(pids)
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise Broken(f"the client of port {port} ended with {process.returncode}")
    found = msgspec.json.decode(said, type=Round)
    return msgspec.structs.replace(found, cpu_us=(cpu_us(pids) - before) / found.requests)


@contextlib.asynccontextmanager
async def by_hand(site: Site) -> AsyncIterator[list[int]]:
    """A second haproxy beside the amphora's own, and fast members for both; its processes."""
    addresses = [await fast_member(site, f"fast{number}") for number in (1, 2)]
    await use(site, addresses)
    folder = site.system.state / "by-hand"
    folder.mkdir()
    (folder / "site.pem").write_text(site.material.certificates[0])
    (folder / "haproxy.cfg").write_text(
        f"{SETTINGS}frontend web\n    bind {site.vip}:8080\n"
        f"    bind {site.vip}:8443 ssl crt {folder}/site.pem\n    default_backend pool\n"
        "backend pool\n    balance roundrobin\n"
        + "".join(f"    server s{n} {address}:80\n" for n, address in enumerate(addresses))
    )
    (amphora,) = await allocated(site.rest, site.tree.root["id"])
    config = str(folder / "haproxy.cfg")
    process = await asyncio.create_subprocess_exec(
        *site.hosts.enter_traffic(amphora["id"]), find_haproxy(), "-db", "-f", config,
        stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    pids: list[int] = []

    async def runs() -> bool:
        if process.returncode is not None:
            raise Broken("the haproxy that is configured by hand does not start")
        pids[:] = _running(config)
        return bool(pids)

    try:
        await until(runs, within_s=START_S_MAX, what="the haproxy that is configured by hand")
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        await process.wait()
        await use(site, [])


async def fast_member(site: Site, name: str) -> str:
    file = site.system.state / f"{name}.cfg"
    file.write_text(
        f"{SETTINGS}frontend web\n    bind :::80 v4v6\n"
        f'    http-request return status 200 content-type text/plain string "{name * 20}"\n'
    )
    return await site.hosts.add(name, "private", argv=[find_haproxy(), "-db", "-f", str(file)])


async def use(site: Site, addresses: Sequence[str]) -> None:
    """Have these as the members of the pool, or the ones that were there at first."""
    subnet = site.material.member_subnet
    pool = site.tree.pools[0]
    wanted = [(address, 80) for address in addresses] or list(pool.members)
    members = [
        {"address": address, "protocol_port": port, "subnet_id": subnet} for address, port in wanted
    ]
    await site.rest.put(f"lbaas/pools/{pool.id}/members", {"members": members})
    await site.settled()
    if not addresses:
        found = await site.rest.get(f"lbaas/pools/{pool.id}/members")
        for one in found["members"]:
            pool.members[one["address"], one["protocol_port"]].id = one["id"]


async def hitless(site: Site) -> Figures:
    """A random valid change every 100 ms, for a minute under load."""
    changes = site.changes(SEED)
    held = [site.hold(kind, port) for kind, port in HELD]
    loads = [site.load(port, HITLESS_RATE) for port in (80, 443)]
    async with contextlib.AsyncExitStack() as under_way:
        for client in (*held, *loads):
            await under_way.enter_async_context(client)
        reloads = await site.reloads()
        await _changed(changes)
        await site.settled()
        reloads = await site.reloads() - reloads
        old_workers = len(await site.processes()) - 2
    why = [one["why"] for load in loads for one in load.found["failures"]]
    why += [client.found["why"] for client in held if client.found["why"]]
    for words in why:
        sys.stderr.write(f"{words}\n")
    return {
        "hitless.changes": sum(changes.done.values()),
        "hitless.reloads": reloads,
        "hitless.old_workers_at_the_end": old_workers,
        "hitless.requests": sum(load.found["requests"] for load in loads),
        "hitless.failed_requests": sum(load.found["failed"] for load in loads),
        "hitless.connections_held": len(held),
        "hitless.broken_connections": sum(bool(client.found["why"]) for client in held),
        "hitless.http_p99_ms": loads[0].found["p99_ms"],
        "hitless.tls_p99_ms": loads[1].found["p99_ms"],
    }


async def _changed(changes: Changes) -> None:
    ends = time.monotonic() + HITLESS_S

    async def over() -> bool:
        return time.monotonic() > ends

    await repeated(changes.one, HITLESS_PAUSE_S, over)


def haproxies(site: Site, word: str) -> list[int]:
    """The system's haproxies with this in their command line."""
    return sorted(set(_running(word)) & set(leftovers.family(site.system.mark)))


def cpu_us(pids: Sequence[int]) -> int:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_US


def _running(word: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "haproxy" in Path(words[0]).name and any(word in one for one in words):
                found.append(int(place.name))
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure()), indent=1))
