# SPDX-License-Identifier: Apache-2.0
"""The promises of compute and network drivers that need amphorae, asked of the drivers for Nova and
Neutron over their wires; and what they do when one of them fails. Real ones are asked the same in
`tests/openstack/`."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from colonnade.cli.local.cloud_checks import checks_of
from colonnade.domain.errors import Broken, OutOfCapacity, Unavailable
from colonnade.domain.ids import PortId, new_id
from colonnade.drivers.compute.protocol import Boot, ComputeDriver, InstanceState
from colonnade.drivers.network.protocol import Door, NetworkDriver, PortWish, vip_owner
from colonnade.protocol import birth
from colonnade.runtime.config import Config, Keystone, Neutron, Nova
from tests.cloud_site import CloudSite, cloud_site
from tests.contract.test_compute_driver import (  # noqa: F401 - asked of this driver too
    World,
    state,
    test_a_created_amphora_runs_and_is_listed,
    test_a_dead_amphora_can_be_created_again,
    test_a_dead_amphora_is_stopped_until_destroyed,
    test_an_amphora_needs_its_port,
    test_creating_again_and_at_once_makes_one,
    test_destroying_what_never_was_is_nothing,
    test_nothing_is_left_of_a_destroyed_amphora,
    test_what_an_amphora_is_born_with_is_not_shown,
    wished,
)
from tests.contract.test_network_driver import (  # noqa: F401 - asked of this driver too
    boot,
    subnet_of,
    test_a_destroyed_amphora_has_no_port_plugged,
    test_a_plugged_port_can_be_deleted,
    test_only_an_amphora_that_exists_can_be_plugged_into,
    wish,
)
from tests.fakes.keystone import PASSWORD, USER
from tests.fakes.nova import FLAVOR, IMAGE, FakeNova, image
from tests.fakes.strikes import Strike


@pytest.fixture
async def site() -> AsyncIterator[CloudSite]:
    async with cloud_site() as made:
        yield made


@pytest.fixture
def nova(site: CloudSite) -> FakeNova:
    return site.nova


@pytest.fixture
def drivers(site: CloudSite) -> tuple[NetworkDriver, ComputeDriver]:
    return site.networks, site.compute()


@pytest.fixture
def world(nova: FakeNova, drivers: tuple[NetworkDriver, ComputeDriver]) -> World:
    return World(*drivers, nova.cut_power)


async def test_an_amphora_is_born_with_what_it_needs_and_no_more(
    world: World, nova: FakeNova
) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    (body,) = nova.bodies
    server = body["server"]
    born = birth.decode(base64.b64decode(server.pop("user_data")))
    lb_port = await world.network.port(boot.lb_port_id)
    assert (born.files, born.lb_mac) == (boot.config_drive, lb_port.mac)
    assert server == {
        "name": f"amphora-{boot.amphora_id}", "tags": ["colonnade"], "imageRef": IMAGE,
        "flavorRef": "7", "config_drive": True,
        "networks": [{"port": lb_port.id}],
    }  # fmt: skip


async def test_a_lost_answer_makes_no_second_server(world: World, nova: FakeNova) -> None:
    boot = await wished(world)
    nova.strikes.plan(_number_of("POST", "servers", await _names(world, nova)), Strike.LOST)
    with pytest.raises(Unavailable):
        await world.compute.create(boot)
    await world.compute.create(boot)
    assert len(nova.of(boot.amphora_id)) == 1
    assert await state(world, boot.amphora_id) is InstanceState.RUNNING


async def test_two_controllers_at_once_make_one_that_lives(
    site: CloudSite, nova: FakeNova, world: World
) -> None:
    boot = await wished(world)
    several = [site.compute() for _ in range(3)]
    await asyncio.gather(*(one.create(boot) for one in several), return_exceptions=True)
    await world.compute.create(boot)
    (alive,) = [one for one in nova.of(boot.amphora_id) if one["status"] == "ACTIVE"]
    port = nova.neutron.ports[(await world.network.port(boot.lb_port_id)).id]
    assert port["device_id"] == alive["id"]
    await world.compute.destroy(boot.amphora_id)
    assert nova.servers == {}


async def test_without_a_host_it_is_out_of_capacity_and_nothing_is_left(
    world: World, nova: FakeNova
) -> None:
    nova.room = 0
    with pytest.raises(OutOfCapacity, match="There are not enough hosts"):
        await world.compute.create(await wished(world))
    assert nova.servers == {}
    nova.room, nova.quota = 100, 0
    with pytest.raises(OutOfCapacity, match="Quota exceeded for instances"):
        await world.compute.create(await wished(world))


async def test_amphorae_of_a_flavor_are_on_different_hosts(
    site: CloudSite, nova: FakeNova, world: World
) -> None:
    for policy, third in (("soft", None), ("strict", OutOfCapacity)):
        driver = site.compute(anti_affinity=policy)
        world = msgspec.structs.replace(world, compute=driver)
        boots = [await wished(world) for _ in range(3)]
        for one in boots[:2]:
            await driver.create(one)
        hosts = {i.host for i in await driver.instances()}
        assert hosts == {"one", "two"}
        if third is not None:
            with pytest.raises(third):
                await driver.create(boots[2])
        else:
            await driver.create(boots[2])
        for one in boots:
            await driver.destroy(one.amphora_id)
    nova.group_full = True
    await site.compute().create(await wished(world))


async def test_the_newest_image_with_the_tag_is_taken_and_a_flavor_may_name_its_own(
    site: CloudSite, nova: FakeNova, world: World
) -> None:
    nova.images += [
        image("newer", "amphora", "2026-02-01T00:00:00Z"),
        image("canary", "next", "2026-01-01T00:00:00Z"),
        image("theirs", "amphora", "2026-03-01T00:00:00Z") | {"owner": "somebody"},
    ]
    driver = site.compute(image_owner="service")
    for tag, taken in (("", "newer"), ("next", "canary")):
        await driver.create(msgspec.structs.replace(await wished(world), image_tag=tag))
        assert nova.bodies[-1]["server"]["imageRef"] == taken
    fixed = site.compute(image=IMAGE)
    await fixed.create(await wished(world))
    assert nova.bodies[-1]["server"]["imageRef"] == IMAGE
    wanting = msgspec.structs.replace(await wished(world), image_tag="none")
    with pytest.raises(Broken, match="no active image with the tag 'none'"):
        await driver.create(wanting)
    wanting = msgspec.structs.replace(await wished(world), compute_flavor="huge")
    with pytest.raises(Broken, match="no flavor 'huge'"):
        await driver.create(wanting)


async def test_no_more_are_built_at_once_than_may_be(
    site: CloudSite, nova: FakeNova, world: World
) -> None:
    driver = site.compute(boots_at_once=2)
    boots = [await wished(world) for _ in range(6)]
    nova.looks = 3
    most = 0

    async def watch() -> None:
        nonlocal most
        while len(nova.bodies) < len(boots):
            building = [one for one in nova.servers.values() if one["status"] == "BUILD"]
            most = max(most, len(building))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(driver.create(one) for one in boots))
    await watching
    assert 1 <= most <= 2


async def test_a_fence_waits_for_a_host_that_nova_does_not_hear(
    site: CloudSite, nova: FakeNova, world: World
) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    found = await world.compute.instance(boot.amphora_id)
    assert found is not None
    host, clock = nova.hosts[found.host], site.clock
    host |= {"state": "down", "updated_at": _moment(clock.now())}
    with pytest.raises(Unavailable, match="may still send"):
        await world.compute.destroy(boot.amphora_id)
    assert len(nova.of(boot.amphora_id)) == 1
    host["forced_down"] = True  # an operator said so
    await world.compute.destroy(boot.amphora_id)
    again = await wished(world)
    host |= {"state": "up", "forced_down": False}
    await world.compute.create(again)
    for one in nova.hosts.values():
        one |= {"state": "down", "updated_at": _moment(clock.now())}
    clock.at += 121.0
    await world.compute.destroy(again.amphora_id)
    assert nova.servers == {}


@pytest.mark.parametrize("kept", ["soft", "stuck"])
async def test_what_does_not_go_by_itself_is_deleted_by_force(
    world: World, nova: FakeNova, kept: str
) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    nova.soft = kept == "soft"
    if kept == "stuck":
        nova.stuck = {"one", "two"}
    await world.compute.destroy(boot.amphora_id)
    assert nova.servers == {}


async def test_what_nova_cannot_tell_is_not_taken_for_gone(world: World, nova: FakeNova) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    nova.cell_down = True
    for call in (
        world.compute.instances, lambda: world.compute.instance(boot.amphora_id),
        lambda: world.compute.destroy(boot.amphora_id), lambda: world.compute.create(boot),
    ):  # fmt: skip
        with pytest.raises(Unavailable, match="cells does not answer"):
            await call()
    assert len(nova.servers) == 1


async def test_servers_of_others_are_never_looked_at(world: World, nova: FakeNova) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    (ours,) = nova.servers.values()
    octavias = ours | {"id": "theirs", "name": f"amphora-{new_id()}", "tags": []}
    nova.servers["theirs"] = octavias
    assert [i.amphora_id for i in await world.compute.instances()] == [boot.amphora_id]
    octavias["name"] = ours["name"]
    await world.compute.destroy(boot.amphora_id)
    assert list(nova.servers) == ["theirs"]


async def test_an_error_of_one_that_goes_on_is_no_death(world: World, nova: FakeNova) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    (server,) = nova.of(boot.amphora_id)
    server["status"] = "ERROR"  # a move of it failed
    assert await state(world, boot.amphora_id) is InstanceState.RUNNING
    server["OS-EXT-STS:power_state"] = 4
    assert await state(world, boot.amphora_id) is InstanceState.STOPPED


async def test_doctor_says_what_the_cloud_lacks(
    site: CloudSite, nova: FakeNova, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    keystone = Keystone(auth_url=nova.neutron.keystone.url, username=USER, secret_file=secret)
    config = Config(
        state_dir=tmp_path, run_dir=tmp_path, database_url="",
        network_driver="neutron", compute_driver="nova",
        keystone=keystone, neutron=Neutron(lb_subnet=nova.neutron.lb_subnet()),
        nova=Nova(flavor=FLAVOR),
    )  # fmt: skip
    found = {one.what: one async for one in checks_of(config)}
    here = {"LB network, from here", "LB network, to here"}  # this machine is not on it
    assert {one.what for one in found.values() if one.cure} == here
    assert "198.18.0.0/16" in found["LB network"].found
    assert found["Nova"].found == f"{len(nova.hosts)} of {len(nova.hosts)} hosts are up"
    nova.images.clear()
    for one in nova.hosts.values():
        one["state"] = "down"
    lacking = msgspec.structs.replace(
        config, nova=Nova(flavor="none"), neutron=Neutron(lb_subnet=new_id())
    )
    found = {one.what: one async for one in checks_of(lacking)}
    assert {one.what for one in found.values() if one.cure} == {
        "Nova", "LB network", "amphora image", "amphora flavor",
    }  # fmt: skip
    alone = msgspec.structs.replace(config, compute_driver="namespaces")
    (check,) = [one async for one in checks_of(alone)]
    assert "go together" in check.found
    one_server = msgspec.structs.replace(alone, network_driver="namespaces")
    assert [one async for one in checks_of(one_server)] == []


# Ports in servers.


async def test_a_vip_is_carried_by_one_amphora_at_most_and_its_port_stays_octavias(
    drivers: tuple[NetworkDriver, ComputeDriver], nova: FakeNova
) -> None:
    network, _ = drivers
    first, second = await boot(drivers), await boot(drivers)
    balancer, subnet = new_id(), await subnet_of(network, "public")
    asked = PortWish(id=PortId(new_id()), owner=vip_owner(balancer), subnet_id=subnet.id)
    port = await network.create_port(asked)
    for amphora_id in (first, first, second):
        carriers = network.cloud
        assert carriers is not None
        prepared = await carriers.prepared(port.id, amphora_id)
        plugged = await network.plug(asked.id, amphora_id)
        assert plugged == prepared == await network.port(port.id)
        assert plugged.plugged_into == amphora_id
        assert plugged in await network.ports()
        (carrier,) = _carriers(nova)
        assert carrier["mac_address"] == plugged.mac != port.mac
        assert carrier["allowed_address_pairs"] == [{"ip_address": port.address}]
        assert carrier["device_id"] == nova.of(amphora_id)[0]["id"]
    shown = nova.neutron.ports[port.id]
    assert (shown["device_owner"], shown["device_id"]) == ("Octavia", f"lb-{balancer}")
    for _ in range(2):
        await network.unplug(port.id)
        assert (await network.port(port.id)).plugged_into is None
    assert _carriers(nova) == []


async def test_a_half_of_a_pair_has_a_port_of_its_own_that_may_have_the_vips(
    drivers: tuple[NetworkDriver, ComputeDriver], nova: FakeNova
) -> None:
    network, _ = drivers
    amphora_id, subnet = await boot(drivers), await subnet_of(network, "public")
    own = PortWish(id=PortId(new_id()), owner=f"amphora:{amphora_id}", subnet_id=subnet.id)
    await network.create_port(own)
    plugged = await network.plug(own.id, amphora_id)
    assert plugged.plugged_into == amphora_id
    assert plugged.owner == own.owner
    assert await network.create_port(own) == plugged
    carriers = network.cloud
    assert carriers is not None
    doors = [
        Door(protocol="tcp", port=443, sources=("192.0.2.0/24", "2001:db8::/32")),
        Door(protocol="udp", port=53),
        Door(protocol="vrrp", sources=("203.0.113.9/32",)),
    ]
    for open_ in (doors, doors[:1], doors):
        for _ in range(2):
            await carriers.let_through(amphora_id, open_, {own.id: ["203.0.113.50"]})
    shown = nova.neutron.ports[plugged.id]
    assert shown["allowed_address_pairs"] == [{"ip_address": "203.0.113.50"}]
    (group,) = [nova.neutron.groups[one] for one in shown["security_groups"]]
    rules = {
        (r["ethertype"], r["protocol"], r.get("port_range_min"), r.get("remote_ip_prefix"))
        for r in group["security_group_rules"] if r["direction"] == "ingress"
    }  # fmt: skip
    assert rules == {
        ("IPv4", "tcp", 443, "192.0.2.0/24"), ("IPv6", "tcp", 443, "2001:db8::/32"),
        ("IPv4", "udp", 53, None), ("IPv6", "udp", 53, None),
        ("IPv4", "112", None, "203.0.113.9/32"),
    }  # fmt: skip
    await network.unplug(own.id)
    assert (await network.port(own.id)).plugged_into is None


async def test_the_last_port_of_an_amphora_takes_all_that_it_had_along(
    drivers: tuple[NetworkDriver, ComputeDriver], nova: FakeNova
) -> None:
    network, compute = drivers
    amphora_id, subnet = await boot(drivers), await subnet_of(network, "public")
    vip = await network.create_port(wish(subnet.id))
    await network.plug(vip.id, amphora_id)
    lb = await network.lb_subnet()
    (own,) = [port for port in await network.ports() if port.subnet_id == lb.id]
    (shared,) = nova.neutron.ports[own.id]["security_groups"]
    await compute.destroy(amphora_id)
    await network.delete_port(own.id)
    assert list(nova.neutron.ports) == [vip.id]
    assert list(nova.neutron.groups) == [shared]


async def test_a_server_that_does_not_let_a_port_go_loses_it(
    drivers: tuple[NetworkDriver, ComputeDriver], nova: FakeNova
) -> None:
    network, _ = drivers
    amphora_id, subnet = await boot(drivers), await subnet_of(network, "public")
    vip = await network.create_port(wish(subnet.id))
    await network.plug(vip.id, amphora_id)
    nova.looks = 10_000
    await network.unplug(vip.id)
    assert (await network.port(vip.id)).plugged_into is None
    assert _carriers(nova) == []


async def test_only_an_amphora_that_runs_can_be_plugged_into(
    drivers: tuple[NetworkDriver, ComputeDriver], nova: FakeNova
) -> None:
    network, _ = drivers
    amphora_id = await boot(drivers)
    port = await network.create_port(wish((await subnet_of(network, "public")).id))
    nova.cut_power(amphora_id)
    with pytest.raises(Unavailable, match="SHUTOFF"):
        await network.plug(port.id, amphora_id)


@pytest.mark.parametrize("fault", [500, 503, 429, 401, 301])
async def test_a_nova_that_fails_is_unavailable_whatever_is_asked(
    world: World, nova: FakeNova, fault: int
) -> None:
    boot = await wished(world)
    await world.compute.create(boot)
    other = await wished(world)
    nova.fault = fault
    for call in (
        world.compute.instances, lambda: world.compute.instance(boot.amphora_id),
        lambda: world.compute.create(other), lambda: world.compute.destroy(boot.amphora_id),
        lambda: world.network.plug(other.lb_port_id, boot.amphora_id),
    ):  # fmt: skip
        with pytest.raises(Unavailable):
            await call()
    nova.fault = None
    assert await state(world, boot.amphora_id) is InstanceState.RUNNING


def _carriers(nova: FakeNova) -> list[dict[str, object]]:
    ports = nova.neutron.ports.values()
    return [port for port in ports if str(port["name"]).startswith("octavia-lb-vrrp-")]


async def _names(world: World, nova: FakeNova) -> list[str]:
    """Of the calls that one birth takes."""
    nova.strikes.plan(0, Strike.LOST)
    boot: Boot = await wished(world)
    await world.compute.create(boot)
    await world.compute.destroy(boot.amphora_id)
    return nova.strikes.names


def _number_of(method: str, path: str, names: list[str]) -> int:
    return names.index(f"{method} /v2.1/{path}") + 1


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
