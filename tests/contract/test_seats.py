# SPDX-License-Identifier: Apache-2.0
"""Several load balancers share an amphora: where they are, and what becomes of one of them."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from colonnade.domain.affinity import AffinityPolicy
from colonnade.domain.catalogue import Sizing
from colonnade.domain.errors import Conflict
from colonnade.domain.fleet import Amphora, Topology
from colonnade.domain.ids import (
    AffinityGroupId,
    AmphoraId,
    ClusterId,
    LoadBalancerId,
    ProjectId,
    new_id,
)
from colonnade.domain.lifecycle import Event, State
from colonnade.drivers.network.protocol import is_vip, load_balancer_of
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows, seats
from colonnade.store.postgres.database import Database
from tests.world import World


class Packed:
    """A world with a flavor that lets load balancers share amphorae."""

    def __init__(self, world: World, flavor: str, per_amphora: int) -> None:
        self.world = world
        self.size = Sizing(flavor=flavor, per_amphora=per_amphora)

    async def add(self, size: Sizing | None = None, **own: Any) -> ClusterId:
        await self.world.create(size=size or self.size, **own)
        await self.rounds(9)
        return self.world.cluster_id

    async def rounds(self, count: int) -> None:
        """As far as this many looks at all lead: spares of a flavor are looked at for ever."""
        for _ in range(count):
            await self.world.beat()
            await self.world.pass_once()

    async def seats(self) -> dict[ClusterId, list[Amphora]]:
        found: dict[ClusterId, list[Amphora]] = {}
        for row in await self.world.rows():
            if row.carrier_id is not None:
                assert row.cluster_id is not None
                found.setdefault(row.cluster_id, []).append(row)
        return found

    async def carriers(self) -> dict[ClusterId, set[AmphoraId]]:
        """On which amphorae each is."""
        return {
            name: {seat.carrier_id for seat in found if seat.carrier_id is not None}
            for name, found in (await self.seats()).items()
        }

    async def in_state(self, state: State) -> list[Amphora]:
        return [row for row in await self.world.rows() if row.state is state]

    async def group(self, policy: AffinityPolicy) -> AffinityGroupId:
        group = AffinityGroupId(new_id())
        async with self.world.database.transaction() as connection:
            await connection.execute(
                """INSERT INTO affinity_groups (id, project_id, name, description, policy)
                VALUES (%s, 'p', 'shop', '', %s)""",
                [group, policy.value],
            )
        return group

    async def failure(self, cluster_id: ClusterId) -> str:
        async with self.world.database.read() as connection:
            cursor = await connection.execute(
                "SELECT last_error ->> 'message' FROM clusters WHERE id = %s", [cluster_id]
            )
            row = await cursor.fetchone()
        return "" if row is None else row[0] or ""

    async def assert_tidy(self) -> None:
        """Nothing waits, nothing is left over, and each that is wished is served."""
        rows = await self.world.rows()
        assert self.world.network.doubled == []
        assert {i.amphora_id for i in await self.world.compute.instances()} == {a.id for a in rows}
        running = self.world.network.amphorae
        opened = {seat for seat, carrier in self.world.amphorae.seats.items() if carrier in running}
        assert opened == {row.id for row in rows if row.carrier_id is not None}
        assert {row.state for row in rows} <= {State.SPARE, State.CARRYING, State.SERVING}
        carrying = {row.id for row in rows if row.state is State.CARRYING}
        assert carrying == {row.carrier_id for row in rows if row.carrier_id is not None}


async def packed(database: Database, folder: Path, per_amphora: int = 3, spares: int = 0) -> Packed:
    config = Config(state_dir=folder, run_dir=folder, database_url="", spares=0)
    world = await World.begin(database, config)
    profile, flavor = new_id(), new_id()
    async with database.transaction() as connection:
        await connection.execute(
            """INSERT INTO flavor_profiles (id, name, provider_name, flavor_data)
            VALUES (%s, 'packed', 'amphora', %s)""",
            [profile, f'{{"max_load_balancers": {per_amphora}, "spare_pool_size": {spares}}}'],
        )
        await connection.execute(
            "INSERT INTO flavors (id, name, description, enabled, flavor_profile_id)"
            " VALUES (%s, 'packed', '', true, %s)",
            [flavor, profile],
        )
    return Packed(world, flavor, per_amphora)


async def test_an_amphora_is_filled_before_the_next_is_begun(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    names = [await site.add() for _ in range(4)]
    where = await site.carriers()
    assert where[names[0]] == where[names[1]] == where[names[2]] != where[names[3]]
    assert len(await site.in_state(State.CARRYING)) == 2
    await site.assert_tidy()


async def test_projects_never_share_one(database: Database, tmp_path: Path) -> None:
    site = await packed(database, tmp_path)
    first = await site.add()
    other = await site.add(project_id=ProjectId("q"))
    where = await site.carriers()
    assert where[first] != where[other]


async def test_one_that_goes_leaves_the_others_and_the_last_takes_the_amphora(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    first = await site.add()
    before = (await site.seats())[first]
    await site.add()
    await site.world.delete()
    await site.world.settle()
    assert await site.seats() == {first: before}
    await site.assert_tidy()
    assert len(await site.in_state(State.CARRYING)) == 1
    (vip,) = [port for port in await site.world.network.ports() if is_vip(port.owner)]
    site.world.load_balancer_id = LoadBalancerId(load_balancer_of(vip.owner))
    await site.world.delete()
    await site.world.settle()
    assert await site.world.rows() == []
    assert site.world.amphorae.seats == {}


async def test_what_one_is_refused_keeps_no_other_from_its_changes(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    good = await site.add()
    site.world.amphorae.hated_ports = {80}
    bad = await site.add()
    assert await site.failure(bad) == "cannot bind port 80"
    site.world.amphorae.hated_ports = set()
    where = await site.carriers()
    assert where[good] == where[bad]
    assert await site.failure(good) == ""
    (seat,) = (await site.seats())[good]
    assert site.world.amphorae.serving[seat.id].generation == seat.applied == 1


async def test_when_the_amphora_dies_all_that_it_carried_are_served_by_another(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    names = [await site.add() for _ in range(3)]
    (lost,) = (await site.carriers())[names[0]]
    site.world.power_cut(lost)
    await site.world.settle()
    where = await site.carriers()
    assert len({frozenset(one) for one in where.values()}) == 1
    assert where[names[0]] != {lost}
    assert {s.state for found in (await site.seats()).values() for s in found} == {State.SERVING}
    await site.assert_tidy()
    async with database.read() as connection:
        cursor = await connection.execute("SELECT count(*) FROM failovers")
        assert await cursor.fetchone() == (1,), "it counts as one that was lost"


async def test_one_seat_that_falls_silent_is_replaced_alone(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    first, second = await site.add(), await site.add()
    before = await site.seats()
    site.world.amphorae.cut_off.add(before[first][0].id)
    await site.world.settle()
    after = await site.seats()
    assert after[second] == before[second]
    assert after[first][0].id != before[first][0].id
    await site.assert_tidy()


async def test_an_amphora_that_is_asked_to_leave_gives_all_away(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    names = [await site.add() for _ in range(2)]
    (carrier,) = await site.in_state(State.CARRYING)
    async with database.transaction() as connection:
        await seats.ask_to_leave(connection, carrier)
    await site.world.settle()
    where = await site.carriers()
    assert where[names[0]] == where[names[1]] != {carrier.id}
    assert carrier.id not in {row.id for row in await site.world.rows()}
    await site.assert_tidy()


async def test_halves_of_a_pair_are_on_amphorae_of_their_own(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    pair = Sizing(
        topology=Topology.ACTIVE_STANDBY, flavor=site.size.flavor, per_amphora=site.size.per_amphora
    )
    names = [await site.add(pair) for _ in range(3)]
    where = await site.carriers()
    assert len(where[names[0]]) == 2
    assert where[names[0]] == where[names[1]] == where[names[2]]
    await site.assert_tidy()


@pytest.mark.parametrize("policy", AffinityPolicy)
async def test_a_group_says_who_is_beside_whom(
    database: Database, tmp_path: Path, policy: AffinityPolicy
) -> None:
    site = await packed(database, tmp_path, per_amphora=4, spares=1)
    async with database.transaction() as connection:
        await amphora_rows.ask_for_spare(connection, site.size.flavor)
    await site.world.pass_once("spares:%")
    await site.world.pass_once("amphora:%")
    group = await site.group(policy)
    first = await site.add(affinity_group_id=group)
    await site.add()
    second = await site.add(affinity_group_id=group)
    where = await site.carriers()
    is_together = policy in (AffinityPolicy.COLOCATION, AffinityPolicy.SOFT_COLOCATION)
    assert (where[first] == where[second]) is is_together
    await site.assert_tidy()


async def test_a_strict_group_without_room_waits_and_says_so_and_the_others_go_on(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path, per_amphora=2)
    group = await site.group(AffinityPolicy.COLOCATION)
    first = await site.add(affinity_group_id=group)
    stranger = await site.add()
    waiting = await site.add(affinity_group_id=group)
    where = await site.carriers()
    assert where == {first: where[first], stranger: where[first]}
    assert (await site.failure(waiting)).startswith(
        "affinity group 'shop' asks for the amphora of its other load balancers, and that has no "
        "room for one more of the 2 that its flavor allows"
    )


async def _join(site: Packed, load_balancer_id: LoadBalancerId, group: str | None) -> None:
    site.world.load_balancer_id = load_balancer_id
    async with site.world.editing() as edit:
        edit.tree = replace(edit.tree, affinity_group_id=group)


async def test_who_joins_a_group_moves_to_where_that_wants_it_and_nobody_else_does(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path, per_amphora=3)
    names, roots = [], []
    for _ in range(2):
        names.append(await site.add())
        roots.append(site.world.load_balancer_id)
    before = await site.seats()
    apart = await site.group(AffinityPolicy.APOLOCATION)
    for root in roots:
        await _join(site, root, apart)
    (state,) = {seat.state for seat in (await site.seats())[names[1]]}
    assert state is State.LEAVING, "it serves until another does"
    await site.rounds(9)
    after = await site.seats()
    assert after[names[0]][0].id == before[names[0]][0].id
    assert after[names[1]][0].carrier_id != before[names[1]][0].carrier_id
    await site.assert_tidy()
    together = await site.group(AffinityPolicy.COLOCATION)
    for root in roots:
        await _join(site, root, together)
    await site.rounds(9)
    assert {seat.carrier_id for found in (await site.seats()).values() for seat in found} == {
        before[names[0]][0].carrier_id
    }
    await site.assert_tidy()
    served = await site.seats()
    await _join(site, roots[0], None)
    await site.rounds(3)
    assert {n: f[0].id for n, f in (await site.seats()).items()} == {
        n: f[0].id for n, f in served.items()
    }


async def test_who_cannot_be_where_a_group_wants_it_is_refused_and_stays_as_it_was(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path, per_amphora=2)
    group = await site.group(AffinityPolicy.COLOCATION)
    await site.add(affinity_group_id=group)
    await site.add()
    other = await site.add()
    before = (await site.seats())[other]
    with pytest.raises(Conflict, match="no room for one more of the 2"):
        await _join(site, site.world.load_balancer_id, group)
    assert (await site.seats())[other] == before


async def test_a_strict_group_that_can_never_be_on_one_amphora_is_refused(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path, per_amphora=2)
    group = await site.group(AffinityPolicy.COLOCATION)
    await site.add(affinity_group_id=group)
    with pytest.raises(Conflict, match="they are of different flavors"):
        await site.world.create(size=Sizing(), affinity_group_id=group)
    await site.add(affinity_group_id=group)
    with pytest.raises(Conflict, match="their flavor allows 2 on one"):
        await site.world.create(size=site.size, affinity_group_id=group)
    async with database.read() as connection:
        cursor = await connection.execute("SELECT count(*) FROM load_balancers")
        assert await cursor.fetchone() == (2,)


async def test_nothing_is_put_on_one_that_is_outdated(database: Database, tmp_path: Path) -> None:
    site = await packed(database, tmp_path)
    first = await site.add()
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE amphorae SET outdated = 'its image' WHERE state = 'CARRYING'"
        )
    second = await site.add()
    where = await site.carriers()
    assert where[first] != where[second]


async def test_a_seat_that_was_never_opened_is_replaced(database: Database, tmp_path: Path) -> None:
    site = await packed(database, tmp_path)
    first = await site.add()
    await site.world.create(size=site.size)
    second = site.world.cluster_id
    await site.world.pass_once("cluster:%")
    await site.world.pass_once("spares:%")
    (seat,) = [row for row in await site.world.rows() if row.state is State.BOOTING]
    async with database.transaction() as connection:
        await amphora_rows.advance(connection, seat, Event.WENT_SILENT)
    await site.world.settle()
    where = await site.carriers()
    assert where[first] == where[second]
    assert seat.id not in {row.id for row in await site.world.rows()}
    await site.assert_tidy()


async def test_a_seat_that_is_not_lent_yet_ends_with_its_amphora_when_that_is_asked_to_leave(
    database: Database, tmp_path: Path
) -> None:
    site = await packed(database, tmp_path)
    first = await site.add()
    (carrier,) = await site.in_state(State.CARRYING)
    await site.world.create(size=site.size)
    second = site.world.cluster_id
    await site.world.pass_once("cluster:%")
    await site.world.pass_once("spares:%")
    (seat,) = await site.in_state(State.BOOTING)
    assert seat.carrier_id == carrier.id
    async with database.transaction() as connection:
        await seats.ask_to_leave(connection, carrier)
    await site.world.settle()
    where = await site.carriers()
    assert where[first] == where[second] != {carrier.id}
    await site.assert_tidy()
