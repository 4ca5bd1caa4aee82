# SPDX-License-Identifier: Apache-2.0
"""The compute driver itself, as it runs in the daemon: an amphora is a machine of the lab.

Invariant: what an amphora is born with goes from the request's memory through a pipe to a tmpfs
of its own, and to what is kept of it (`kept.py`), nowhere else. `destroy` returns when no process
of it runs, no cable of it is left and nothing of it is kept. It does not know what the agent does.
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
import structlog

from colonnade.domain.errors import (
    ColonnadeError,
    Invalid,
    NotFound,
    OutOfCapacity,
    Unavailable,
)
from colonnade.domain.ids import AmphoraId
from colonnade.drivers.compute.namespaces.coming_back import plug_again, seats_back, serving
from colonnade.drivers.compute.namespaces.kept import LOOK_S, REST, Kept, id_of, seats_of
from colonnade.drivers.compute.protocol import Boot, Instance, InstanceState
from colonnade.drivers.network.namespaces.address_book import LB_NETWORK
from colonnade.drivers.network.namespaces.fabric import Fabric, machine_link
from colonnade.drivers.network.namespaces.links import Leg
from colonnade.drivers.network.namespaces.machines import (
    SEAT,
    Machine,
    Machines,
    Newborn,
    Start,
)
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
RESTORED_AT_ONCE = 8
BACK_S_MAX = 20.0  # so long those that are back are waited for
log = structlog.get_logger()


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
        self, machines: Machines, networks: Networks, fabric: Fabric, plan: AmphoraPlan, kept: Kept
    ) -> None:
        self._machines = machines
        self._networks = networks
        self._fabric = fabric
        self._plan = plan
        self._kept = kept
        self._starting: dict[AmphoraId, asyncio.Task[None]] = {}
        self._ids: dict[AmphoraId, int] = {}  # outside ids of those that are being made

    async def create(self, boot: Boot) -> None:
        if boot.carrier_id is not None:
            self.seat(boot.amphora_id, boot.carrier_id)
            return
        known = self._starting.get(boot.amphora_id)
        if known is None:
            known = asyncio.create_task(self._create(boot))
            self._starting[boot.amphora_id] = known
            known.add_done_callback(lambda _: self._starting.pop(boot.amphora_id, None))
        await asyncio.shield(known)

    def seat(self, seat_id: AmphoraId, carrier_id: AmphoraId) -> None:
        """Raises NotFound, or Unavailable when the amphora does not run."""
        carrier = self._machines.find(carrier_id, AMPHORA)
        if carrier is None:
            raise NotFound(f"there is no amphora {carrier_id}")
        if not carrier.is_running:
            raise Unavailable(f"amphora {carrier_id} is not running")
        self._machines.seat(carrier, seat_id)

    async def instance(self, amphora_id: AmphoraId) -> Instance | None:
        for kind in (AMPHORA, SEAT):
            machine = self._machines.find(amphora_id, kind)
            if machine is not None:
                return _instance(machine)
        return _only_kept(amphora_id) if amphora_id in self.returning() else None

    async def instances(self) -> Sequence[Instance]:
        found = [_instance(m) for kind in (AMPHORA, SEAT) for m in self._machines.all(kind)]
        return [*found, *map(_only_kept, self.returning())]

    async def destroy(self, amphora_id: AmphoraId) -> None:
        """Of a seat: it is cut off, which is all that matters to others on its amphora."""
        await self._networks.unplug_all(amphora_id)  # some cables can only be cut from within
        await self._forget_seat(amphora_id)
        starting = self._starting.get(amphora_id)
        if starting is not None:
            await asyncio.wait([starting])
        await self._kept.forget(amphora_id)
        machine = self._machines.find(amphora_id, AMPHORA)
        await self._machines.destroy(amphora_id)
        if machine is not None:
            await self._fabric.detach([machine_link(machine.about["lb_port_id"])])
        for user in (amphora_id, *self._machines.seats(amphora_id)):
            await self._networks.unplug_all(AmphoraId(user))

    def returning(self) -> set[AmphoraId]:
        """Those that are kept and do not run: the machine was booted, or the lab made anew."""
        return self._kept.ids - {AmphoraId(m.id) for m in self._machines.all(AMPHORA)}

    def users_returning(self) -> set[AmphoraId]:
        """Those, and the seats on them."""
        boots = [boot for one in self.returning() if (boot := self._kept.read(one)) is not None]
        return {one for boot in boots for one in (boot.amphora_id, *map(AmphoraId, seats_of(boot)))}

    async def restore(self) -> None:
        """Start those again, with the cables that the book says they have, and wait until they
        serve, if that is soon. Call it before anybody may ask for them: who misses one replaces it.
        """
        turns = asyncio.Semaphore(RESTORED_AT_ONCE)
        deadline = asyncio.get_running_loop().time() + BACK_S_MAX
        await asyncio.gather(*(self._restore(one, turns, deadline) for one in self.returning()))

    async def keep(self) -> None:
        """Keep up with what they become, until cancelled; and once more then."""
        try:
            while True:
                took_s = await self._kept.look(self._machines.all(AMPHORA))
                await asyncio.sleep(max(LOOK_S, REST * took_s))
        finally:
            await self._kept.look(self._machines.all(AMPHORA), at_last=True)

    async def _create(self, boot: Boot) -> None:
        found = self._machines.find(boot.amphora_id, AMPHORA)
        if found is not None and found.is_running:
            return
        port = await self._lb_port(boot)
        below_root = msgspec.structs.replace(boot, config_drive=_below_root(boot.config_drive))
        archive = _pack(below_root.config_drive)
        await self._clear_remains(boot.amphora_id, port)
        await self._deliver(await self._conceive(boot, port), archive)
        await self._kept.begin(below_root)

    async def _restore(
        self, amphora_id: AmphoraId, turns: asyncio.Semaphore, deadline: float
    ) -> None:
        boot = self._kept.read(amphora_id)
        if boot is None:
            return
        try:
            async with turns:
                port = await self._lb_port(boot)
                await self._fabric.detach([machine_link(port.id)])
                newborn = await self._conceive(boot, port)
                await plug_again(self._networks, amphora_id)
                await self._deliver(newborn, _pack(boot.config_drive))
        except (ColonnadeError, OSError) as error:  # the others come back all the same
            said = str(error) or type(error).__name__
            log.error("an amphora is not back", amphora_id=amphora_id, error=said)
            await self._machines.destroy(amphora_id)
            return
        log.info("an amphora is back", amphora_id=amphora_id)
        if self._plan.agent == AGENT:
            seats, found = seats_of(boot), newborn.machine
            await seats_back(found, seats, self._machines, self._networks, deadline)
            await serving(found, boot, deadline)

    async def _forget_seat(self, seat_id: AmphoraId) -> None:
        seat = self._machines.find(seat_id, SEAT)
        self._machines.forget_seat(seat_id)
        carrier = self._machines.find(seat.about["carrier"], AMPHORA) if seat else None
        if carrier is not None:
            await self._kept.look([carrier], at_last=True)  # without it

    async def _lb_port(self, boot: Boot) -> Port:
        port = await self._networks.port(boot.lb_port_id)
        if port.subnet_id != LB_SUBNET_ID:
            raise Invalid("the amphora's own port is not on the LB network", field="lb_port_id")
        return port

    async def _conceive(self, boot: Boot, port: Port) -> Newborn:
        """With its leg on the LB network; it does nothing yet."""
        self._ids[boot.amphora_id] = self._free_id()
        try:
            newborn = await self._machines.conceive(self._start(boot))
        finally:
            # From now on the machine's record holds it, if there is one.
            del self._ids[boot.amphora_id]
        addresses = (f"{port.address}/{LB_PREFIX}",)
        leg = Leg(name="lb0", mac=port.mac, addresses=addresses)
        try:
            await self._fabric.attach_amphora(newborn.machine, LB_NETWORK.name, leg)
        except ColonnadeError:
            await self._machines.destroy(boot.amphora_id)
            raise
        return newborn

    async def _deliver(self, newborn: Newborn, archive: bytes) -> None:
        try:
            await self._machines.deliver(newborn, archive)
        except ColonnadeError:
            await self._machines.destroy(newborn.machine.id)
            raise

    async def _clear_remains(self, amphora_id: AmphoraId, port: Port) -> None:
        """Clear away what is left of an earlier life, and of any other user of its port."""
        await self._kept.forget(amphora_id)
        await self._machines.destroy(amphora_id)
        await self._fabric.detach([machine_link(port.id)])
        await self._networks.unplug_all(amphora_id)

    def _free_id(self) -> int:
        """The first id of one that no amphora has or is being made with; 0 where there is one id
        only. Raises OutOfCapacity."""
        if self._plan.ids is None:
            return 0
        taken = {id_of(m) for m in self._machines.all(AMPHORA)}
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


def _only_kept(amphora_id: AmphoraId) -> Instance:
    return Instance(amphora_id=amphora_id, state=InstanceState.STOPPED, host=HOST)


def _below_root(config_drive: Mapping[str, str]) -> Mapping[str, str]:
    """The files by their paths below the folder of an amphora. Raises Invalid."""
    for name in config_drive:
        if "/" in name or name in ("", ".", ".."):
            raise Invalid(f"{name!r} is not a file name", field="config_drive")
    if sum(len(text.encode()) for text in config_drive.values()) > CONFIG_DRIVE_BYTES_MAX:
        raise Invalid("the config drive is too large", field="config_drive")
    return {f"config/{name}": text for name, text in config_drive.items()}


def _pack(files: Mapping[str, str]) -> bytes:
    """A tar archive of an amphora's files, for its owner's eyes only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
