# SPDX-License-Identifier: Apache-2.0
"""The promises of `ComputeDriver`, asked of the fake and of the daemon in a lab of its own.

The real amphorae run a placeholder instead of the agent: what an amphora runs is not a promise
of the compute driver.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec
import pytest

from colonnade.domain.errors import NotFound
from colonnade.domain.ids import AmphoraId, PortId, new_id
from colonnade.drivers.compute.protocol import Boot, ComputeDriver, InstanceState
from colonnade.drivers.network.protocol import NetworkDriver, PortWish
from colonnade.protocol import birth
from tests.fakes.compute import FakeCompute
from tests.fakes.network import FakeNetwork
from tests.lab_site import Site, site, why_impossible


class World(msgspec.Struct, frozen=True):
    network: NetworkDriver
    compute: ComputeDriver
    cut_power: Callable[[AmphoraId], None]


@pytest.fixture(scope="module")
def real() -> Iterator[Site]:
    if reason := why_impossible():
        pytest.skip(reason)
    with site() as made:
        yield made


@pytest.fixture(params=["fake", "namespaces"])
def kind(request: pytest.FixtureRequest) -> str:
    """Of the driver. Each is made below, with what its world needs."""
    found: str = request.param
    return found


@pytest.fixture
def lab(request: pytest.FixtureRequest, kind: str) -> Site | None:
    return request.getfixturevalue("real") if kind == "namespaces" else None


@pytest.fixture
async def world(kind: str, lab: Site | None) -> AsyncIterator[World]:
    if kind == "fake":
        network = FakeNetwork()
        fake = FakeCompute(network)
        yield World(network, fake, fake.kill)
        return
    assert lab is not None
    networks, compute = lab.networks(), lab.compute()
    yield World(networks, compute, lab.cut_power)
    for instance in await compute.instances():
        await compute.destroy(instance.amphora_id)
    await networks.close()
    await compute.close()


async def wished(world: World) -> Boot:
    amphora_id = AmphoraId(new_id())
    wish = PortWish(
        id=PortId(new_id()),
        owner=f"amphora:{amphora_id}",
        subnet_id=(await world.network.lb_subnet()).id,
    )
    port = await world.network.create_port(wish)
    drive = dict.fromkeys(birth.NEEDED, "") | {"agent.json": '{"key": "not to be told"}'}
    return Boot(amphora_id=amphora_id, lb_port_id=port.id, config_drive=drive)


async def state(world: World, amphora_id: AmphoraId) -> InstanceState | None:
    found = await world.compute.instance(amphora_id)
    return None if found is None else found.state


async def test_a_created_amphora_runs_and_is_listed(world: World) -> None:
    boot = await wished(world)
    assert await world.compute.instance(boot.amphora_id) is None
    await world.compute.create(boot)
    found = await world.compute.instance(boot.amphora_id)
    assert found is not None
    assert found.state is InstanceState.RUNNING
    assert found.host
    assert found in await world.compute.instances()


async def test_creating_again_and_at_once_makes_one(world: World) -> None:
    boot = await wished(world)
    await asyncio.gather(*(world.compute.create(boot) for _ in range(3)))
    await world.compute.create(boot)
    ids = [instance.amphora_id for instance in await world.compute.instances()]
    assert ids.count(boot.amphora_id) == 1


async def test_an_amphora_needs_its_port(world: World) -> None:
    boot = msgspec.structs.replace(await wished(world), lb_port_id=PortId(new_id()))
    with pytest.raises(NotFound):
        await world.compute.create(boot)
    assert await world.compute.instance(boot.amphora_id) is None


async def test_nothing_is_left_of_a_destroyed_amphora(world: World) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    await asyncio.gather(*(world.compute.destroy(boot.amphora_id) for _ in range(3)))
    assert await world.compute.instance(boot.amphora_id) is None
    assert boot.amphora_id not in {i.amphora_id for i in await world.compute.instances()}
    await world.compute.destroy(boot.amphora_id)


async def test_destroying_what_never_was_is_nothing(world: World) -> None:
    await world.compute.destroy(AmphoraId(new_id()))


async def test_a_dead_amphora_is_stopped_until_destroyed(world: World) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    world.cut_power(boot.amphora_id)
    assert await state(world, boot.amphora_id) is InstanceState.STOPPED
    assert boot.amphora_id in {i.amphora_id for i in await world.compute.instances()}
    await world.compute.destroy(boot.amphora_id)
    assert await state(world, boot.amphora_id) is None


async def test_a_dead_amphora_can_be_created_again(world: World) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    world.cut_power(boot.amphora_id)
    await world.compute.create(boot)
    assert await state(world, boot.amphora_id) is InstanceState.RUNNING


async def test_what_an_amphora_is_born_with_is_not_shown(world: World) -> None:
    boot = await wished(world)
    assert "not to be told" not in repr(boot)


async def test_a_seat_runs_as_long_as_the_amphora_that_carries_it(world: World) -> None:
    carrier, other = await wished(world), await wished(world)
    seat = msgspec.structs.replace(other, carrier_id=carrier.amphora_id, config_drive={})
    with pytest.raises(NotFound):
        await world.compute.create(seat)
    await world.compute.create(carrier)
    await world.compute.create(seat)
    await world.compute.create(seat)
    assert await state(world, seat.amphora_id) is InstanceState.RUNNING
    assert seat.amphora_id in {i.amphora_id for i in await world.compute.instances()}
    await world.compute.destroy(seat.amphora_id)
    assert await state(world, seat.amphora_id) is None
    assert await state(world, carrier.amphora_id) is InstanceState.RUNNING
    await world.compute.create(seat)
    world.cut_power(carrier.amphora_id)
    assert await state(world, seat.amphora_id) is InstanceState.STOPPED
    await world.compute.destroy(carrier.amphora_id)
    assert await state(world, seat.amphora_id) is InstanceState.STOPPED
    await world.compute.destroy(seat.amphora_id)
    assert await state(world, seat.amphora_id) is None
