# SPDX-License-Identifier: Apache-2.0
"""Affinity groups decide on which hosts the amphorae of their load balancers are."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from colonnade.domain.affinity import AffinityPolicy
from colonnade.domain.catalogue import Sizing
from colonnade.domain.fleet import Topology
from colonnade.domain.ids import AffinityGroupId, AmphoraId, ClusterId, new_id
from colonnade.domain.lifecycle import State
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows, placing
from colonnade.store.postgres.database import Database
from tests.world import World

TOGETHER, APART = AffinityPolicy.COLOCATION, AffinityPolicy.APOLOCATION
SOFT = {
    TOGETHER: AffinityPolicy.SOFT_COLOCATION,
    APART: AffinityPolicy.SOFT_APOLOCATION,
}
PAIR = Sizing(topology=Topology.ACTIVE_STANDBY)


class Placed:
    """A world with spares on these hosts, and a group."""

    def __init__(self, world: World, hosts: dict[AmphoraId, str]) -> None:
        self.world, self.hosts = world, hosts
        self.group = AffinityGroupId(new_id())

    async def add(self, size: Sizing | None = None) -> list[str]:
        """Where the amphorae of one more load balancer of the group are; nowhere: it waits."""
        await self.world.create(size=size or Sizing(), affinity_group_id=self.group)
        await self.world.pass_once(f"cluster:{self.world.cluster_id}")
        return await self.where(self.world.cluster_id)

    async def where(self, cluster_id: ClusterId) -> list[str]:
        rows = await self.world.rows()
        return sorted(self.hosts[a.id] for a in rows if a.cluster_id == cluster_id)


async def placed(
    database: Database, folder: Path, policy: AffinityPolicy, hosts: Sequence[str]
) -> Placed:
    config = Config(state_dir=folder, run_dir=folder, database_url="", spares=len(hosts))
    world = await World.begin(database, config)
    await world.settle()
    rows = [a for a in await world.rows() if a.state is State.SPARE]
    found = Placed(world, {a.id: host for a, host in zip(rows, hosts, strict=True)})
    async with database.transaction() as connection:
        await amphora_rows.record_hosts(connection, found.hosts)
        await connection.execute(
            """INSERT INTO affinity_groups (id, project_id, name, description, policy)
            VALUES (%s, 'p', 'shop', '', %s)""",
            [found.group, policy.value],
        )
    return found


@pytest.mark.parametrize("policy", [TOGETHER, APART, *SOFT.values()])
async def test_members_of_a_group_are_where_it_says(
    database: Database, tmp_path: Path, policy: AffinityPolicy
) -> None:
    group = await placed(database, tmp_path, policy, ("one", "one", "two", "two"))
    first, second = await group.add(), await group.add()
    assert first == ["one"]
    assert second == (["one"] if policy in (TOGETHER, SOFT[TOGETHER]) else ["two"])


@pytest.mark.parametrize("policy", SOFT)
async def test_where_no_host_fits_a_strict_group_waits_and_says_so_and_a_soft_one_does_not(
    database: Database, tmp_path: Path, policy: AffinityPolicy
) -> None:
    hosts = ("one", "two") if policy is TOGETHER else ("one", "one", "two")
    group = await placed(database, tmp_path, policy, hosts)
    if policy is APART:
        await group.add(PAIR)
    else:
        await group.add()
    assert await group.add() == []
    async with database.read() as connection:
        cursor = await connection.execute(
            "SELECT last_error ->> 'message' FROM clusters WHERE id = %s", [group.world.cluster_id]
        )
        row = await cursor.fetchone()
    where = "of the others" if policy is TOGETHER else "on which no other of its load balancers is"
    assert row is not None
    assert row[0].startswith(f"affinity group 'shop' asks for a host {where}, and there is no room")
    async with database.transaction() as connection:
        await connection.execute("UPDATE affinity_groups SET policy = %s", [SOFT[policy].value])
    await group.world.pass_once(f"cluster:{group.world.cluster_id}")
    assert len(await group.where(group.world.cluster_id)) == 1


@pytest.mark.parametrize("policy", AffinityPolicy)
async def test_on_one_host_members_are_on_amphorae_of_their_own(
    database: Database, tmp_path: Path, policy: AffinityPolicy
) -> None:
    group = await placed(database, tmp_path, policy, ("one", "one"))
    assert await group.add() == ["one"]
    assert await group.add() == ["one"]
    rows = [a for a in await group.world.rows() if a.cluster_id is not None]
    assert len({a.cluster_id for a in rows}) == len(rows) == 2


async def test_compute_is_told_on_which_hosts_a_new_amphora_would_be_of_less_use(
    database: Database, tmp_path: Path
) -> None:
    group = await placed(database, tmp_path, APART, ("one", "one", "two"))
    await group.add()
    await group.add()  # on the other host, so that both are taken
    assert await group.add() == []
    waiting = group.world.cluster_id
    for boot in group.world.compute.boots.values():
        assert boot.apart_from == (), "no host was known when the spares were born"
    async with database.transaction() as connection:
        (spare,) = [a for a in await group.world.rows() if a.state is State.SPARE]
        assert await placing.avoided(connection, spare.id) == ("one", "two")
        await connection.execute("DELETE FROM work WHERE key = %s", [f"cluster:{waiting}"])
    await group.world.settle()
    assert await group.world.rows()
