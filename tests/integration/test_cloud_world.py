# SPDX-License-Identifier: Apache-2.0
"""A whole control plane over the wires of a cloud: amphorae are servers, VIPs are carried by ports
of theirs, and what is deleted leaves nothing. Agents are in memory."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from colonnade.domain.catalogue import Sizing
from colonnade.domain.fleet import Topology
from colonnade.domain.ids import AmphoraId, SubnetId
from colonnade.domain.lifecycle import Event, State
from colonnade.drivers.network.protocol import is_vip
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work
from tests.cloud_site import CloudSite, cloud_site
from tests.fakes.amphora import FakeAmphorae
from tests.fakes.network import PUBLIC_SUBNET
from tests.world import STANDING, World

PAIR = Sizing(topology=Topology.ACTIVE_STANDBY)


class Seen:
    """The networks of a cloud, and which of its amphorae run."""

    def __init__(self, site: CloudSite) -> None:
        self.router = None
        self.cloud = site.networks.cloud
        self.stopped: set[AmphoraId] = set()
        self._site = site

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site.networks, name)

    @property
    def amphorae(self) -> set[AmphoraId]:
        servers = self._site.nova.servers.values()
        on = [one["name"] for one in servers if one["status"] == "ACTIVE"]
        return {AmphoraId(name.removeprefix("amphora-")) for name in on}


class CloudWorld(World):
    def __init__(self, database: Database, config: Config, site: CloudSite) -> None:
        super().__init__(database, config)
        self.site, seen = site, Seen(site)
        self.network = seen  # type: ignore[assignment]
        self.compute = site.compute()  # type: ignore[assignment]
        self.amphorae = FakeAmphorae(seen)  # type: ignore[arg-type]
        self.loop = self._controller()

    async def _state(self) -> object:
        async with self.database.read() as connection:
            rows = await amphora_rows.everyone(connection)
            keys = await (await connection.execute("SELECT key FROM work")).fetchall()
        if [key for (key,) in keys if key not in STANDING]:
            return object()  # like no other: there is something to do
        ports = [dict(port) for port in self.ports]
        return rows, ports, sorted(self.site.nova.servers)

    @property
    def ports(self) -> list[dict[str, Any]]:
        return list(self.site.nova.neutron.ports.values())

    def carrying(self) -> set[AmphoraId]:
        """Those with an attached port that may have the VIP."""
        servers = {one["id"]: one["name"] for one in self.site.nova.servers.values()}
        return {
            AmphoraId(servers[port["device_id"]].removeprefix("amphora-"))
            for port in self.ports
            if port.get("allowed_address_pairs") and port["device_id"] in servers
        }


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[CloudWorld]:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=1)
    async with cloud_site() as site:
        made = CloudWorld(database, config, site)
        async with database.transaction() as connection:
            for key in STANDING:
                await work.mark(connection, key)
        await made.settle()
        yield made


async def serving(world: CloudWorld) -> set[AmphoraId]:
    return {row.id for row in await world.rows() if row.state is State.SERVING}


async def test_one_serves_and_another_takes_its_place_and_nothing_is_left(
    world: CloudWorld,
) -> None:
    await world.create(subnet_id=SubnetId(PUBLIC_SUBNET))
    await world.settle()
    (first,) = await serving(world)
    assert world.carrying() == {first}
    (vip,) = [port for port in await world.site.networks.ports() if is_vip(port.owner)]
    assert vip.plugged_into == first
    assert vip.mac in {interface.mac for interface in world.amphorae.interfaces[first]}
    world.site.nova.cut_power(first)
    await world.settle()
    (second,) = await serving(world)
    assert second != first
    assert world.carrying() == {second}
    assert world.site.nova.of(first) == []
    await world.delete()
    await world.settle()
    spares = {row.id for row in await world.rows()}
    assert {port["name"] for port in world.ports} == {f"octavia-amphora:{one}" for one in spares}
    assert {one["name"] for one in world.site.nova.neutron.groups.values()} == {
        "octavia-lb-network"
    }


async def test_one_that_leaves_hands_its_vip_over_and_the_next_knew_its_mac_before(
    world: CloudWorld,
) -> None:
    await world.create()
    await world.settle()
    (first,) = [row for row in await world.rows() if row.state is State.SERVING]
    async with world.database.transaction() as connection:
        await amphora_rows.advance(connection, first, Event.ASKED_TO_LEAVE)
        await work.mark(connection, f"cluster:{world.cluster_id}")
    world.faults.names.clear()
    await world.settle()
    (second,) = await serving(world)
    assert world.carrying() == {second} != {first.id}
    told = [name for name in world.faults.names if name in ("prepared", "apply", "plug", "unplug")]
    at = told.index("prepared")
    assert told[at : at + 4] == ["prepared", "apply", "unplug", "plug"]


async def test_a_vips_port_that_vanished_comes_back_with_its_address(world: CloudWorld) -> None:
    await world.create()
    await world.settle()
    (vip,) = [port for port in await world.site.networks.ports() if is_vip(port.owner)]
    world.site.nova.neutron.forget(vip.id)
    await world.settle()
    (now,) = [port for port in await world.site.networks.ports() if is_vip(port.owner)]
    assert (now.address, now.wish_id) == (vip.address, vip.id)
    assert {now.plugged_into} == await serving(world) == world.carrying()


async def test_a_port_for_members_goes_when_no_member_is_there(world: CloudWorld) -> None:
    await world.create()
    await world.settle()
    before = len(world.ports)
    await world.drop_members()
    await world.settle()
    assert len(world.ports) == before - 1


async def test_both_halves_may_have_the_vip_and_are_let_speak_with_each_other_alone(
    world: CloudWorld,
) -> None:
    await world.create(size=PAIR)
    await world.settle()
    halves = await serving(world)
    assert len(halves) == 2
    assert world.carrying() == halves
    own = [port for port in world.ports if port.get("allowed_address_pairs")]
    addresses = {port["fixed_ips"][0]["ip_address"] for port in own}
    for port in own:
        (group,) = [world.site.nova.neutron.groups[one] for one in port["security_groups"]]
        mine = port["fixed_ips"][0]["ip_address"]
        vrrp = [
            rule["remote_ip_prefix"]
            for rule in group["security_group_rules"]
            if rule.get("protocol") == "112"
        ]
        assert vrrp == [f"{one}/32" for one in addresses - {mine}]
    hosts = {row.id: world.site.nova.of(row.id)[0]["host"] for row in await world.rows()}
    assert len({hosts[half] for half in halves}) == 2


async def test_a_leaked_server_is_found_and_ended(world: CloudWorld) -> None:
    (spare,) = [row.id for row in await world.rows()]
    async with world.database.transaction() as connection:
        await connection.execute("DELETE FROM heartbeats")
        await connection.execute("DELETE FROM amphorae")
    await world.settle()
    await world.settle()
    assert world.site.nova.of(spare) == []
