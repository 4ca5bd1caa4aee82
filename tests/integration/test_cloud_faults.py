# SPDX-License-Identifier: Apache-2.0
"""Each call to Nova and to Neutron fails in turn, in the whole life of an amphora: refused, with
its answer lost, or in the way of another. Whatever failed, later attempts end the same, and nothing
is left."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from colonnade.domain.errors import ColonnadeError
from colonnade.domain.ids import PortId, new_id
from colonnade.drivers.network.protocol import Door, PortWish, vip_owner
from tests.cloud_site import cloud_site
from tests.contract.test_compute_driver import World, wished
from tests.contract.test_network_driver import subnet_of
from tests.fakes.nova import FakeNova
from tests.fakes.strikes import Strike

ATTEMPTS = 5
T = TypeVar("T")


@pytest.mark.parametrize("how", Strike)
@pytest.mark.parametrize("whose", ["nova", "neutron"])
async def test_whatever_call_fails_a_later_attempt_ends_the_same(how: Strike, whose: str) -> None:
    async with cloud_site() as site:
        world = World(site.networks, site.compute(), site.nova.cut_power)
        await _struck_in_turn(world, site.nova, how, whose)


async def _struck_in_turn(world: World, nova: FakeNova, how: Strike, whose: str) -> None:
    strikes = nova.strikes if whose == "nova" else nova.neutron.strikes
    at = 0
    while True:
        at += 1
        strikes.plan(at, how)
        await _life(world, nova)
        names = strikes.names
        assert nova.servers == {}, names
        assert nova.neutron.ports == {}, names
        if strikes.struck == 0 and at > len(names):
            break
    assert at > 15


async def _life(world: World, nova: FakeNova) -> None:
    """Born, given a VIP and a port of its own, ended, and all of it given back."""
    network, compute = world.network, world.compute
    carriers = network.cloud
    assert carriers is not None
    subnet = await _until_done(lambda: subnet_of(network, "public"))
    boot = await _until_done(lambda: wished(world))
    vip = PortWish(id=PortId(new_id()), owner=vip_owner(new_id()), subnet_id=subnet.id)
    owner = f"amphora:{boot.amphora_id}"
    own = PortWish(id=PortId(new_id()), owner=owner, subnet_id=subnet.id)
    doors = [Door(protocol="tcp", port=80)]
    for call in (
        lambda: compute.create(boot), lambda: network.create_port(vip),
        lambda: network.plug(vip.id, boot.amphora_id), lambda: network.create_port(own),
        lambda: network.plug(own.id, boot.amphora_id),
        lambda: carriers.let_through(boot.amphora_id, doors, {own.id: ["203.0.113.99"]}),
    ):  # fmt: skip
        await _until_done(call)
    assert len([o for o in nova.of(boot.amphora_id) if o["status"] == "ACTIVE"]) == 1
    assert (await _until_done(lambda: network.port(vip.id))).plugged_into == boot.amphora_id
    assert (await _until_done(lambda: network.port(own.id))).plugged_into == boot.amphora_id
    await _until_done(lambda: network.unplug(vip.id))
    await _until_done(lambda: compute.destroy(boot.amphora_id))
    for port in await _until_done(network.ports):
        await _until_done(lambda: network.delete_port(port.id))  # noqa: B023 - called at once


async def _until_done(call: Callable[[], Awaitable[T]]) -> T:
    for attempt in range(ATTEMPTS):
        try:
            return await call()
        except ColonnadeError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError
