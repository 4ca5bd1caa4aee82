# SPDX-License-Identifier: Apache-2.0
"""A whole system with a load balancer under way: members, clients that notice any hurt, changes.

Members and clients are on hosts of the lab, each a process of its own. What is inside of the
amphora is read from haproxy's own sockets. It is used by the tests and by the benchmarks.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from colonnade.cli.demo.scenario import PRIVATE, PUBLIC
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import NotFound, Unavailable
from colonnade.protocol import paths
from tests.certificates import authority, made
from tests.long_lived import ECHO_PORTS, HTTP_PORTS
from tests.random_changes import Changes, Material, Tree, make

CLIENT: Final = "client"
SETTLE_S_MAX: Final = 20.0
END_S_MAX: Final = 15.0
NAMES: Final = ("web1", "web2", "web3")


class Client:
    """A process on the client's host. Use as an async context manager; then `found` is its
    last word."""

    def __init__(self, hosts: Hosts, *words: str) -> None:
        self._argv = (*hosts.enter(CLIENT), sys.executable, "-m", "tests.long_lived", *words)
        self._words = words
        self.found: dict[str, Any] = {}

    async def __aenter__(self) -> "Client":
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._argv, stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        async with asyncio.timeout(SETTLE_S_MAX):
            said = await self._process.stdout.readline()
        if said.strip() != b"open":
            await self._end()
            raise Unavailable(f"{self._words}: {said.decode()}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.found = json.loads(await self._end())

    async def _end(self) -> bytes:
        try:
            async with asyncio.timeout(END_S_MAX):
                said, _ = await self._process.communicate(b"")
        except TimeoutError:
            self._process.kill()
            said, _ = await self._process.communicate()
        return said


class Site:
    """A running load balancer of `random_changes.make`."""

    def __init__(self, system: System, rest: Rest, hosts: Hosts) -> None:
        self.system, self.rest, self.hosts = system, rest, hosts
        self.material: Material
        self.tree: Tree
        self._folder = Path()

    @property
    def vip(self) -> str:
        return str(self.tree.root["vip_address"])

    async def begin(self) -> None:
        self.material = Material(
            vip_subnet=await self.hosts.subnet(PUBLIC),
            member_subnet=await self.hosts.subnet(PRIVATE),
            hosts=[await self._server(name) for name in NAMES],
            http_ports=HTTP_PORTS,
            echo_ports=ECHO_PORTS,
            certificates=_certificates(4),
        )
        await self.hosts.add(CLIENT, "public", argv=[])
        self.tree = await make(self.rest, self.material)
        await self.settled()

    def changes(self, seed: int) -> Changes:
        return Changes(self.rest, self.tree, self.material, seed)

    def hold(self, kind: str, port: int) -> Client:
        return Client(self.hosts, "hold", kind, self.vip, str(port))

    def load(self, port: int, rate: float) -> Client:
        return Client(self.hosts, "load", self.vip, str(port), f"{rate}")

    async def settled(self) -> None:
        """Return when everything is as it was asked for, and what was deleted is gone."""
        place = f"lbaas/loadbalancers/{self.tree.root['id']}/status"

        async def nothing_is_pending() -> bool:
            return "PENDING" not in json.dumps(await self.rest.get(place))

        await until(nothing_is_pending, within_s=SETTLE_S_MAX, what="every change to be applied")

    async def processes(self) -> list[tuple[int, int]]:
        """haproxy's processes in the amphora, the master first: the pid of each, and how often
        the master has reloaded since it began."""
        lines = (await self.asked("master.sock", "show proc")).splitlines()
        rows = [line.split() for line in lines if line[:1].isdigit()]
        return [(int(row[0]), int(row[2])) for row in rows if row[1] in ("master", "worker")]

    async def reloads(self) -> int:
        return (await self.processes())[0][1]

    async def asked(self, door: str, words: str) -> str:
        """An answer of haproxy. While it reloads, its master cannot be reached for a moment."""
        said: list[str] = []

        async def answered() -> bool:
            with contextlib.suppress(OSError):
                said.append(await self._answer(door, words))
            return bool(said and said[-1])

        await until(answered, within_s=SETTLE_S_MAX, what="haproxy to answer", pause_s=0.02)
        return said[-1]

    async def _answer(self, door: str, words: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self.folder() / door)
        try:
            writer.write(f"{words}\n".encode())
            writer.write_eof()
            async with asyncio.timeout(SETTLE_S_MAX):
                return (await reader.read()).decode()
        finally:
            writer.close()

    async def _server(self, name: str) -> str:
        argv = [sys.executable, "-m", "tests.long_lived", "serve", name]
        return await self.hosts.add(name, "private", argv=argv)

    def folder(self) -> Path:
        """The agent's folder in the one amphora that runs haproxy, as it is seen from here."""
        if (self._folder / "master.sock").exists():
            return self._folder
        for pid in leftovers.family(self.system.mark):
            folder = Path(f"/proc/{pid}/root{paths.ROOT}")
            with contextlib.suppress(OSError):
                if (folder / "master.sock").exists():
                    self._folder = folder
                    return folder
        raise NotFound("no amphora of this system runs haproxy")


@contextlib.asynccontextmanager
async def hitless_site(*words: str) -> AsyncIterator[Site]:
    async with running(*words) as system, Rest(system.endpoint) as rest:
        async with Hosts(system.state) as hosts:
            site = Site(system, rest, hosts)
            await site.begin()
            yield site


async def repeated(
    change: Callable[[], Awaitable[None]],
    pause_s: float,
    enough: Callable[[], Awaitable[bool]],
) -> None:
    """One change after another, each begun `pause_s` after the one before if that is done."""
    while not await enough():
        began = time.monotonic()
        await change()
        await asyncio.sleep(max(0.0, began + pause_s - time.monotonic()))


def _certificates(count: int) -> Sequence[str]:
    ca = authority()
    return [made("www.example.org", ca).pem for _ in range(count)]
