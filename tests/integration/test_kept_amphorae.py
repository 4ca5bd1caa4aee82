# SPDX-License-Identifier: Apache-2.0
"""What the network daemon keeps of amphorae, and what of that is back after a boot of the machine:
the lab with everything in it is ended, and only the daemon is started again.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from colonnade.domain.errors import NotFound
from colonnade.domain.ids import AmphoraId, PortId, new_id
from colonnade.drivers.compute.namespaces.client import ComputeClient
from colonnade.drivers.compute.protocol import Boot, InstanceState
from colonnade.drivers.network.namespaces.address_book import PUBLIC, subnet_id
from colonnade.drivers.network.namespaces.client import NetworkClient
from colonnade.drivers.network.protocol import Port, PortWish
from colonnade.protocol import paths
from tests.lab_site import Site, until, why_impossible

SERVED = "what it serves"


class Machine(Site):
    """One that is booted."""

    @property
    def folder_of_kept(self) -> Path:
        return self.config.state_dir / "network/amphorae"

    def kept(self, amphora_id: AmphoraId) -> str:
        return (self.folder_of_kept / f"{amphora_id}.json").read_text()

    def is_kept(self, amphora_id: AmphoraId) -> bool:
        return (self.folder_of_kept / f"{amphora_id}.json").exists()

    async def boot(self) -> None:
        await self.end()
        await self.begin()

    def inside(self, amphora_id: AmphoraId, *argv: str) -> str:
        """What the command says, as root of the amphora's own namespaces, in its folder."""
        kinds = ("--user", "--mount", "--root", f"--wdns={paths.ROOT}")
        target = f"--target={self.machine_pid(amphora_id)}"
        return self.run("nsenter", target, *kinds, "--", *argv)

    def becomes(self, amphora_id: AmphoraId, text: str) -> None:
        """As its agent does when it serves another bundle."""
        script = f"printf %s '{text}' >draft && mv draft {paths.PRESENT}"
        self.inside(amphora_id, "sh", "-c", script)

    def links(self, amphora_id: AmphoraId) -> str:
        return self.run_in_traffic(amphora_id, "cat", "/proc/net/dev")


class World:
    def __init__(self, machine: Machine, networks: NetworkClient, compute: ComputeClient) -> None:
        self.machine = machine
        self.networks = networks
        self.compute = compute

    async def amphora(self) -> AmphoraId:
        amphora_id = AmphoraId(new_id())
        lb = (await self.networks.lb_subnet()).id
        wish = PortWish(id=PortId(new_id()), owner=f"amphora:{amphora_id}", subnet_id=lb)
        port = await self.networks.create_port(wish)
        drive = {"agent.json": "{}", "agent.pem": "the first"}
        await self.compute.create(
            Boot(amphora_id=amphora_id, lb_port_id=port.id, config_drive=drive)
        )
        return amphora_id

    async def vip(self, into: AmphoraId) -> Port:
        subnet = subnet_id(PUBLIC.name, PUBLIC.cidrs[0])
        port = await self.networks.create_port(
            PortWish(id=PortId(new_id()), owner=f"lb:{new_id()}", subnet_id=subnet)
        )
        return await self.networks.plug(port.id, into)

    async def states(self) -> dict[AmphoraId, InstanceState]:
        return {one.amphora_id: one.state for one in await self.compute.instances()}


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    if reason := why_impossible():
        pytest.skip(reason)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    machine = Machine(folder)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.push_async_callback(machine.end)
        await machine.begin()
        networks, compute = machine.networks(), machine.compute()
        stack.push_async_callback(networks.close)
        stack.push_async_callback(compute.close)
        yield World(machine, networks, compute)


async def test_after_a_boot_amphorae_are_back_with_what_they_had_become(world: World) -> None:
    machine = world.machine
    one, other, gone = [await world.amphora() for _ in range(3)]
    own, moved = await world.vip(one), await world.vip(one)
    await world.networks.plug(moved.id, other)
    await world.compute.destroy(gone)
    assert not machine.is_kept(gone)
    machine.becomes(one, SERVED)
    machine.inside(one, "sh", "-c", "printf renewed >draft && mv draft config/agent.pem")
    await asyncio.to_thread(until, lambda: "renewed" in machine.kept(one), 20, "both to be kept")
    assert SERVED in machine.kept(one)

    await machine.boot()
    running = InstanceState.RUNNING
    assert await world.states() == {one: running, other: running}
    # It finds the bundle by another name: it is not served yet.
    script = f"cat {paths.KEPT} config/agent.pem config/agent.json"
    until(lambda: machine.inside(one, "sh", "-c", f"{script} || :"), 10, "its files")
    assert machine.inside(one, "sh", "-c", script) == SERVED + "renewed" + "{}"
    assert machine.inside(other, "ls", "-A").split() == ["config"]
    # Each port is where the book says, and nowhere else.
    ports = {own.id: one, moved.id: other}
    for port_id, amphora_id in ports.items():
        assert (await world.networks.port(port_id)).plugged_into == amphora_id
    assert [machine.links(one).count("v-"), machine.links(other).count("v-")] == [1, 1]
    # What was not served before the next boot is not lost by it.
    await machine.boot()
    assert await world.states() == {one: running, other: running}
    assert SERVED in machine.kept(one)
    await world.compute.destroy(one)
    await machine.boot()
    assert await world.states() == {other: running}
    assert (await world.networks.port(own.id)).plugged_into is None


async def test_what_an_amphora_leads_to_outside_is_not_kept(world: World) -> None:
    machine = world.machine
    one = await world.amphora()
    secret = machine.folder / "secret"
    secret.write_text("of the machine")
    tries = (
        f"ln -sf {secret} {paths.PRESENT}",
        f"rm {paths.PRESENT}; mkfifo {paths.PRESENT}",
        f"rm {paths.PRESENT}; mkdir counters; mv counters {paths.PRESENT}",
        f"rmdir {paths.PRESENT}; head -c 20000000 /dev/zero >draft; mv draft {paths.PRESENT}",
    )
    for script in tries:
        machine.inside(one, "sh", "-c", script)
        # A look after it: what is right is kept again, however it was before.
        machine.inside(one, "sh", "-c", f"printf '{tries.index(script)}.' >c; mv c config/ca.pem")
        seen = f"{tries.index(script)}."
        await asyncio.to_thread(until, lambda: seen in machine.kept(one), 30, "a look")  # noqa: B023
        assert paths.KEPT not in machine.kept(one)
        assert "of the machine" not in machine.kept(one)
    # Nor is a port plugged into what it calls its namespace.
    machine.inside(one, "sh", "-c", "mv /run/netns /run/former; mkdir /run/netns")
    machine.inside(one, "ln", "-s", "/proc/1/ns/net", "/run/netns/traffic")
    with pytest.raises(Exception, match="has just ended"):
        await world.vip(one)


async def test_one_that_cannot_be_started_again_is_there_until_it_is_destroyed(
    world: World,
) -> None:
    machine = world.machine
    one = await world.amphora()
    (lb_port,) = [p for p in await world.networks.ports() if p.owner == f"amphora:{one}"]
    await machine.end()
    (machine.config.state_dir / f"network/ports/{lb_port.id}.json").unlink()
    await machine.begin()
    assert await world.states() == {one: InstanceState.STOPPED}
    found = await world.compute.instance(one)
    assert found is not None and found.state is InstanceState.STOPPED
    await world.compute.destroy(one)
    assert await world.states() == {}
    assert not machine.is_kept(one)
    with pytest.raises(NotFound):
        await world.networks.port(lb_port.id)
