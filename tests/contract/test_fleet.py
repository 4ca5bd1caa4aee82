# SPDX-License-Identifier: Apache-2.0
"""The fleet's rows: conditional steps, lending, heartbeats, silence."""

import asyncio

import pytest

from colonnade.domain.errors import Broken, Contended, OutOfCapacity
from colonnade.domain.fleet import Amphora, Topology
from colonnade.domain.ids import AmphoraId, ClusterId, PortId, new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.drivers.secrets.database import Seal
from colonnade.store.fleet import amphora_rows, clusters, failovers
from colonnade.store.fleet.safe_mode import Windows
from colonnade.store.postgres.database import Database

FRESH_S = 75.0
WINDOWS = Windows(stale_s=3.5, spare_stale_s=75, boot_s=60)


async def booting(database: Database) -> Amphora:
    amphora = Amphora(id=AmphoraId(new_id()), state=State.BOOTING)
    async with database.transaction() as connection:
        await amphora_rows.insert(connection, amphora, b"sealed")
    return amphora


async def spare(database: Database) -> Amphora:
    amphora = await booting(database)
    await beat(database, amphora, 1)
    async with database.transaction() as connection:
        await amphora_rows.first_heartbeat(connection, [amphora.id])
    return await read(database, amphora)


async def cluster(database: Database, generation: int = 1) -> ClusterId:
    cluster_id = ClusterId(new_id())
    async with database.read() as connection:
        await connection.execute(
            "INSERT INTO clusters (id, provider, generation) VALUES (%s, 'amphora', %s)",
            [cluster_id, generation],
        )
    return cluster_id


async def lend(
    database: Database, cluster_id: ClusterId, topology: Topology = Topology.SINGLE
) -> Amphora | None:
    async with database.transaction() as connection:
        return await amphora_rows.lend_spare(connection, cluster_id, topology, FRESH_S)


async def advance(database: Database, amphora: Amphora, event: Event) -> Amphora:
    async with database.transaction() as connection:
        return await amphora_rows.advance(connection, amphora, event)


async def beat(database: Database, amphora: Amphora, sequence: int, generation: int = 0) -> None:
    async with database.transaction() as connection:
        heartbeat = amphora_rows.Heartbeat(
            amphora_id=amphora.id, sequence=sequence, generation=generation
        )
        await amphora_rows.record_heartbeats(connection, [heartbeat])


async def answer(database: Database, amphora: Amphora, generation: int) -> None:
    async with database.transaction() as connection:
        await amphora_rows.record_applied(connection, amphora, generation)


async def pass_time(database: Database, seconds: float) -> None:
    async with database.read() as connection:
        for table, column in (
            ("heartbeats", "seen_at"),
            ("amphorae", "state_since"),
            ("amphorae", "applied_at"),
        ):
            await connection.execute(
                f"UPDATE {table} SET {column} = {column} - make_interval(secs => %s)", [seconds]
            )


async def silent(database: Database) -> list[AmphoraId]:
    async with database.transaction() as connection:
        found = await failovers.mark_silent(connection, WINDOWS)
    return [amphora.id for amphora, _ in found.failed]


async def read(database: Database, amphora: Amphora) -> Amphora:
    async with database.read() as connection:
        found = await amphora_rows.amphora(connection, amphora.id)
    assert found is not None
    return found


async def lowest(database: Database, cluster_id: ClusterId) -> int:
    async with database.read() as connection:
        cursor = await connection.execute(
            "SELECT applied_lowest FROM clusters WHERE id = %s", [cluster_id]
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def dirty(database: Database) -> set[str]:
    """The keys that were marked since the last time that this was asked."""
    async with database.read() as connection:
        cursor = await connection.execute("DELETE FROM work RETURNING key")
        return {row[0] for row in await cursor.fetchall()}


async def test_a_step_from_a_state_that_has_changed_is_contended(database: Database) -> None:
    amphora = await booting(database)
    await advance(database, amphora, Event.WENT_SILENT)
    with pytest.raises(Contended):
        await advance(database, amphora, Event.RELEASED)
    assert (await read(database, amphora)).state is State.FAILED


async def test_of_two_equal_steps_at_once_one_is_taken(database: Database) -> None:
    amphora = await spare(database)
    results = await asyncio.gather(
        *(advance(database, amphora, Event.RELEASED) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(result, Amphora) for result in results) == 1
    assert sum(isinstance(result, Contended) for result in results) == 3


async def test_the_last_step_leaves_no_row(database: Database) -> None:
    amphora = await spare(database)
    amphora = await advance(database, amphora, Event.RELEASED)
    await advance(database, amphora, Event.DESTROYED)
    async with database.read() as connection:
        assert await amphora_rows.everyone(connection) == []


async def test_a_first_heartbeat_makes_a_spare_and_wakes_who_waits(database: Database) -> None:
    cluster_id = await cluster(database)
    with pytest.raises(OutOfCapacity):
        await lend(database, cluster_id)
    amphora = await booting(database)
    await dirty(database)
    async with database.transaction() as connection:
        # The cluster waits: there is work for it, later.
        await connection.execute(
            "INSERT INTO work (key, due_at) VALUES (%s, now() + interval '1 h')",
            [f"cluster:{cluster_id}"],
        )
        assert await amphora_rows.unmet_demand(connection, "default") == 1
        await amphora_rows.first_heartbeat(connection, [amphora.id])
        cursor = await connection.execute("SELECT key FROM work WHERE due_at <= now()")
        woken = {row[0] for row in await cursor.fetchall()}
    assert woken == {f"cluster:{cluster_id}", "spares:default"}
    assert (await read(database, amphora)).state is State.SPARE


async def test_a_spare_is_lent_to_one_cluster_only(database: Database) -> None:
    for _ in range(3):
        await spare(database)
    wanting = [await cluster(database) for _ in range(5)]
    results = await asyncio.gather(
        *(lend(database, cluster_id) for cluster_id in wanting), return_exceptions=True
    )
    lent = [result.id for result in results if isinstance(result, Amphora)]
    assert len(lent) == len(set(lent)) == 3
    assert sum(isinstance(result, OutOfCapacity) for result in results) == 2


async def test_no_cluster_is_lent_more_than_its_topology_needs(database: Database) -> None:
    for _ in range(4):
        await spare(database)
    cluster_id = await cluster(database)
    results = await asyncio.gather(
        *(lend(database, cluster_id, Topology.ACTIVE_STANDBY) for _ in range(4))
    )
    assert len([result for result in results if result is not None]) == 2


async def test_an_unfenced_amphora_still_counts(database: Database) -> None:
    cluster_id = await cluster(database)
    await spare(database)
    await spare(database)
    first = await lend(database, cluster_id)
    assert first is not None
    failed = await advance(database, first, Event.WENT_SILENT)
    assert await lend(database, cluster_id) is None
    await advance(database, failed, Event.FENCED)
    assert await lend(database, cluster_id) is not None


async def test_a_spare_that_was_not_heard_from_is_not_lent(database: Database) -> None:
    await spare(database)
    await pass_time(database, FRESH_S + 1)
    with pytest.raises(OutOfCapacity):
        await lend(database, await cluster(database))


async def test_a_cluster_is_as_far_as_its_slowest(database: Database) -> None:
    cluster_id = await cluster(database, generation=5)
    serving = []
    for _ in range(2):
        await spare(database)
        lent = await lend(database, cluster_id, Topology.ACTIVE_STANDBY)
        assert lent is not None
        serving.append(lent)
    await answer(database, serving[0], 5)
    assert await lowest(database, cluster_id) == 0
    await answer(database, serving[1], 4)
    assert await lowest(database, cluster_id) == 4
    await advance(database, await read(database, serving[1]), Event.WENT_SILENT)
    assert await lowest(database, cluster_id) == 5


async def test_an_answer_of_one_that_no_longer_serves_is_contended(database: Database) -> None:
    cluster_id = await cluster(database)
    await spare(database)
    lent = await lend(database, cluster_id)
    assert lent is not None
    await advance(database, lent, Event.WENT_SILENT)
    with pytest.raises(Contended):
        await answer(database, lent, 1)


async def test_an_older_heartbeat_changes_nothing(database: Database) -> None:
    amphora = await spare(database)
    await beat(database, amphora, 10)
    await pass_time(database, 100)
    await beat(database, amphora, 9)
    assert await silent(database) == [amphora.id]


async def test_a_stranger_s_heartbeat_changes_nothing(database: Database) -> None:
    await beat(database, Amphora(id=AmphoraId(new_id()), state=State.SPARE), 1)
    async with database.read() as connection:
        cursor = await connection.execute("SELECT count(*) FROM heartbeats")
        assert await cursor.fetchone() == (0,)


@pytest.mark.parametrize(("quiet_s", "is_silent"), [(3.0, False), (4.0, True)])
async def test_a_serving_amphora_may_be_quiet_for_a_moment(
    database: Database, quiet_s: float, is_silent: bool
) -> None:
    cluster_id = await cluster(database)
    await spare(database)
    lent = await lend(database, cluster_id)
    assert lent is not None
    await answer(database, lent, 1)
    await dirty(database)
    await pass_time(database, quiet_s)
    assert await silent(database) == ([lent.id] if is_silent else [])
    marked = {f"cluster:{cluster_id}", "spares:default"} if is_silent else set()
    assert await dirty(database) == marked


async def test_one_that_was_just_lent_keeps_the_pace_of_a_spare(database: Database) -> None:
    await spare(database)
    lent = await lend(database, await cluster(database))
    assert lent is not None
    await pass_time(database, 30)
    assert await silent(database) == []
    # It answers now, and its next heartbeat is a second away.
    await answer(database, lent, 1)
    assert await silent(database) == []
    await pass_time(database, 4)
    assert await silent(database) == [lent.id]


@pytest.mark.parametrize(("quiet_s", "is_silent"), [(70.0, False), (80.0, True)])
async def test_a_spare_may_be_quiet_for_longer(
    database: Database, quiet_s: float, is_silent: bool
) -> None:
    amphora = await spare(database)
    await dirty(database)
    await pass_time(database, quiet_s)
    assert await silent(database) == ([amphora.id] if is_silent else [])
    marked = {f"amphora:{amphora.id}", "spares:default"} if is_silent else set()
    assert await dirty(database) == marked


async def test_one_that_never_came_up_is_given_up(database: Database) -> None:
    amphora = await booting(database)
    await pass_time(database, 50)
    assert await silent(database) == []
    await pass_time(database, 11)
    assert await silent(database) == [amphora.id]
    assert await silent(database) == []


async def test_an_amphora_that_forgot_is_asked_again(database: Database) -> None:
    cluster_id = await cluster(database, generation=7)
    await spare(database)
    lent = await lend(database, cluster_id)
    assert lent is not None
    await answer(database, lent, 7)
    await dirty(database)
    # A heartbeat that was sent before the answer is no sign of it,
    await beat(database, lent, 20, generation=6)
    assert await lowest(database, cluster_id) == 7
    assert await dirty(database) == set()
    # but one long after it is.
    await pass_time(database, 3.1)
    await beat(database, lent, 21, generation=0)
    assert await lowest(database, cluster_id) == 0
    assert await dirty(database) == {f"cluster:{cluster_id}"}


async def test_a_generation_that_the_cluster_never_had_is_no_answer(database: Database) -> None:
    cluster_id = await cluster(database, generation=7)
    await spare(database)
    lent = await lend(database, cluster_id)
    assert lent is not None
    with pytest.raises(Broken, match="newer configuration than there is"):
        await answer(database, lent, 8)
    assert await lowest(database, cluster_id) == 0
    await answer(database, lent, 7)
    await dirty(database)
    await pass_time(database, 3.1)
    await beat(database, lent, 21, generation=2**53)
    assert await dirty(database) == set(), "it makes nobody look at it again and again"


async def test_settled_generations_only_rise_and_clear_older_failures(database: Database) -> None:
    cluster_id = await cluster(database, generation=9)
    async with database.transaction() as connection:
        assert await clusters.settle(connection, cluster_id, 5)
        assert not await clusters.settle(connection, cluster_id, 4)
        cursor = await connection.execute("SELECT highest_settled, failed_at FROM clusters")
        assert await cursor.fetchone() == (5, None)


def test_a_sealed_key_opens_for_its_owner_only() -> None:
    seal = Seal(bytes(range(32)))
    sealed = seal.seal(b"secret", "a")
    assert b"secret" not in sealed
    assert seal.unseal(sealed, "a") == b"secret"
    assert seal.seal(b"secret", "a") != sealed
    for other, owner, text in (
        (seal, "b", sealed),
        (Seal(bytes(32)), "a", sealed),
        (seal, "a", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (seal, "a", b""),
    ):
        with pytest.raises(Broken):
            other.unseal(text, owner)


async def test_an_amphora_whose_birth_was_held_up_has_its_whole_time_to_boot(
    database: Database,
) -> None:
    fresh = await booting(database)
    await pass_time(database, 70)
    async with database.transaction() as connection:
        await amphora_rows.record_birth(connection, fresh, (PortId(new_id()), "198.18.0.9"))
    assert await silent(database) == []
    await pass_time(database, 70)
    assert await silent(database) == [fresh.id]


async def test_one_that_leaves_is_missed_as_soon_as_one_that_serves(database: Database) -> None:
    await spare(database)
    serving = await lend(database, await cluster(database))
    assert serving is not None
    await answer(database, serving, 1)
    leaving = await advance(database, serving, Event.ASKED_TO_LEAVE)
    assert await silent(database) == []
    await pass_time(database, 5)
    assert await silent(database) == [leaving.id]
    assert (await read(database, leaving)).state is State.FAILED
