# SPDX-License-Identifier: Apache-2.0
"""Amphorae that are heard and do not serve as they should: asked once more, then replaced."""

from collections.abc import Sequence

import pytest

from colonnade.api.operator.fleet_health import FLEET_PATH
from colonnade.domain.ids import AmphoraId
from colonnade.health.trouble_watch import Troubles
from colonnade.protocol.messages import StatusReport, Trouble, TroubleKind
from colonnade.runtime.clock import SystemClock
from colonnade.runtime.config import Failovers
from colonnade.store.fleet import amphora_rows, troubles
from colonnade.store.fleet.failovers import Rules
from colonnade.store.fleet.safe_mode import Cause
from colonnade.store.postgres.database import Database
from tests.contract.api_client import Api, api
from tests.contract.test_health import Agents
from tests.contract.test_safe_mode import ALLOWED, CLOCKS, Fleet

__all__ = ["api"]

LIMITS = Failovers()
MORE_CLOCKS = (("troubles", "since"), ("troubles", "seen_at"), ("amphorae", "applied_at"))


class Ward(Fleet):
    """A fleet whose amphorae are asked how they are, of an object in memory."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.agents = Agents()
        self.troubles = Troubles(
            database, self.agents, SystemClock(), Rules(heartbeats=ALLOWED, failovers=LIMITS)
        )

    async def beds(self, count: int) -> Sequence[AmphoraId]:
        ids = await self.serve(count)
        async with self.database.transaction() as connection:
            await connection.execute("UPDATE amphorae SET lb_network_ip = '198.18.0.9'")
        return ids

    async def tells(self, amphora_id: AmphoraId, *kinds: str, text: str = "") -> None:
        """As the intake writes down what a report says; it would say the same again."""
        told = tuple(Trouble(kind=kind, text=text) for kind in kinds)
        self.agents.reports[amphora_id] = StatusReport(
            generation=1, haproxy_running=True, troubles=told
        )
        async with self.database.transaction() as connection:
            rows = [(one.kind, one.text) for one in told]
            await troubles.record(connection, amphora_id, rows)

    async def waits(self, seconds: float) -> None:
        ago = f"make_interval(secs => {seconds})"
        async with self.database.transaction() as connection:
            for table, column in (*CLOCKS, *MORE_CLOCKS):
                await connection.execute(f"UPDATE {table} SET {column} = {column} - {ago}".encode())
        await self.beat(self.ids)

    async def replaced(self) -> list[tuple[AmphoraId, Cause]]:
        return [(amphora.id, cause) for amphora, cause in (await self.troubles.look()).failed]


@pytest.fixture
def ward(database: Database) -> Ward:
    return Ward(database)


async def test_one_that_leaves_is_watched_like_one_that_serves(ward: Ward) -> None:
    ill, *_ = await ward.beds(5)
    async with ward.database.transaction() as connection:
        await connection.execute("UPDATE amphorae SET state = 'LEAVING' WHERE id = %s", [ill])
        await troubles.record(connection, ill, [("haproxy", "")])
        assert [one.amphora_id for one in await troubles.everyone(connection, 9)] == [ill]
    await ward.tells(ill, "haproxy")
    await ward.waits(LIMITS.haproxy_s + 1)
    assert await ward.replaced() == [(ill, Cause.HAPROXY)]


@pytest.mark.parametrize("kind", list(TroubleKind))
async def test_one_in_trouble_for_long_is_replaced_and_it_is_said_why(
    ward: Ward, kind: TroubleKind
) -> None:
    ill, *_ = await ward.beds(5)
    grace_s = getattr(LIMITS, f"{kind}_s")
    await ward.tells(ill, kind, text="it\0 says")
    await ward.waits(grace_s - 5)
    await ward.tells(ill, kind, text="it\0 says")  # again, and its time goes on
    assert await ward.replaced() == []
    await ward.waits(6)
    cause = Cause[kind.upper()]
    assert await ward.replaced() == [(ill, cause)]
    async with ward.database.read() as connection:
        cursor = await connection.execute("SELECT message FROM events WHERE object_id = %s", [ill])
        row = await cursor.fetchone()
    assert row is not None
    assert row[0].endswith(f": {cause.value}: it says")


async def test_what_passes_by_itself_replaces_nobody(ward: Ward) -> None:
    ill, mute, *_ = await ward.beds(5)
    for one in (ill, mute):
        await ward.tells(one, TroubleKind.HAPROXY)
    await ward.waits(60)
    # What it says now is not yet written down; the other one does not answer.
    ward.agents.reports[ill] = StatusReport(generation=1, haproxy_running=True)
    del ward.agents.reports[mute]
    assert await ward.replaced() == []
    async with ward.database.read() as connection:
        left = [one.amphora_id for one in await troubles.everyone(connection, 10)]
    assert left == [mute]


async def test_many_in_trouble_at_once_are_a_mass(ward: Ward) -> None:
    ids = await ward.beds(20)
    for one in ids[:6]:
        await ward.tells(one, TroubleKind.GATEWAY, text="203.0.113.1 does not answer")
    async with ward.database.transaction() as connection:  # two of them a moment earlier
        await connection.execute(
            "UPDATE troubles SET since = since - interval '31 s' WHERE amphora_id = ANY(%s)",
            [ids[:2]],
        )
    assert len(await ward.replaced()) == 1
    assert (await ward.mode()).since is not None
    await ward.waits(31)
    assert await ward.replaced() == []
    await ward.waits(31)
    assert len(await ward.replaced()) == 1


async def test_a_cluster_is_not_failed_over_for_trouble_again_and_again(ward: Ward) -> None:
    first, second, *_ = await ward.beds(5)
    await ward.tells(first, TroubleKind.DISK)
    await ward.waits(LIMITS.disk_s + 1)
    assert [one for one, _ in await ward.replaced()] == [first]
    async with ward.database.transaction() as connection:  # the one that came in its place
        await connection.execute(
            "UPDATE amphorae SET cluster_id = %s WHERE id = %s", [first, second]
        )
    await ward.tells(second, TroubleKind.DISK)
    await ward.waits(LIMITS.disk_s + 1)
    assert await ward.replaced() == []
    await ward.waits(LIMITS.again_s)
    assert [one for one, _ in await ward.replaced()] == [second]


async def test_what_a_newer_release_complains_of_is_passed_over(ward: Ward) -> None:
    ill, *_ = await ward.beds(5)
    await ward.tells(ill, "moon", TroubleKind.DISK, "applies_nothing")
    async with ward.database.read() as connection:
        assert [one.cause for one in await troubles.everyone(connection, 10)] == [Cause.DISK]
    await ward.tells(ill)
    async with ward.database.read() as connection:
        assert await troubles.everyone(connection, 10) == []


async def test_one_that_takes_no_change_is_replaced_while_controllers_try(ward: Ward) -> None:
    ill, *_ = await ward.beds(5)

    async def pushed_in_vain() -> None:
        async with ward.database.transaction() as connection:
            await troubles.applies_nothing(connection, ill, "an amphora does not answer")

    async def wished(generation: int) -> None:
        async with ward.database.transaction() as connection:
            await connection.execute(
                "UPDATE clusters SET generation = %s WHERE id = %s", [generation, ill]
            )

    async def pushed_for(seconds: float) -> None:
        await pushed_in_vain()
        for _ in range(4):
            await ward.waits(seconds / 4)
            await pushed_in_vain()

    await wished(2)
    await pushed_for(LIMITS.applies_nothing_s - 10)
    assert await ward.replaced() == []
    await pushed_for(20)
    ward.agents.reports[ill] = StatusReport(generation=2, haproxy_running=True)
    assert await ward.replaced() == [], "it has taken it meanwhile"
    del ward.agents.reports[ill]
    await wished(1)
    assert await ward.replaced() == [], "there is nothing to take"
    await wished(2)
    await ward.waits(troubles.FRESH_S + 1)
    assert await ward.replaced() == [], "no controller has tried of late"
    await pushed_for(20)
    assert await ward.replaced() == [], "its time begins anew"
    await pushed_for(LIMITS.applies_nothing_s)
    assert await ward.replaced() == [(ill, Cause.APPLIES_NOTHING)]


async def test_operators_see_who_is_in_trouble(ward: Ward, api: Api) -> None:
    ill, *_ = await ward.beds(3)
    await ward.tells(ill, TroubleKind.GATEWAY, text="no route to 203.0.113.1")
    found = (await api.ask("GET", FLEET_PATH))["fleet"]["troubled"]
    assert [(one["amphora_id"], one["reason"]) for one in found] == [
        (ill, "it has lost its gateway: no route to 203.0.113.1")
    ]
    async with ward.database.read() as connection:
        amphora = await amphora_rows.amphora(connection, ill)
    assert amphora is not None
