# SPDX-License-Identifier: Apache-2.0
"""How long a user waits on one running system, with real processes and real packets.

The steps are those of the demo, repeated. haproxy's own moment of seeing a member down is read
from its runtime socket, reached through /proc of a process of the amphora, every few
milliseconds; so a figure measured against it is too large by at most one such pause.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.results import Figures, percentile
from colonnade.cli.demo.scenario import CHANGES, Scenario
from colonnade.cli.demo.scenario import Figures as Measured
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import Broken, Unavailable
from colonnade.protocol.paths import HAPROXY_SOCKET

SPARES = 3
SPARES_S_MAX = 60.0
CREATES, CHANGE_ROUNDS, PUSHES, DOWNS, KILLS = 15, 3, 40, 5, 5
DETECTION_S_MAX = 15.0
PAUSE_S = 0.005
STOPPED = "0"  # haproxy's SRV_ST_STOPPED

GOALS = {
    "create_to_first_200_p50_s": "< 1",
    "create_to_first_200_p95_s": "< 2",
    "member_change_to_live_p50_ms": "< 100",
    "member_changes_failed_requests": "0",
    "member_down_after_haproxy_p50_s": "< 1",
    "member_down_after_haproxy_max_s": "< 1",
    "amphora_kill_gap_p50_s": "< 7",
    "amphora_kill_gap_max_s": "< 7",
    "leftovers": "0",
}


async def measure() -> Figures:
    async with running("--spares", str(SPARES)) as system:
        async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            bench = Bench(system, rest, hosts)
            figures = {
                **await bench.creates(),
                **await bench.changes(),
                **await bench.pushes(),
                **await bench.downs(),
                **await bench.kills(),
            }
    return {**figures, "leftovers": len(system.left)}


class Bench:
    """What is measured, in its order: `creates` leaves the load balancer that the others use."""

    def __init__(self, system: System, rest: Rest, hosts: Hosts) -> None:
        self._system = system
        self._rest = rest
        self._scenario = Scenario(rest, hosts, Measured())
        self._lab = hosts

    async def creates(self) -> Figures:
        await self._scenario.hosts()
        took, deleted = [], []
        for number in range(CREATES):
            await self._spares()
            await self._scenario.create()
            took.append(_known(self._scenario.figures.create_to_first_200_s))
            if number < CREATES - 1:
                await self._scenario.delete()
                deleted.append(_known(self._scenario.figures.delete_s))
        return _spread("create_to_first_200", "s", took) | _spread("delete", "s", deleted)

    async def changes(self) -> Figures:
        await self._spares()
        figures, requests, failed = self._scenario.figures, 0, 0
        for _ in range(CHANGE_ROUNDS):
            with contextlib.suppress(Broken):  # what failed is counted
                await self._scenario.member_changes()
            requests += figures.requests_during_member_changes or 0
            failed += figures.failed_requests_during_member_changes or 0
        return {
            **_spread("member_change_to_live", "ms", self._scenario.changes_ms),
            "member_changes": CHANGE_ROUNDS * CHANGES,
            "member_changes_requests": requests,
            "member_changes_failed_requests": failed,
        }

    async def pushes(self) -> Figures:
        """From the answer to a PUT of a member's weight to the moment it is ACTIVE."""
        member = self._scenario.member_ids["web1"]
        place = f"lbaas/pools/{self._scenario.pool}/members/{member}"
        answered, applied = [], []
        for number in range(PUSHES):
            began = time.perf_counter()
            await self._rest.put(place, {"member": {"weight": 1 + number % 2}})
            asked = time.perf_counter()
            await until(lambda: self._is_active(place), within_s=10, what=place, pause_s=PAUSE_S)
            answered.append((asked - began) * 1000)
            applied.append((time.perf_counter() - asked) * 1000)
        return _spread("member_put_answered", "ms", answered) | _spread(
            "member_put_to_active", "ms", applied
        )

    async def downs(self) -> Figures:
        member = self._scenario.member_ids["web2"]
        place = f"lbaas/pools/{self._scenario.pool}/members/{member}"
        console = self._console()
        whole, after = [], []

        async def haproxy_says() -> bool:
            return await _state_of(console, member) == STOPPED

        async def api_says() -> bool:
            answer = await self._rest.get(place)
            return bool(answer["member"]["operating_status"] == "ERROR")

        for _ in range(DOWNS):
            killed = time.perf_counter()
            await self._lab.remove("web2")
            seen, told = await asyncio.gather(
                _moment(haproxy_says, "haproxy to see it"), _moment(api_says, "the API to tell")
            )
            whole.append(told - killed)
            after.append(max(0.0, told - seen))
            await self._scenario.server_up()
        return _spread("member_down", "s", whole) | _spread("member_down_after_haproxy", "s", after)

    async def kills(self) -> Figures:
        gaps = []
        for _ in range(KILLS):
            await self._spares()
            await self._scenario.amphora_killed()
            gaps.append(_known(self._scenario.figures.amphora_kill_gap_s))
        await self._scenario.delete()
        return _spread("amphora_kill_gap", "s", gaps)

    async def _spares(self) -> None:
        async def ready() -> bool:
            answer = await self._rest.get("octavia/amphorae?status=READY")
            return len(answer["amphorae"]) >= SPARES

        await until(ready, within_s=SPARES_S_MAX, what=f"{SPARES} spares", pause_s=0.1)

    async def _is_active(self, place: str) -> bool:
        answer = await self._rest.get(place)
        return bool(answer["member"]["provisioning_status"] == "ACTIVE")

    def _console(self) -> Path:
        """The runtime socket of the one haproxy that runs, as it is seen from here."""
        for pid in leftovers.family(self._system.mark):
            socket = Path(f"/proc/{pid}/root{HAPROXY_SOCKET}")
            with contextlib.suppress(OSError):
                if socket.exists():
                    return socket
        raise Unavailable("no amphora of this system runs haproxy")


async def _state_of(console: Path, server: str) -> str:
    """haproxy's operational state of a server. It is asked on a connection of its own."""
    reader, writer = await asyncio.open_unix_connection(console)
    try:
        writer.write(b"show servers state\n")
        answer = (await reader.read()).decode()
    finally:
        writer.close()
    rows = (line.split() for line in answer.splitlines())
    return next((row[5] for row in rows if len(row) > 5 and row[3] == server), "")


async def _moment(fact: Callable[[], Awaitable[bool]], what: str) -> float:
    await until(fact, within_s=DETECTION_S_MAX, what=what, pause_s=PAUSE_S)
    return time.perf_counter()


def _known(figure: float | None) -> float:
    assert figure is not None, "a step that returned has noted its figure"
    return figure


def _spread(name: str, unit: str, took: list[float]) -> Figures:
    places = 1 if unit == "ms" else 3
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {
        f"{name}_{word}_{unit}": round(percentile(took, share), places)
        for word, share in shares.items()
    }


if __name__ == "__main__":
    print(asyncio.run(measure()))
