# SPDX-License-Identifier: Apache-2.0
"""What another host of the control plane runs, beside a running system: an API, a controller and a
health process of their own configuration, at another address of the LB network.

Here both hosts are one machine: they share the network daemon, which owns all amphorae.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from colonnade.cli.local import folders, leftovers
from colonnade.cli.local.children import colonnade, tied
from colonnade.cli.local.far_database import RELAY_PATH
from colonnade.cli.local.offices import hand_out, of_office
from colonnade.cli.local.system import System, free_port
from colonnade.drivers.network.namespaces.lab import Lab
from colonnade.runtime import host_ids
from colonnade.runtime.config import RELAY, Config, LbNetwork, read_config, write_config

OFFICES: Final = ("api", "controller", "health")
ADDRESS: Final = "198.18.255.250"  # far from those that amphorae get
GO_BETWEENS: Final = ("sh", "unshare", "setpriv", "nsenter")
ADD: Final = """
import sys
from pyroute2 import IPRoute
with IPRoute() as routes:
    (link,) = [one for one in routes.get_links() if one.get_attr("IFLA_IFNAME") != "lo"]
    routes.addr("add", index=link["index"], address=sys.argv[1], prefixlen=16)
"""


class Host:
    def __init__(self, system: System) -> None:
        file = folders.config_file(system.state)
        known = read_config(file)
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.first = file
        self.file = system.state / "second.toml"
        self.config: Config = msgspec.structs.replace(
            known,
            lb_network=LbNetwork(address=ADDRESS),
            api=msgspec.structs.replace(known.api, port=port),
        )
        self._system = system
        self._lab = Lab.running(known)
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def prepare(self) -> None:
        write_config(self.file, self.config)
        hand_out(self.config, self.file)
        argv = self._lab.enter([sys.executable, "-c", ADD, ADDRESS], netns="control")
        adding = await asyncio.create_subprocess_exec(*argv)
        assert await adding.wait() == 0

    async def start(self) -> None:
        for office in OFFICES:
            words = colonnade(office, "--config", str(self.file))
            argv = of_office(office, words, self.config, self.file)
            if office != "api":
                is_root = host_ids.of(self.config.state_dir) is not None
                argv = self._lab.enter(argv, netns="control", with_rights=is_root)
            with (self.config.state_dir / "logs" / f"second-{office}.log").open("ab") as log:
                self._processes[office] = await asyncio.create_subprocess_exec(
                    *tied(argv), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                    env=self._environment(), start_new_session=True,
                )  # fmt: skip

    def of_first(self) -> list[int]:
        """The same three processes of the first host."""
        found = self._pids(self.first)
        assert len(found) == len(OFFICES), found
        return found

    def _pids(self, file: Path) -> list[int]:
        found = []
        for pid in leftovers.marked(self._system.mark):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                is_office = any(
                    f"\0{one}\0--config\0{file}\0" in "\0".join(words) for one in OFFICES
                )
                if is_office and Path(words[0]).name not in GO_BETWEENS:
                    found.append(pid)
        return found

    async def die(self) -> None:
        """All of it, at once."""
        found = self._pids(self.file)
        assert len(found) == len(OFFICES), found
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        await self._ended()

    async def end(self) -> None:
        for pid in self._pids(self.file):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._ended()

    async def _ended(self) -> None:
        for process in self._processes.values():
            await process.wait()
        self._processes.clear()

    def _environment(self) -> Mapping[str, str]:
        relay = self.config.run_dir / RELAY_PATH
        return os.environ | {leftovers.MARK: self._system.mark, RELAY: str(relay)}


@contextlib.asynccontextmanager
async def second_host(system: System) -> AsyncIterator[Host]:
    host = Host(system)
    try:
        await host.prepare()
        await host.start()
        yield host
    finally:
        await host.end()
