# SPDX-License-Identifier: Apache-2.0
"""What operators see of the fleet as a whole, and processes that watch each other."""

from colonnade.api.operator.fleet_health import FLEET_PATH
from colonnade.cli.local.doctor import problems_of
from colonnade.domain.ids import new_id
from colonnade.runtime.config import Config
from colonnade.store.fleet import daemons
from colonnade.store.fleet.daemons import LIVE_S, REFRESH_S, Daemon, Kind
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, api
from tests.contract.test_safe_mode import Fleet

__all__ = ["api"]

NOT_THERE = ["no controller process runs", "no health process runs"]


async def register(database: Database, *some: Daemon) -> None:
    for daemon in some:
        async with database.transaction() as connection:
            await daemons.register(connection, daemon)


async def pass_time(database: Database, seconds: float) -> None:
    async with database.transaction() as connection:
        ago = f"make_interval(secs => {seconds})"
        await connection.execute(
            f"UPDATE daemons SET seen_at = seen_at - {ago}, since = since - {ago}".encode()
        )


async def told(database: Database) -> list[str]:
    async with database.read() as connection:
        cursor = await connection.execute(
            "SELECT message FROM events WHERE object_kind = 'daemon' ORDER BY id"
        )
        return [row[0] for row in await cursor.fetchall()]


def daemon(kind: Kind, host: int = 1) -> Daemon:
    return Daemon(new_id(), kind, f"198.18.0.{host}:9442")


async def test_operators_see_safe_mode_and_may_end_it(api: Api, database: Database) -> None:
    found = (await api.ask("GET", FLEET_PATH))["fleet"]
    assert found["problems"] == NOT_THERE
    assert found["safe_mode"]["enabled"] is True
    assert found["safe_mode"]["on"] is False
    fleet = Fleet(database)
    ids = await fleet.serve(20)
    await fleet.watched_for(600)
    await fleet.goes_on(4, ids[8:])
    found = (await api.ask("GET", FLEET_PATH))["fleet"]
    mode = found["safe_mode"]
    assert (mode["on"], mode["held"]) == (True, 7)
    assert mode["reason"] == "8 of 20 amphorae that serve were lost within 10 s"
    assert found["problems"][0].endswith(f"{mode['reason']}; 7 amphorae are not replaced for now")
    assert found["amphorae"] == {"SERVING": 19, "FAILED": 1}
    assert found["failovers"] == {"silent": 1}
    assert {one["amphora_id"] for one in found["overdue"]} < set(ids[:8])
    assert len(found["overdue"]) == 7
    found = (await api.ask("PUT", f"{FLEET_PATH}/safe_mode/lift", json={"safe_mode": {}}))["fleet"]
    assert found["problems"] == NOT_THERE
    assert found["safe_mode"]["on"] is False
    assert found["safe_mode"]["lifted_until"] is not None
    assert len(await fleet.goes_on(1, ids[8:], step_s=1)) == 7
    for seconds in (0, 86_401):
        wish = {"safe_mode": {"seconds": seconds}}
        await api.ask("PUT", f"{FLEET_PATH}/safe_mode/lift", 400, json=wish)


async def test_doctor_says_what_the_operators_list_says(
    database: Database, database_url: str, tmp_path: object
) -> None:
    config = Config(state_dir=tmp_path, run_dir=tmp_path, database_url=database_url)  # type: ignore[arg-type]
    assert await problems_of(config, begins_s=0) == NOT_THERE
    await register(database, daemon(Kind.CONTROLLER), daemon(Kind.HEALTH))
    assert await problems_of(config) == []


async def test_a_process_that_falls_silent_is_missed_once_and_told_when_it_is_back(
    database: Database,
) -> None:
    watcher, other, third = daemon(Kind.HEALTH), daemon(Kind.CONTROLLER), daemon(Kind.NETWORK)
    await register(database, watcher, other, third)
    for _ in range(5):
        await pass_time(database, REFRESH_S)
        await register(database, watcher, third)
    assert await told(database) == [
        "the controller process at 198.18.0.1:9442 has not been seen for 35 s"
    ]
    async with database.read() as connection:
        missed = [d.kind for d in await daemons.everyone(connection) if d.missed_since is not None]
        assert missed == ["controller"]
        assert await daemons.live(connection, Kind.CONTROLLER) == []
    await register(database, daemon(Kind.CONTROLLER))  # another run of it
    assert (await told(database))[1:] == ["the controller process at 198.18.0.1:9442 is back"]
    async with database.read() as connection:
        assert [d.missed_since for d in await daemons.everyone(connection)] == [None] * 3


async def test_one_that_ends_says_so_and_is_not_missed(database: Database) -> None:
    watcher, other = daemon(Kind.HEALTH), daemon(Kind.CONTROLLER)
    await register(database, watcher, other)
    async with database.transaction() as connection:
        await daemons.forget(connection, other)
    for _ in range(5):
        await pass_time(database, REFRESH_S)
        await register(database, watcher)
    assert await told(database) == []


async def test_after_an_outage_of_the_database_nobody_is_missed(database: Database) -> None:
    some = [daemon(Kind.HEALTH), daemon(Kind.HEALTH, 2), daemon(Kind.CONTROLLER)]
    await register(database, *some)
    await pass_time(database, 3600)
    for one in some:  # one after the other
        await register(database, one)
        await pass_time(database, 3)
    await pass_time(database, LIVE_S - 15)
    await register(database, *some)
    assert await told(database) == []
