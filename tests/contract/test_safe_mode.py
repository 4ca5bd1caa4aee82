# SPDX-License-Identifier: Apache-2.0
"""Nobody is replaced by mistake: fleets in the real store, and a clock that the tests move."""

import asyncio
from collections.abc import Sequence

import pytest

from colonnade.domain.ids import AmphoraId, new_id
from colonnade.health import liveness
from colonnade.runtime.config import Failovers, Heartbeats
from colonnade.store.fleet import amphora_rows, failovers, safe_mode_rows
from colonnade.store.fleet.failovers import Judgement, Rules
from colonnade.store.fleet.safe_mode import Cause
from colonnade.store.postgres.database import Database

ALLOWED = Heartbeats()
LIMITS = Failovers()
CLOCKS = (
    ("heartbeats", "seen_at"),
    ("amphorae", "state_since"),
    ("failovers", "at"),
    ("safe_mode", "since"),
    ("safe_mode", "calm_since"),
    ("safe_mode", "looked_at"),
    ("safe_mode", "lifted_until"),
)


class Fleet:
    """Amphorae that serve, and one receiver with the real liveness. `now` is the test's clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ids: list[AmphoraId] = []
        self.now = 1000.0
        self.watch = liveness.Watch()
        self.limits = LIMITS
        self.sequence = 0

    async def serve(self, count: int, flavor: str = "default") -> Sequence[AmphoraId]:
        ids = sorted(AmphoraId(new_id()) for _ in range(count))
        self.ids += ids
        async with self.database.transaction() as connection:
            await connection.execute(
                """WITH c AS (INSERT INTO clusters (id, provider, generation)
                    SELECT id, 'amphora', 1 FROM unnest(%(ids)s::uuid[]) AS n (id) RETURNING id)
                INSERT INTO amphorae (id, state, cluster_id, flavor, applied, heartbeat_key, host)
                SELECT id, 'SERVING', id, %(flavor)s, 1, '', 'h' FROM c""",
                {"ids": ids, "flavor": flavor},
            )
        await self.beat(ids)
        return ids

    async def beat(self, ids: Sequence[AmphoraId]) -> None:
        self.sequence += 1
        beats = [
            amphora_rows.Heartbeat(amphora_id=one, sequence=self.sequence, generation=1)
            for one in ids
        ]
        async with self.database.transaction() as connection:
            await amphora_rows.record_heartbeats(connection, beats)

    async def passes(self, seconds: float) -> None:
        self.now += seconds
        ago = f"make_interval(secs => {seconds})"
        each = [f"UPDATE {table} SET {column} = {column} - {ago}" for table, column in CLOCKS]
        async with self.database.transaction() as connection:
            await connection.execute("; ".join(each).encode())

    async def look(self, *, is_well: bool = True) -> Judgement:
        """One round of the receiver's loop: what it heard is written before."""
        self.watch = liveness.look(self.watch, self.now, is_well=is_well)
        windows = liveness.windows(self.watch, self.now, ALLOWED)
        if not is_well or not windows.judges:
            return Judgement()
        async with self.database.transaction() as connection:
            return await failovers.mark_silent(connection, windows, self.limits)

    async def goes_on(
        self, seconds: float, heard: Sequence[AmphoraId], *, step_s: float = liveness.LATE_S
    ) -> list[AmphoraId]:
        """These are heard and the receiver looks, for so long. Who was replaced."""
        lost: list[AmphoraId] = []
        end = self.now + seconds
        while self.now < end:
            await self.passes(step_s)
            await self.beat(heard)
            lost += [amphora.id for amphora, _ in (await self.look()).failed]
        return lost

    async def watched_for(self, seconds: float) -> None:
        """As if the receiver had been at work for so long."""
        self.watch = liveness.Watch(since=self.now - seconds, looked_at=self.now)

    async def mode(self) -> safe_mode_rows.Mode:
        async with self.database.transaction() as connection:
            return await safe_mode_rows.read(connection)

    async def told(self) -> list[tuple[str, str]]:
        async with self.database.read() as connection:
            cursor = await connection.execute(
                "SELECT kind, message FROM events WHERE object_kind = 'fleet' ORDER BY id"
            )
            return await cursor.fetchall()


@pytest.fixture
def fleet(database: Database) -> Fleet:
    return Fleet(database)


@pytest.mark.parametrize("count", [1, 2, 10, 200])
async def test_one_that_falls_silent_is_replaced_at_once(fleet: Fleet, count: int) -> None:
    first, *others = await fleet.serve(count)
    await fleet.watched_for(600)
    await fleet.beat(fleet.ids)
    assert await fleet.goes_on(2, others, step_s=1) == []  # the machine's own clock goes on, too
    assert await fleet.goes_on(2, others, step_s=2) == [first]
    assert await fleet.told() == []


async def test_a_mass_is_replaced_at_a_trickle_and_it_is_said(fleet: Fleet) -> None:
    ids = await fleet.serve(400)
    heard = ids[200:]
    await fleet.watched_for(600)
    assert len(await fleet.goes_on(4, heard)) == 1
    mode = await fleet.mode()
    assert mode.since is not None
    assert mode.held == 199
    assert mode.reason == "200 of 400 amphorae that serve were lost within 10 s"
    assert await fleet.told() == [
        ("safe_mode", f"safe mode: {mode.reason}; 199 are not replaced for now")
    ]
    assert await fleet.goes_on(40, heard) == []
    assert len(await fleet.goes_on(24, heard)) == 1
    async with fleet.database.read() as connection:
        cursor = await connection.execute("SELECT key FROM work WHERE key = 'leaks:all'")
        assert await cursor.fetchone() is not None, "compute is asked at once who is dead"


async def test_a_mass_is_seen_before_all_of_it_is_overdue(fleet: Fleet) -> None:
    ids = await fleet.serve(40)
    await fleet.watched_for(600)
    for one in ids[:8]:  # last heard within one second, as it is between two heartbeats
        await fleet.passes(0.12)
        await fleet.beat([one, *ids[8:]])
    assert len(await fleet.goes_on(6, ids[8:], step_s=0.3)) == 1


async def test_safe_mode_ends_when_nobody_has_been_silent_for_a_while(fleet: Fleet) -> None:
    ids = await fleet.serve(30)
    await fleet.watched_for(600)
    assert len(await fleet.goes_on(4, ids[4:])) == 1
    back = [one for one in ids if (await _state(fleet, one)) == "SERVING"]
    assert await fleet.goes_on(LIMITS.calm_s - 20, back) == []
    assert (await fleet.mode()).since is not None
    assert await fleet.goes_on(24, back) == []
    assert (await fleet.mode()).since is None
    assert (await fleet.told())[-1] == (
        "safe_mode_ended",
        "safe mode has ended: nobody has been silent for 60 s",
    )


async def test_a_gap_without_a_look_is_no_calm(fleet: Fleet) -> None:
    ids = await fleet.serve(10)
    await fleet.watched_for(600)
    await fleet.goes_on(4, ids[3:])
    left = [one for one in ids if (await _state(fleet, one)) == "SERVING"]
    await fleet.goes_on(4, left)
    await fleet.passes(3600)
    await fleet.watched_for(600)
    await fleet.beat(left)
    await fleet.look()
    assert (await fleet.mode()).since is not None


async def test_a_receiver_that_is_deaf_for_a_minute_replaces_nobody(fleet: Fleet) -> None:
    ids = await fleet.serve(200)
    await fleet.watched_for(600)
    assert await fleet.goes_on(60, []) == []
    assert (await fleet.mode()).reason == "nobody is heard, of 200 amphorae that serve"
    assert await fleet.goes_on(4, ids) == []
    # If all of them are truly dead, it heals, slowly.
    assert len(await fleet.goes_on(LIMITS.deaf_s + 4, [])) == 1


async def test_an_outage_of_the_database_for_an_hour_replaces_nobody(fleet: Fleet) -> None:
    ids = await fleet.serve(200)
    await fleet.watched_for(600)
    await fleet.look(is_well=False)
    await fleet.passes(3600)
    assert (await fleet.look()).failed == ()
    # They come back one after the other, and the receiver judges meanwhile.
    for heard in range(0, 201, 40):
        assert await fleet.goes_on(1.9, ids[:heard], step_s=1.9) == []
    assert await fleet.goes_on(20, ids) == []


async def test_an_hour_without_any_control_plane_replaces_nobody(fleet: Fleet) -> None:
    ids = await fleet.serve(5)
    await fleet.passes(3600)
    fleet.watch = liveness.Watch()  # another process
    for step in range(5):
        assert await fleet.goes_on(1, ids[: step + 1], step_s=1) == []
    assert await fleet.goes_on(20, ids) == []
    assert await fleet.told() == []
    # The one that died meanwhile is found all the same.
    first, *others = ids
    await fleet.passes(3600)
    fleet.watch = liveness.Watch()
    assert await fleet.goes_on(14, others) == [first]


async def test_spares_that_beat_while_nobody_listened_are_no_mass(fleet: Fleet) -> None:
    spares = await fleet.serve(5)
    async with fleet.database.transaction() as connection:
        await connection.execute("UPDATE amphorae SET state = 'SPARE', cluster_id = NULL")
    first, *others = await fleet.serve(3)
    await fleet.passes(55)
    fleet.watch = liveness.Watch()
    await fleet.goes_on(4, [first, *others])
    assert await fleet.goes_on(6, others) == [first]
    assert await fleet.told() == []
    assert {await _state(fleet, one) for one in spares} == {"SPARE"}


async def test_the_trickle_is_one_for_all_who_judge(fleet: Fleet) -> None:
    await fleet.serve(100)
    heard = await fleet.serve(20)
    await fleet.watched_for(600)
    await fleet.passes(2)
    await fleet.beat(heard)
    await fleet.passes(2)
    await fleet.watched_for(600)
    found = await asyncio.gather(*(fleet.look() for _ in range(5)))
    assert sum(len(one.failed) for one in found) == 1
    assert sum(bool(one.turned) for one in found) == 1


async def test_a_person_may_lift_it_and_the_rates_hold(fleet: Fleet) -> None:
    ids = await fleet.serve(100)
    await fleet.watched_for(600)
    assert len(await fleet.goes_on(4, ids[50:])) == 1
    async with fleet.database.transaction() as connection:
        await safe_mode_rows.lift(connection, 900)
    assert (await fleet.mode()).since is None
    assert len(await fleet.goes_on(2, ids[50:])) == LIMITS.per_host_per_minute - 1
    assert len(await fleet.goes_on(62, ids[50:])) == LIMITS.per_host_per_minute
    assert (await fleet.told())[-1] == (
        "safe_mode_ended",
        "an operator lifted safe mode for 900 s",
    )


async def test_it_may_be_switched_off_while_it_is_on(fleet: Fleet) -> None:
    ids = await fleet.serve(10)
    await fleet.watched_for(600)
    await fleet.goes_on(4, ids[5:])
    assert (await fleet.mode()).since is not None
    fleet.limits = Failovers(safe_mode=False)
    assert len(await fleet.goes_on(2, ids[5:])) == 4
    assert (await fleet.mode()).since is None


async def test_compute_alone_is_not_believed_against_heartbeats(fleet: Fleet) -> None:
    ids = await fleet.serve(30)
    rules = Rules()

    async def lost(of: Sequence[AmphoraId]) -> int:
        async with fleet.database.transaction() as connection:
            gone = {one: (Cause.NOT_RUNNING, "") for one in of}
            found = await failovers.fail(connection, gone, rules)
        return len(found.failed)

    assert await lost(ids) == 1, "compute names all of them, and all of them are heard"
    await fleet.passes(10)
    left = [one for one in ids if (await _state(fleet, one)) == "SERVING"]
    await fleet.beat(left[15:])
    assert await lost(left[:15]) == 15, "silent too, so they are dead"


async def test_a_flavor_may_be_replaced_later(fleet: Fleet) -> None:
    profile, flavor = new_id(), new_id()
    async with fleet.database.transaction() as connection:
        await connection.execute(
            """INSERT INTO flavor_profiles (id, name, provider_name, flavor_data)
            VALUES (%s, 'p', 'amphora', '{"failover_after_s": 40}')""",
            [profile],
        )
        await connection.execute(
            "INSERT INTO flavors (id, name, description, enabled, flavor_profile_id)"
            " VALUES (%s, 'slow', '', true, %s)",
            [flavor, profile],
        )
    (slow,) = await fleet.serve(1, flavor)
    (quick,) = await fleet.serve(1)
    heard = await fleet.serve(20)
    await fleet.watched_for(600)
    assert await fleet.goes_on(10, heard) == [quick]
    assert await fleet.goes_on(34, heard) == [slow]


async def _state(fleet: Fleet, amphora_id: AmphoraId) -> str:
    async with fleet.database.read() as connection:
        found = await amphora_rows.amphora(connection, amphora_id)
    return "gone" if found is None else str(found.state)
