# SPDX-License-Identifier: Apache-2.0
"""The compute driver itself, as it runs in the daemon: an amphora is a machine of the lab.

Invariant: what an amphora is born with goes from the request's memory through a pipe to a tmpfs
of its own, and nowhere else. `destroy` returns when no process of it runs and no cable of it is
left. It does not know what the agent does.
"""

import asyncio
import io
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from colonnade.domain.errors import ColonnadeError, Invalid, OutOfCapacity
from colonnade.domain.ids import AmphoraId
from colonnade.drivers.compute.protocol import Boot, Instance, InstanceState
from colonnade.drivers.network.namespaces.address_book import LB_NETWORK
from colonnade.drivers.network.namespaces.fabric import Fabric, machine_link
from colonnade.drivers.network.namespaces.links import Leg
from colonnade.drivers.network.namespaces.machines import Machine, Machines, Start
from colonnade.drivers.network.namespaces.networks import (
    AMPHORA,
    LB_PREFIX,
    LB_SUBNET_ID,
    Networks,
)
from colonnade.drivers.network.protocol import Port
from colonnade.runtime.host_ids import OF_AN_AMPHORA, HostIds
from colonnade.runtime.system_programs import PLACES

INIT = Path(__file__).with_name("amphora-init.sh")
OUTER = Path(__file__).with_name("amphora-outer.sh")
AGENT: Final = (sys.executable, "-I", "-m", "colonnade.agent")
CONFIG_DRIVE_BYTES_MAX = 256 * 1024
HOST = "lab"


class AmphoraPlan(msgspec.Struct, frozen=True):
    """What every amphora gets: the root folder that it sees (`image.py`), the command of its agent,
    a bound for its processes, and, where root starts it, ids that are nobody else's."""

    image: Path
    processes: int
    agent: Sequence[str] = AGENT
    ids: HostIds | None = None


class Amphorae:
    name = "namespaces"

    def __init__(
        self, machines: Machines, networks: Networks, fabric: Fabric, plan: AmphoraPlan
    ) -> None:
        self._machines = machines
        self._networks = networks
        self._fabric = fabric
        self._plan = plan
        self._starting: dict[AmphoraId, asyncio.Task[None]] = {}
        self._ids: dict[AmphoraId, int] = {}  # outside ids of those that are being made

    async def create(self, boot: Boot) -> None:
        known = self._starting.get(boot.amphora_id)
        if known is None:
            known = asyncio.create_task(self._create(boot))
            self._starting[boot.amphora_id] = known
            known.add_done_callback(lambda _: self._starting.pop(boot.amphora_id, None))
        await asyncio.shield(known)

    async def instance(self, amphora_id: AmphoraId) -> Instance | None:
        machine = self._machines.find(amphora_id, AMPHORA)
        return None if machine is None else _instance(machine)

    async def instances(self) -> Sequence[Instance]:
        return [_instance(machine) for machine in self._machines.all(AMPHORA)]

    async def destroy(self, amphora_id: AmphoraId) -> None:
        starting = self._starting.get(amphora_id)
        if starting is not None:
            await asyncio.wait([starting])
        machine = self._machines.find(amphora_id, AMPHORA)
        await self._machines.destroy(amphora_id)
        if machine is not None:
            await self._fabric.detach([machine_link(machine.about["lb_port_id"])])
        await self._networks.unplug_all(amphora_id)

    async def _create(self, boot: Boot) -> None:
        found = self._machines.find(boot.amphora_id, AMPHORA)
        if found is not None and found.is_running:
            return
        port = await self._networks.port(boot.lb_port_id)
        if port.subnet_id != LB_SUBNET_ID:
            raise Invalid("the amphora's own port is not on the LB network", field="lb_port_id")
        archive = _pack(boot.config_drive)
        await self._clear_remains(boot.amphora_id, port)
        self._ids[boot.amphora_id] = self._free_id()
        try:
            newborn = await self._machines.conceive(self._start(boot))
        finally:
            del self._ids[
                boot.amphora_id
            ]  # from now on the machine's record holds it, if there is one
        addresses = (f"{port.address}/{LB_PREFIX}",)
        leg = Leg(name="lb0", mac=port.mac, addresses=addresses)
        try:
            await self._fabric.attach_amphora(newborn.machine, LB_NETWORK.name, leg)
            await self._machines.deliver(newborn, archive)
        except ColonnadeError:
            await self._machines.destroy(boot.amphora_id)
            raise

    async def _clear_remains(self, amphora_id: AmphoraId, port: Port) -> None:
        """Clear away what is left of an earlier life, and of any other user of its port."""
        await self._machines.destroy(amphora_id)
        await self._fabric.detach([machine_link(port.id)])
        await self._networks.unplug_all(amphora_id)

    def _free_id(self) -> int:
        """The first id of one that no amphora has or is being made with; 0 where there is one id
        only. Raises OutOfCapacity."""
        if self._plan.ids is None:
            return 0
        taken = {int(m.about.get("id", "0")) for m in self._machines.all(AMPHORA)}
        found = self._plan.ids.free_for_an_amphora(taken | {*self._ids.values()})
        if found is None:
            raise OutOfCapacity("this machine has no ids left for another amphora")
        return found

    def _start(self, boot: Boot) -> Start:
        first = self._ids.get(boot.amphora_id, 0)
        count = OF_AN_AMPHORA if first else 0
        processes = str(self._plan.processes)
        around = [str(self._plan.image), str(first), str(count), processes]
        return Start(
            id=boot.amphora_id,
            kind=AMPHORA,
            init=OUTER,
            arguments=[*around, str(INIT), *self._plan.agent],
            environment={
                "PATH": f"{os.environ.get('PATH', '')}:{PLACES}",
                "LANG": "C.UTF-8",
                "TMPDIR": "/run/tmp",
            },
            about={"lb_port_id": boot.lb_port_id, "id": str(first)},
            makes_network=True,
            is_bounded=True,
        )


def _instance(machine: Machine) -> Instance:
    state = InstanceState.RUNNING if machine.is_running else InstanceState.STOPPED
    return Instance(amphora_id=AmphoraId(machine.id), state=state, host=HOST)


def _pack(files: Mapping[str, str]) -> bytes:
    """A tar archive of the config drive, for its owner's eyes only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            if "/" in name or name in ("", ".", ".."):
                raise Invalid(f"{name!r} is not a file name", field="config_drive")
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    if buffer.tell() > CONFIG_DRIVE_BYTES_MAX:
        raise Invalid("the config drive is too large", field="config_drive")
    return buffer.getvalue()
