# SPDX-License-Identifier: Apache-2.0
"""`?wait=` answers when what was asked for is served; a burst of changes is never refused."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from colonnade.domain.ids import ClusterId
from colonnade.store.fleet import clusters
from colonnade.store.postgres.database import Database
from colonnade.store.queue import events
from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]


class Controller:
    """Applies what is wanted of one load balancer, when it is told to."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def settle(self, root: Any, *, broken: bool = False) -> None:
        async with self.database.transaction() as connection:
            cursor = await connection.execute(
                "SELECT c.id, c.generation, lb.project_id FROM clusters c"
                " JOIN load_balancers lb ON lb.cluster_id = c.id WHERE lb.id = %s",
                [root["id"]],
            )
            (found,) = await cursor.fetchall()
            cluster_id, generation, project_id = ClusterId(found[0]), found[1], found[2]
            if broken:
                failure = clusters.Failure(
                    code="Rejected", message="haproxy said no", at=datetime.now(UTC)
                )
                await clusters.record_failure(connection, cluster_id, generation, failure)
            else:
                await clusters.settle(connection, cluster_id, generation)
            await events.record(
                connection,
                events.Event(
                    object_kind="cluster",
                    object_id=cluster_id,
                    kind="failed" if broken else "applied",
                    message="haproxy said no" if broken else f"generation {generation} is applied",
                    load_balancer_id=root["id"],
                    project_id=project_id,
                    generation=generation,
                ),
            )

    async def settle_soon(self, root: Any, *, broken: bool = False) -> None:
        await asyncio.sleep(0.3)  # long enough that the request is waiting by then
        await self.settle(root, broken=broken)


async def test_an_answer_waits_until_the_object_is_settled(api: Api, database: Database) -> None:
    controller = Controller(database)
    root = await api.load_balancer("amphora")
    assert root["provisioning_status"] == "PENDING_CREATE"
    path = f"loadbalancers/{root['id']}"
    pool_path = "pools?wait=20"
    pool = {"pool": {"loadbalancer_id": root["id"], "protocol": "HTTP"}}
    pool["pool"]["lb_algorithm"] = "ROUND_ROBIN"
    asks: list[tuple[Any, bool, str]] = [
        (lambda: api.get(f"{path}?wait=20"), False, "ACTIVE"),
        (lambda: api.put(f"{path}?wait=20", {"loadbalancer": {"name": "a"}}), False, "ACTIVE"),
        (lambda: api.post(pool_path, pool), False, "ACTIVE"),
        (lambda: api.put(f"{path}?wait=20", {"loadbalancer": {"name": "b"}}), True, "ERROR"),
        (lambda: api.get(f"{path}?wait=20"), True, "ERROR"),
    ]
    for ask, broken, status in asks:
        started = time.monotonic()
        answer, _ = await asyncio.gather(ask(), controller.settle_soon(root, broken=broken))
        ((_, shown),) = answer.items()
        assert shown["provisioning_status"] == status
        assert time.monotonic() - started < 10


async def test_an_answer_about_a_rule_waits_too(api: Api, database: Database) -> None:
    controller = Controller(database)
    root = await api.load_balancer("amphora")
    listener = await api.listener(root)
    policy = {"listener_id": listener["id"], "action": "REJECT"}
    made = (await api.post("l7policies", {"l7policy": policy}))["l7policy"]
    rules = f"l7policies/{made['id']}/rules"
    rule = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/a"}
    posted, _ = await asyncio.gather(
        api.post(f"{rules}?wait=20", {"rule": rule}), controller.settle_soon(root)
    )
    assert posted["rule"]["provisioning_status"] == "ACTIVE"


async def test_a_deletion_is_waited_for_until_the_object_is_gone(
    api: Api, database: Database
) -> None:
    root = await api.load_balancer("amphora")
    await asyncio.gather(
        api.delete(f"loadbalancers/{root['id']}?wait=20"), Controller(database).settle_soon(root)
    )
    await api.get(f"loadbalancers/{root['id']}", 404)


async def test_the_time_limit_ends_the_wait_and_other_words_are_refused(api: Api) -> None:
    body = {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET, "provider": "amphora"}}
    root = (await api.post("loadbalancers?wait=0.2", body))["loadbalancer"]
    assert root["provisioning_status"] == "PENDING_CREATE"
    for word in ("soon", "-1", "nan", "inf", ""):
        await api.get(f"loadbalancers/{root['id']}?wait={word}", 400)
    await api.get("loadbalancers/nothing?wait=5", 404)
    noop = await api.load_balancer("noop")
    shown = (await api.get(f"loadbalancers/{noop['id']}?wait=60"))["loadbalancer"]
    assert shown["id"] == noop["id"]
    assert (await api.get("loadbalancers?wait=60"))["loadbalancers"][0]["id"] == root["id"]


async def test_who_waits_holds_no_connection(api: Api, database: Database) -> None:
    """Many more wait than there are connections, and others are served meanwhile."""
    controller = Controller(database)
    root = await api.load_balancer("amphora")
    path = f"loadbalancers/{root['id']}"
    waiting = [asyncio.create_task(api.get(f"{path}?wait=20")) for _ in range(40)]
    await asyncio.sleep(0.2)
    started = time.monotonic()
    await api.get(path)
    assert time.monotonic() - started < 1
    await controller.settle(root)
    found = await asyncio.gather(*waiting)
    assert {shown["loadbalancer"]["provisioning_status"] for shown in found} == {"ACTIVE"}


async def test_a_burst_of_changes_is_accepted_while_pending(api: Api) -> None:
    root = await api.load_balancer("amphora")
    pool = await api.pool(root)
    await asyncio.gather(*(api.member(pool, address=f"10.0.0.{n}") for n in range(1, 21)))
    for name in ("a", "b", "c"):
        await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"name": name}})
    shown = (await api.get(f"loadbalancers/{root['id']}"))["loadbalancer"]
    assert (shown["provisioning_status"], shown["name"]) == ("PENDING_CREATE", "c")
    members = (await api.get(f"pools/{pool['id']}/members"))["members"]
    assert len(members) == 20
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    for status, ask in (
        (409, api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"name": "x"}}, 409)),
        (409, api.delete(f"loadbalancers/{root['id']}?cascade=true", 409)),
        (409, api.member(pool, 409, address="10.0.0.99")),
    ):
        assert await ask is not None, status
