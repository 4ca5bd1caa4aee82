# SPDX-License-Identifier: Apache-2.0
"""The hosts of a running lab, for the demo, the benchmarks and the end-to-end tests.

It talks to the network daemon as the supervisor does, and enters namespaces as `colonnade lab
exec` does. It never touches the machine's own network.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from colonnade.cli.local import folders
from colonnade.domain.errors import NotFound, Unavailable
from colonnade.drivers.network.namespaces.client import LabClient, NetworkClient
from colonnade.drivers.network.namespaces.lab import Lab
from colonnade.drivers.network.namespaces.machines import Machine
from colonnade.drivers.network.namespaces.wire import HostWish
from colonnade.runtime.config import read_config


class Hosts:
    """Use as an async context manager on the state folder of a running system."""

    def __init__(self, state: Path) -> None:
        config = read_config(folders.config_file(state))
        credentials = config.pki_dir / "supervisor.pem", config.pki_dir / "ca.pem"
        self._lab = Lab.running(config)
        self._client = LabClient(config.network_url, *credentials)
        self._network = NetworkClient(config.network_url, *credentials)

    async def __aenter__(self) -> "Hosts":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._network.close()

    async def add(self, name: str, network: str, *, address: str = "", argv: list[str]) -> str:
        """A host that runs `argv` (nothing: it idles); its first address."""
        wish = HostWish(
            name=name,
            network=network,
            address=address or None,
            command=tuple(argv),
            directory=str(Path.cwd()),
        )
        return (await self._client.add_host(wish)).addresses[0].partition("/")[0]

    async def web_server(self, name: str, address: str = "", network: str = "private") -> str:
        """A host on that network that answers every request with its name."""
        argv = [sys.executable, "-m", "colonnade.cli.lab.http_tool", "serve", name, "80"]
        return await self.add(name, network, address=address, argv=argv)

    async def add_network(self, name: str, cidr: str, **how: Any) -> str:
        """The id of its first subnet."""
        return (await self._client.add_network(name, cidr, **how)).subnet_ids[0]

    async def remove(self, name: str) -> None:
        """The host is gone at once, with everything in it."""
        await self._client.remove_host(name)

    def enter(self, name: str) -> list[str]:
        """The words that, put before a command line, run it in the host."""
        return self._lab.enter([], netns=name)

    def enter_traffic(self, amphora_id: str) -> list[str]:
        """The same for where an amphora carries its traffic."""
        net = f"/proc/{self._machine(amphora_id).init.pid}/root/run/netns/traffic"
        return [*self._lab.enter([]), "nsenter", f"--net={net}", "--"]

    async def subnet(self, cidr: str) -> str:
        """The id of the subnet with this range."""
        for subnet in await self._network.subnets():
            if subnet.cidr == cidr:
                return subnet.id
        raise NotFound(f"the subnet {cidr} does not exist")

    async def kill_amphora(self, amphora_id: str) -> None:
        """End all of an amphora's processes at once, as a power cut would."""
        # The process is named as the lab sees it, so it is killed from inside.
        pid = self._machine(amphora_id).init.pid
        argv = self._lab.enter(["sh", "-c", f"kill -KILL {pid}"])
        process = await asyncio.create_subprocess_exec(*argv)
        if await process.wait() != 0:
            raise Unavailable(f"amphora {amphora_id} could not be killed")

    def _machine(self, amphora_id: str) -> Machine:
        record = self._lab.folder / "machines" / f"{amphora_id}.json"
        return msgspec.json.decode(record.read_bytes(), type=Machine)
