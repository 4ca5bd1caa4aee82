# SPDX-License-Identifier: Apache-2.0
"""The work table: a set of dirty keys under leases."""

import asyncio
from contextlib import aclosing

from colonnade.store.postgres.database import Database
from colonnade.store.queue import work


async def mark(database: Database, key: str, delay_s: float = 0) -> None:
    async with database.transaction() as connection:
        await work.mark(connection, key, delay_s)


async def lease(database: Database, limit: int = 10, lease_s: float = 60) -> list[work.Lease]:
    async with database.read() as connection:
        return list(await work.lease(connection, work.Free(limit, limit), lease_s))


async def finish(database: Database, held: work.Lease, again_in_s: float | None = None) -> bool:
    async with database.read() as connection:
        return await work.finish(connection, held, again_in_s)


async def fail(database: Database, held: work.Lease, backoff_s: float) -> bool:
    async with database.read() as connection:
        return await work.fail(connection, held, backoff_s)


async def next_due_s(database: Database) -> float | None:
    async with database.read() as connection:
        return await work.next_due_s(connection)


async def make_due(database: Database) -> None:
    """Let time pass for all keys."""
    async with database.read() as connection:
        await connection.execute("UPDATE work SET due_at = now(), leased_until = now()")


async def test_many_marks_are_one_round_of_work(database: Database) -> None:
    for _ in range(5):
        await mark(database, "cluster:a")
    assert [held.key for held in await lease(database)] == ["cluster:a"]


async def test_a_leased_key_is_nobody_elses(database: Database) -> None:
    await mark(database, "cluster:a")
    await lease(database)
    await mark(database, "cluster:a")
    assert await lease(database) == []


async def test_who_takes_the_place_of_a_dead_one_frees_its_leases_and_no_others(
    database: Database,
) -> None:
    for key, holder in (("cluster:a", "one"), ("cluster:b", "two")):
        await mark(database, key)
        async with database.read() as connection:
            (held,) = await work.lease(connection, work.Free(10, 10), 60, holder)
        assert held.key == key
    async with database.transaction() as connection:
        await work.void(connection, "one")
    (again,) = await lease(database)
    assert again.key == "cluster:a"


async def test_a_finished_key_is_gone(database: Database) -> None:
    await mark(database, "cluster:a")
    (held,) = await lease(database)
    assert not await finish(database, held)
    assert await next_due_s(database) is None


async def test_many_marks_under_a_lease_are_one_more_round(database: Database) -> None:
    await mark(database, "cluster:a")
    (held,) = await lease(database)
    await mark(database, "cluster:a")
    await mark(database, "cluster:a")
    assert await finish(database, held)
    (again,) = await lease(database)
    assert not await finish(database, again)
    assert await lease(database) == []


async def test_a_mark_under_a_lease_is_not_kept_waiting_by_a_later_look(database: Database) -> None:
    await mark(database, "cluster:a")
    (held,) = await lease(database)
    await mark(database, "cluster:a")
    assert await finish(database, held, again_in_s=60)
    assert len(await lease(database)) == 1


async def test_a_later_look_is_later(database: Database) -> None:
    await mark(database, "cluster:a")
    (held,) = await lease(database)
    assert not await finish(database, held, again_in_s=60)
    assert await lease(database) == []
    assert 55 < (await next_due_s(database) or 0) <= 60
    await make_due(database)
    assert len(await lease(database)) == 1


async def test_a_mark_brings_a_later_look_forward(database: Database) -> None:
    await mark(database, "cluster:a", delay_s=60)
    assert await lease(database) == []
    await mark(database, "cluster:a")
    assert len(await lease(database)) == 1


async def test_a_delayed_mark_does_not_put_off_an_earlier_one(database: Database) -> None:
    await mark(database, "cluster:a")
    await mark(database, "cluster:a", delay_s=60)
    assert len(await lease(database)) == 1


async def test_failures_in_a_row_are_counted_until_a_success(database: Database) -> None:
    await mark(database, "cluster:a")
    for attempts in (0, 1, 2):
        (held,) = await lease(database)
        assert held.attempts == attempts
        await fail(database, held, 60)
        assert await lease(database) == []
        await make_due(database)
    (held,) = await lease(database)
    await finish(database, held, again_in_s=0)
    (held,) = await lease(database)
    assert held.attempts == 0


async def test_an_expired_lease_is_taken_by_another(database: Database) -> None:
    await mark(database, "cluster:a")
    (lost,) = await lease(database)
    await make_due(database)
    (held,) = await lease(database)
    assert held.token != lost.token
    # Whoever lost it changes nothing with it.
    await finish(database, lost)
    await fail(database, lost, 0)
    async with database.read() as connection:
        assert not await work.extend(connection, lost, 60)
        assert await work.extend(connection, held, 60)
    assert await lease(database) == []


async def test_an_extended_lease_lasts(database: Database) -> None:
    await mark(database, "cluster:a")
    (held,) = await lease(database, lease_s=0)
    async with database.read() as connection:
        assert await work.extend(connection, held, 60)
    assert await lease(database) == []


async def test_the_longest_due_come_first_and_no_more_than_asked_for(database: Database) -> None:
    for name in "cab":
        await mark(database, f"cluster:{name}")
    assert {held.key for held in await lease(database, limit=2)} == {"cluster:c", "cluster:a"}
    assert [held.key for held in await lease(database, limit=2)] == ["cluster:b"]


async def test_two_controllers_never_lease_the_same_key(database: Database) -> None:
    keys = {f"cluster:{n}" for n in range(40)}
    for key in keys:
        await mark(database, key)
    taken = await asyncio.gather(*(lease(database, limit=10) for _ in range(8)))
    leased = [held.key for batch in taken for held in batch]
    rest = [held.key for held in await lease(database, limit=100)]
    assert sorted(leased + rest) == sorted(keys)


async def test_an_aborted_transaction_leaves_no_mark_and_wakes_nobody(database: Database) -> None:
    async with aclosing(database.listen(work.CHANNEL)) as payloads:
        assert await anext(payloads) == ""
        try:
            async with database.transaction() as connection:
                await work.mark(connection, "cluster:undone")
                raise RuntimeError
        except RuntimeError:
            await mark(database, "cluster:later", delay_s=60)
            await mark(database, "cluster:now")
        async with asyncio.timeout(5):
            assert await anext(payloads) == "cluster:now"
    assert [held.key for held in await lease(database)] == ["cluster:now"]
