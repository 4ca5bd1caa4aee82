# SPDX-License-Identifier: Apache-2.0
"""A message bus is told of load balancers as Octavia tells it: in order, and until it has it.

Load balancers are those of the noop provider, which serves each wish at once. The same tests are
asked of a real RabbitMQ in `tests/openstack/`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, LiteralString, Protocol
from uuid import UUID

import pytest
import pytest_asyncio

from colonnade.controller.loop import Loop
from colonnade.domain.errors import Unavailable
from colonnade.notifier.bus import Bus
from colonnade.notifier.notifications import Notifications
from colonnade.notifier.waking import wake_for_ever
from colonnade.runtime.config import Kept
from colonnade.store.extras import notifications
from colonnade.store.postgres.database import Database
from colonnade.store.retention import sweep
from tests.api_server import eventually
from tests.contract.api_client import Api, serving
from tests.fakes.bus import FakeBroker


class Broker(Protocol):
    def bus(self) -> Bus: ...

    async def leave(self) -> None: ...

    async def come_back(self) -> None: ...

    def messages(self) -> Awaitable[list[Any]]: ...


class Bench:
    """The API, a broker, and what tells it."""

    def __init__(self, api: Api, database: Database, broker: Broker, bus: Bus) -> None:
        self.api, self.database, self.broker, self.bus = api, database, broker, bus
        self.telling = Notifications(database, bus)

    async def tell(self) -> None:
        """All that there is to tell."""
        while await self.telling.reconcile("bus") is not None:
            pass

    async def told(self) -> list[Any]:
        await self.tell()
        return await self.broker.messages()

    async def change(self, load_balancer: Any, **more: Any) -> None:
        await self.api.put(f"loadbalancers/{load_balancer['id']}", {"loadbalancer": more})

    async def delete(self, load_balancer: Any) -> None:
        await self.api.delete(f"loadbalancers/{load_balancer['id']}?cascade=true")

    async def rows(self, sentence: LiteralString) -> Any:
        async with self.database.read() as connection:
            return await (await connection.execute(sentence)).fetchall()


class Losing:
    """A bus whose answer is lost, once, after it has taken the message."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._is_lost = False

    async def publish(self, message_id: str, body: bytes) -> None:
        await self._bus.publish(message_id, body)
        if not self._is_lost:
            self._is_lost = True
            raise Unavailable("its answer was lost")

    async def close(self) -> None:
        await self._bus.close()


@pytest.fixture
def broker() -> Broker:
    return FakeBroker()


@pytest_asyncio.fixture
async def bench(database: Database, broker: Broker) -> AsyncIterator[Bench]:
    bus = broker.bus()
    async with serving(database) as api:
        made = Bench(api, database, broker, bus)
        await made.telling.begin()
        yield made
    await bus.close()


async def test_a_life_is_told_as_octavia_tells_it(bench: Bench) -> None:
    made = await bench.api.load_balancer(name="shop", description="d", tags=["a"], project_id="p")
    (created,) = await bench.told()
    assert created["event_type"] == "octavia.loadbalancer.create.end"
    assert created["priority"] == "INFO" and created["publisher_id"] is None
    assert created["_unique_id"] == UUID(created["message_id"]).hex
    assert created["_context_project"] == created["_context_tenant"] == "p"
    shown = (await bench.api.get(f"loadbalancers/{made['id']}"))["loadbalancer"]
    vip = {name: shown[f"vip_{name}"] for name in ("network_id", "port_id", "subnet_id")}
    same = ("id", "name", "description", "project_id", "provider", "flavor_id", "tags", "listeners",
            "pools", "provisioning_status", "operating_status", "created_at",
            "availability_zone", "admin_state_up", "vip_address", "vip_network_id", "vip_port_id",
            "vip_subnet_id", "vip_qos_policy_id", "additional_vips")  # fmt: skip
    assert created["payload"] == {
        **{name: shown[name] for name in same},
        "loadbalancer_id": shown["id"],
        "enabled": True,
        "updated_at": None,
        "vip": {"ip_address": shown["vip_address"], "qos_policy_id": None, **vip},
    }
    await bench.change(made, description="other")
    (updated,) = await bench.told()
    assert updated["event_type"] == "octavia.loadbalancer.update.end"
    assert updated["payload"]["description"] == "other"
    await bench.delete(made)
    (deleted,) = await bench.told()
    assert deleted["event_type"] == "octavia.loadbalancer.delete.end"
    kept = ("id", "loadbalancer_id", "name", "description", "project_id", "vip", "vip_port_id")
    assert {name: deleted["payload"][name] for name in kept} == {
        name: updated["payload"][name] for name in kept
    }
    assert deleted["payload"]["provisioning_status"] == "DELETED"
    assert await bench.told() == []
    assert await bench.rows("SELECT * FROM notified") == []


async def test_what_is_below_a_load_balancer_is_no_change_of_it(bench: Bench) -> None:
    made = await bench.api.load_balancer()
    assert len(await bench.told()) == 1
    listener = await bench.api.listener(made)
    assert await bench.told() == []
    await bench.change(made, name="other")
    (updated,) = await bench.told()
    assert updated["payload"]["listeners"] == [{"id": listener["id"]}]


async def test_while_the_bus_is_away_nothing_is_lost(bench: Bench) -> None:
    first = await bench.api.load_balancer()
    await bench.broker.leave()
    with pytest.raises(Unavailable):
        await bench.tell()
    second = await bench.api.load_balancer()
    with pytest.raises(Unavailable):
        await bench.tell()
    await bench.delete(first)
    await bench.broker.come_back()
    told = [(one["event_type"].split(".")[2], one["payload"]["id"]) for one in await bench.told()]
    assert told == [("create", first["id"]), ("create", second["id"]), ("delete", first["id"])]


async def test_what_may_not_have_come_comes_again_with_the_same_ids(bench: Bench) -> None:
    made = await bench.api.load_balancer()
    losing = Notifications(bench.database, Losing(bench.bus))
    with pytest.raises(Unavailable):
        await losing.reconcile("bus")
    once, again = await bench.told() or pytest.fail("nothing came")
    assert once == again and once["payload"]["id"] == made["id"]
    assert await bench.told() == []


async def test_what_is_served_before_is_known(database: Database, broker: Broker) -> None:
    """A bus is told of what comes once there is one; of what goes then, all is told."""
    async with serving(database) as api:
        made = await api.load_balancer(name="old")
        bus = broker.bus()
        bench = Bench(api, database, broker, bus)
        await bench.telling.begin()
        assert await bench.told() == []
        await bench.delete(made)
        (deleted,) = await bench.told()
        assert deleted["event_type"] == "octavia.loadbalancer.delete.end"
        assert deleted["payload"]["name"] == "old"
        later = await api.load_balancer()
        await bench.telling.begin()  # as each notifier does that starts
        (created,) = await bench.told()
        assert created["payload"]["id"] == later["id"]
        await bus.close()


async def test_events_that_were_forgotten_hold_up_nothing(bench: Bench) -> None:
    made = await bench.api.load_balancer()
    await bench.api.load_balancer()
    await sweep(bench.database, Kept(events_max=1))
    left = await bench.rows("SELECT load_balancer_id::text FROM events")
    told = await bench.told()
    assert [one["payload"]["id"] for one in told] == [row[0] for row in left]
    ((missed_at,),) = await bench.rows("SELECT missed_at FROM notifications")
    assert missed_at is not None
    await bench.change(made, name="other")
    (created,) = await bench.told()
    assert created["event_type"] == "octavia.loadbalancer.create.end", "it was not told of before"
    assert created["payload"]["name"] == "other"


async def test_the_bus_is_told_as_it_happens_and_after_a_pause(bench: Bench) -> None:
    """By events as they come, and by the sweep for those that came while nobody ran."""
    loop = Loop(bench.database, {notifications.KIND: bench.telling})
    before = await bench.api.load_balancer()
    running = [
        asyncio.create_task(loop.run()),
        asyncio.create_task(wake_for_ever(bench.database, more=[notifications])),
    ]
    try:
        seen = await _until_told(bench, 1)
        after = await bench.api.load_balancer()
        seen += await _until_told(bench, 1)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert [one["payload"]["id"] for one in seen] == [before["id"], after["id"]]
    async with bench.database.read() as connection:
        assert await notifications.lag_s(connection) == 0


async def _until_told(bench: Bench, number: int) -> list[Any]:
    seen: list[Any] = []

    async def came() -> bool:
        seen.extend(await bench.broker.messages())
        return len(seen) >= number

    await eventually(came)
    return seen
