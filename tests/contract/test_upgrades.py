# SPDX-License-Identifier: Apache-2.0
"""Amphorae of several load balancers are replaced one after the other, as operators ask and as the
system does by itself: the API and a whole control plane in memory share one database."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio

from colonnade.api.operator.upgrades import UPGRADES_PATH, WholeUpgradeObject
from colonnade.controller.retirement import Retirement
from colonnade.domain.ids import AmphoraId, LoadBalancerId, new_id
from colonnade.domain.lifecycle import State
from colonnade.runtime.config import Config
from colonnade.runtime.config import Retirement as Settings
from colonnade.store.fleet import safe_mode_rows, upgrade_rows
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, serving
from tests.world import World

NEXT = "99.0.0"  # a release that is newer than any
FAST = {"canary_s": 0, "watch_s": 0}
CLOCKS = (
    ("upgrades", "state_since"),
    ("upgrade_steps", "since"),
    ("upgrade_steps", "begun_at"),
    ("amphorae", "outdated_since"),
)


class Fleet(World):
    """Several load balancers, each with an amphora."""

    balancers: list[LoadBalancerId]

    async def grow(self, count: int) -> None:
        self.balancers = []
        for _ in range(count):
            await self.create()
            self.balancers.append(self.load_balancer_id)
        await self.settle()
        await self.tell_versions()

    async def serving(self) -> dict[LoadBalancerId, AmphoraId]:
        """Which amphora answers for which load balancer."""
        found = {}
        for name in self.balancers:
            self.load_balancer_id = name
            (found[name],) = self.answering()
        return found

    async def states(self) -> dict[AmphoraId, State]:
        return {row.id: row.state for row in await self.rows()}

    async def rounds(self, count: int) -> None:
        for _ in range(count):
            await self.beat()
            await self._round()
            await self.tell_versions()
        await self.beat()

    async def tell_versions(self) -> None:
        """Agents are of the release that booted them, and say so."""
        await self.write("UPDATE amphorae SET agent_version = born_by WHERE state <> 'BOOTING'")

    async def passes(self, seconds: float) -> None:
        for table, column in CLOCKS:
            await self.write(
                f"UPDATE {table} SET {column} = {column} - make_interval(secs => {seconds})"
            )

    async def write(self, statement: str) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(statement.encode())

    async def retire(self, release: str = NEXT, **settings: Any) -> None:
        """As the reconciler of `retirement:all` does now and then."""
        found = Retirement(self.database, Settings(**settings), 1, release=release)
        await found.reconcile("all")

    def begin_release(self, release: str) -> None:
        self.release = release
        self.loop = self._controller()


@pytest_asyncio.fixture
async def fleet(database: Database, tmp_path: Path) -> Fleet:
    """Three load balancers and a spare."""
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url="", spares=1)
    fleet = Fleet(database, config)
    await fleet.write("INSERT INTO work (key) VALUES ('leaks:all'), ('spares:default')")
    await fleet.grow(3)
    return fleet


@pytest_asyncio.fixture
async def api(fleet: Fleet) -> AsyncIterator[Api]:
    async with serving(fleet.database, fleet.network) as api:
        yield api


async def begin(api: Api, status: int = 201, **wish: Any) -> Any:
    answer = await api.ask("POST", UPGRADES_PATH, status, json={"upgrade": FAST | wish})
    return answer["upgrade"] if status == 201 else answer["faultstring"]


async def show(api: Api, upgrade: Any) -> Any:
    return (await api.ask("GET", f"{UPGRADES_PATH}/{upgrade['id']}"))["upgrade"]


async def say(api: Api, upgrade: Any, word: str, status: int = 200) -> Any:
    answer = await api.ask("PUT", f"{UPGRADES_PATH}/{upgrade['id']}/{word}", status)
    return answer["upgrade"] if status == 200 else answer["faultstring"]


def steps(shown: Any) -> list[str]:
    return [step["state"] for step in shown["steps"]]


def replaced(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> int:
    return sum(before[name] != after[name] for name in before)


async def test_all_are_replaced_and_each_serves_until_another_does(api: Api, fleet: Fleet) -> None:
    before = await fleet.serving()
    asked = await begin(api, all=True)
    assert WholeUpgradeObject.__struct_fields__ == tuple(asked)
    assert (asked["state"], asked["progress"]) == ("RUNNING", "0 of 3 replaced, 3 to come")
    for _ in range(40):
        await fleet.rounds(1)
        states = list((await fleet.states()).values())
        assert states.count(State.LEAVING) <= 2
        await fleet.serving()  # somebody answers for each
        if (await show(api, asked))["state"] == "DONE":
            break
    found = await show(api, asked)
    assert found["progress"] == "3 of 3 replaced"
    after = await fleet.serving()
    assert replaced(before, after) == 3
    assert sorted(fleet.amphorae.drained) == sorted(before.values())
    assert {step["successor_id"] for step in found["steps"]} == set(after.values())
    assert {step["loadbalancer_id"] for step in found["steps"]} == set(fleet.balancers)
    await fleet.settle()
    await fleet.assert_nothing_leaked()
    listed = await api.ask("GET", UPGRADES_PATH)
    assert [one["id"] for one in listed["upgrades"]] == [asked["id"]]


async def test_it_stops_when_a_replacement_cannot_be_made_and_the_old_one_serves_on(
    api: Api, fleet: Fleet
) -> None:
    before = await fleet.serving()
    fleet.amphorae.hated_ports = {80}
    asked = await begin(api, all=True)
    await fleet.rounds(4)
    found = await show(api, asked)
    assert (found["state"], steps(found)) == ("STOPPED", ["FAILED", "WAITING", "WAITING"])
    canary = found["steps"][0]
    assert found["reason"] == f"amphora {canary['amphora_id']}: cannot bind port 80"
    assert replaced(before, await fleet.serving()) == 0
    fleet.amphorae.hated_ports = set()
    await fleet.rounds(4)
    assert (await show(api, asked))["state"] == "STOPPED"  # a person goes on
    await say(api, asked, "resume")
    await fleet.rounds(20)
    assert (await show(api, asked))["state"] == "DONE"
    assert replaced(before, await fleet.serving()) == 3


async def test_what_is_asked_for_must_make_sense(api: Api, fleet: Fleet) -> None:
    words = "No amphora that serves is outdated: name some, or ask for all."
    assert await begin(api, 409) == words
    (spare,) = [name for name, state in (await fleet.states()).items() if state is State.SPARE]
    assert (await begin(api, 409, amphorae=[spare])).startswith(f"Amphora {spare} serves no load")
    assert "is no id" in await begin(api, 400, amphorae=["x"])
    for wrong in ({"at_once": 0}, {"at_once": 21}, {"step_s": 1}, {"canary_s": -1}, {"x": 1}):
        await begin(api, 400, all=True, **wrong)
    assert await begin(api, 409, all=True, flavor=new_id()) == words
    await api.ask("GET", f"{UPGRADES_PATH}/{new_id()}", 404)
    await say(api, {"id": new_id()}, "pause", 404)
    plan = await api.ask("POST", f"{UPGRADES_PATH}/plan", json={"upgrade": {"all": True}})
    assert plan["plan"]["progress"] == "0 of 3 replaced, 3 to come"
    assert len(plan["plan"]["steps"]) == 3
    assert (await api.ask("GET", UPGRADES_PATH))["upgrades"] == []
    one = next(iter((await fleet.serving()).values()))
    assert [s["amphora_id"] for s in (await begin(api, amphorae=[one]))["steps"]] == [one]


async def test_what_is_outdated_is_shown_and_replaced_slowly_and_nothing_else(
    api: Api, fleet: Fleet
) -> None:
    before = await fleet.serving()
    await fleet.retire(release=fleet.release, grace_s=0)
    assert not (await api.ask("GET", UPGRADES_PATH))["upgrades"]
    fleet.begin_release(NEXT)
    old, *others = before.values()
    names = ", ".join(f"'{name}'" for name in others)
    await fleet.write(f"UPDATE amphorae SET agent_version = '{NEXT}' WHERE id IN ({names})")
    await fleet.retire()
    found = (await api.ask("GET", "/v2/octavia/amphorae"))["amphorae"]
    shown = {one["id"]: one["outdated"] for one in found}
    assert shown[old].endswith(f", and {NEXT} is wanted")
    assert [shown[name] for name in others] == [None, None]
    assert not (await api.ask("GET", UPGRADES_PATH))["upgrades"]  # it has its grace
    await fleet.rounds(8)  # the spare is exchanged meanwhile
    await fleet.passes(901)
    await fleet.retire(automatic=False)
    assert not (await api.ask("GET", UPGRADES_PATH))["upgrades"]
    await fleet.retire()
    (automatic,) = (await api.ask("GET", UPGRADES_PATH))["upgrades"]
    assert (automatic["automatic"], automatic["pace"]["at_once"]) == (True, 1)
    assert [s["amphora_id"] for s in (await show(api, automatic))["steps"]] == [old]
    await fleet.rounds(8)
    await fleet.passes(61)
    await fleet.rounds(2)
    await fleet.retire()
    assert (await show(api, automatic))["state"] == "DONE"
    after = await fleet.serving()
    assert replaced(before, after) == 1
    assert old not in after.values()
    assert len((await api.ask("GET", UPGRADES_PATH))["upgrades"]) == 1
    await fleet.settle()
    await fleet.assert_nothing_leaked()


async def test_one_that_this_release_booted_is_never_replaced_for_its_agent(
    api: Api, fleet: Fleet
) -> None:
    await fleet.write(f"UPDATE amphorae SET born_by = '{NEXT}'")  # a machine not yet up to date
    await fleet.retire()
    before = await fleet.states()
    await fleet.passes(10_000)
    await fleet.retire()
    await fleet.rounds(3)
    assert await fleet.states() == before
    assert not (await api.ask("GET", UPGRADES_PATH))["upgrades"]
    found = (await api.ask("GET", "/v2/octavia/amphorae"))["amphorae"]
    assert all("which the machine that booted it does not have" in a["outdated"] for a in found)


async def test_in_safe_mode_none_begins_by_itself_and_a_person_comes_first(
    api: Api, fleet: Fleet
) -> None:
    await fleet.retire()
    await fleet.passes(10_000)
    await fleet.write(
        "INSERT INTO safe_mode (since, reason) VALUES (now(), 'so')"
        " ON CONFLICT (is_this) DO UPDATE SET since = now()"
    )
    await fleet.retire()
    assert not (await api.ask("GET", UPGRADES_PATH))["upgrades"]
    async with fleet.database.transaction() as connection:
        await safe_mode_rows.lift(connection, 60)
    await fleet.retire()
    (automatic,) = (await api.ask("GET", UPGRADES_PATH))["upgrades"]
    asked = await begin(api, all=True)
    found = await show(api, automatic)
    assert (found["state"], found["reason"]) == ("CANCELLED", "a person began another")
    await say(api, asked, "undo")
    await fleet.retire()
    async with fleet.database.read() as connection:
        assert await upgrade_rows.open_now(connection) is None  # not again today
    await fleet.passes(86_400)
    await fleet.retire()
    async with fleet.database.read() as connection:
        assert await upgrade_rows.open_now(connection) is not None
