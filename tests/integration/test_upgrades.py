# SPDX-License-Identifier: Apache-2.0
"""More of what upgrades of amphorae promise; the first of it is in `tests/contract`."""

import pytest

from colonnade.api.operator.upgrades import UPGRADES_PATH
from colonnade.domain.ids import AmphoraId
from colonnade.domain.lifecycle import State
from colonnade.store.fleet import amphora_rows, safe_mode_rows
from tests.contract.api_client import Api
from tests.contract.test_upgrades import (
    NEXT,
    Fleet,
    api,
    begin,
    fleet,
    replaced,
    say,
    show,
    steps,
)
from tests.fakes.faults import Fault

__all__ = ["api", "fleet"]


async def test_nothing_else_begins_until_the_canary_has_served_for_its_time(
    api: Api, fleet: Fleet
) -> None:
    before = await fleet.serving()
    asked = await begin(api, all=True, canary_s=60)
    await fleet.rounds(6)
    assert steps(await show(api, asked)) == ["WATCHED", "WAITING", "WAITING"]
    assert replaced(before, await fleet.serving()) == 1
    await fleet.passes(61)
    await fleet.rounds(1)
    assert steps(await show(api, asked))[0] == "DONE"
    assert (await show(api, asked))["progress"] == "1 of 3 replaced, 1 being replaced, 1 to come"


async def test_a_pause_finishes_what_is_begun_and_a_person_goes_on(api: Api, fleet: Fleet) -> None:
    asked = await begin(api, all=True, at_once=1)
    await fleet.rounds(1)
    paused = await say(api, asked, "pause")
    assert (paused["state"], paused["reason"]) == ("PAUSED", "by a person")
    assert (
        await say(api, asked, "pause", 409) == f"Upgrade {asked['id']} is paused: it cannot pause."
    )
    await fleet.rounds(8)
    assert steps(await show(api, asked)) == ["DONE", "WAITING", "WAITING"]
    await fleet.settle()
    assert await begin(api, 409, all=True) == (
        f"Upgrade {asked['id']} is paused: resume it, or undo it first."
    )
    await say(api, asked, "resume")
    await fleet.rounds(20)
    assert (await show(api, asked))["state"] == "DONE"
    assert "is done: it cannot resume" in await say(api, asked, "resume", 409)
    async with fleet.database.read() as connection:
        cursor = await connection.execute(
            "SELECT kind FROM events WHERE object_kind = 'upgrade' ORDER BY id"
        )
        told = [kind for (kind,) in await cursor.fetchall()]
    assert told == [f"upgrade_{w}" for w in ("begun", "paused", "running", "done")]


async def test_it_stops_when_what_is_served_is_worse_than_before(api: Api, fleet: Fleet) -> None:
    asked = await begin(api, all=True)
    await fleet.rounds(1)
    (canary,) = [step for step in asked["steps"][:1]]
    await fleet.write(
        "UPDATE load_balancers SET operating_status = 'ERROR', operating_reason = 'so it is'"
        f" WHERE id = '{canary['loadbalancer_id']}'"
    )
    await fleet.rounds(4)
    assert steps(await show(api, asked))[0] == "WATCHED"  # it has a while to become well
    await fleet.passes(61)
    await fleet.rounds(1)
    found = await show(api, asked)
    assert found["state"] == "STOPPED"
    assert found["reason"].endswith("its load balancer is worse than before: ERROR: so it is")


async def test_it_stops_in_safe_mode_and_after_a_failover(api: Api, fleet: Fleet) -> None:
    await fleet.write(
        "INSERT INTO safe_mode (since, reason) VALUES (now(), '9 of 20 were lost')"
        " ON CONFLICT (is_this) DO UPDATE SET since = now(), reason = EXCLUDED.reason"
    )
    before = await fleet.serving()
    asked = await begin(api, all=True)
    async with fleet.database.transaction() as connection:
        await amphora_rows.ask_for_spare(connection, "default")
    await fleet.pass_once("upgrade:%")
    assert (await show(api, asked))["reason"] == "safe mode is on: 9 of 20 were lost"
    assert await fleet.serving() == before
    async with fleet.database.transaction() as connection:
        await safe_mode_rows.lift(connection, 60)
    await say(api, asked, "resume")
    await fleet.pass_once("upgrade:%")
    canary = AmphoraId((await show(api, asked))["steps"][0]["amphora_id"])
    assert (await fleet.states())[canary] is State.LEAVING
    fleet.power_cut(canary)
    await fleet.rounds(2)
    found = await show(api, asked)
    assert found["state"] == "STOPPED"
    assert "an amphora of its load balancer was lost meanwhile: " in found["reason"]


async def test_without_a_spare_that_is_not_outdated_nothing_begins(api: Api, fleet: Fleet) -> None:
    await fleet.retire()
    before = await fleet.serving()
    asked = await begin(api)
    assert len(asked["steps"]) == 3
    await fleet.pass_once("upgrade:%")
    found = await show(api, asked)
    words = "no spare of flavor default was ready that is not outdated itself"
    assert (found["state"], found["reason"]) == ("RUNNING", words)
    await fleet.passes(301)
    await fleet.pass_once("upgrade:%")
    found = await show(api, asked)
    assert (found["state"], found["reason"]) == ("STOPPED", f"{words} for 300 s")
    assert await fleet.serving() == before


async def test_undo_ends_it_and_goes_back_only_where_another_would_come(
    api: Api, fleet: Fleet
) -> None:
    asked = await begin(api, all=True, at_once=1)
    await fleet.rounds(6)
    undone = await say(api, asked, "undo")
    assert (undone["id"], undone["state"]) == (asked["id"], "CANCELLED")
    await fleet.rounds(8)
    begun = [state for state in steps(await show(api, asked)) if state != "WAITING"]
    assert set(begun) == {"DONE"}
    await fleet.settle()
    before = await fleet.serving()
    # What it brought is of another release than the one that is there now.
    brought = [s["successor_id"] for s in (await show(api, asked))["steps"] if s["successor_id"]]
    names = ", ".join(f"'{name}'" for name in brought)
    await fleet.write(f"UPDATE amphorae SET agent_version = '{NEXT}' WHERE id IN ({names})")
    back = await say(api, asked, "undo")
    assert back["undoes"] == asked["id"]
    assert {step["amphora_id"] for step in back["steps"]} == set(brought)
    assert f"its agent is of release {NEXT}, and " in back["steps"][0]["reason"]
    await fleet.rounds(20)
    assert (await show(api, back))["state"] == "DONE"
    assert replaced(before, await fleet.serving()) == len(brought)


async def test_a_renewal_that_comes_in_time_is_no_cause(api: Api, fleet: Fleet) -> None:
    await fleet.write("UPDATE amphorae SET cert_expiration = now() + interval '1 minute'")
    await fleet.retire(release=fleet.release)
    await fleet.write("UPDATE amphorae SET cert_expiration = now() + interval '1 day'")
    await fleet.passes(10_000)
    await fleet.retire(release=fleet.release)
    assert not (await api.ask("GET", UPGRADES_PATH))["upgrades"]
    found = (await api.ask("GET", "/v2/octavia/amphorae"))["amphorae"]
    assert {one["outdated"] for one in found} == {None}


async def test_outdated_spares_are_exchanged_one_by_one(fleet: Fleet) -> None:
    fleet.begin_release(NEXT)
    before = await fleet.serving()
    (old,) = [name for name, state in (await fleet.states()).items() if state is State.SPARE]
    await fleet.retire(automatic=False)
    for _ in range(6):
        await fleet.rounds(1)
        spares = [s for s in (await fleet.states()).values() if s is State.SPARE]
        assert spares, "never without"
    await fleet.settle()
    states = await fleet.states()
    assert old not in states
    assert list(states.values()).count(State.SPARE) == 1
    assert await fleet.serving() == before


@pytest.mark.parametrize("fault", Fault)
async def test_a_controller_that_fails_or_dies_at_any_pass_costs_a_pass(
    api: Api, fleet: Fleet, fault: Fault
) -> None:
    before = await fleet.serving()
    one = next(iter(before.values()))
    asked = await begin(api, amphorae=[one])
    for _ in range(10):
        if (await show(api, asked))["state"] == "DONE":
            break
        fleet.faults.plan(1, fault)
        await fleet.pass_once("upgrade:%")
        assert fleet.faults.struck == 1
        await fleet.rounds(1)
    assert (await show(api, asked))["progress"] == "1 of 1 replaced"
    assert replaced(before, await fleet.serving()) == 1
    await fleet.settle()
    await fleet.assert_nothing_leaked()
