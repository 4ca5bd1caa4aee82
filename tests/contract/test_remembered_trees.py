# SPDX-License-Identifier: Apache-2.0
"""Several API processes write one tree, each remembering it: none acts on what is no longer so.

Two applications over two `Database`s share nothing but the rows, as two processes do.
"""

import asyncio
from typing import Any

import psycopg
import pytest

from colonnade.store.trees.remembered import remembered_by
from tests.agent_bench import until
from tests.certificates import authority, made
from tests.contract.api_client import Api
from tests.contract.processes import process
from tests.fakes.network import PRIVATE_SUBNET, FakeNetwork

WRITERS, WRITES = 4, 6


async def test_two_processes_write_one_tree_in_turns(database_url: str) -> None:
    async with process(database_url) as one, process(database_url) as other:
        pool = await one.pool(await one.load_balancer())
        for number in range(1, 7):
            writer, reader = (one, other) if number % 2 else (other, one)
            made = await writer.member(pool, address=f"10.0.0.{number}")
            path = f"pools/{pool['id']}/members/{made['id']}"
            changed = await reader.put(path, {"member": {"weight": 9 + number}})
            assert changed["member"]["weight"] == 9 + number
        members = (await one.get(f"pools/{pool['id']}/members"))["members"]
        assert [m["weight"] for m in members] == [10, 11, 12, 13, 14, 15]
        root = pool["loadbalancers"][0]["id"]
        past = (await other.get(f"loadbalancers/{root}/history"))["history"]
        assert [entry["generation"] for entry in past] == list(range(14, 0, -1))


async def test_processes_that_write_at_once_lose_nothing(database_url: str) -> None:
    async with process(database_url) as one, process(database_url) as other:
        pool = await one.pool(await one.load_balancer())

        async def write(api: Api, number: int) -> None:
            for n in range(WRITES):
                await api.member(pool, address=f"10.0.{number}.{n + 1}")

        sides = (one, other)
        await asyncio.gather(*(write(sides[n % 2], n) for n in range(WRITERS)))
        members = (await one.get(f"pools/{pool['id']}/members"))["members"]
        assert len(members) == WRITERS * WRITES


async def test_no_refusal_is_drawn_from_a_tree_that_has_changed(database_url: str) -> None:
    async with process(database_url) as one, process(database_url) as other:
        root = await one.load_balancer()
        pool = await one.pool(root)
        made = await one.member(pool)
        # To the first process the address is still taken.
        await other.delete(f"pools/{pool['id']}/members/{made['id']}")
        await one.member(pool)
        # To the second one it is free.
        await other.member(pool, 409)
        # And the first one knows nothing of the new pool, or of its end.
        fresh = await other.pool(root)
        await one.member(fresh)
        await other.delete(f"pools/{fresh['id']}")
        await one.member(fresh, 404)
        await other.delete(f"loadbalancers/{root['id']}?cascade=true")
        await one.member(pool, 404)


async def test_what_would_change_nothing_here_may_be_a_change_there(database_url: str) -> None:
    async with process(database_url) as one, process(database_url) as other:
        pool = await one.pool(await one.load_balancer())
        made = await one.member(pool)
        await other.delete(f"pools/{pool['id']}/members/{made['id']}")
        batch = {"members": [{n: made[n] for n in ("address", "protocol_port")}]}
        await one.put(f"pools/{pool['id']}/members", batch, 202)
        (back,) = (await other.get(f"pools/{pool['id']}/members"))["members"]
        assert back["id"] != made["id"]


async def test_a_quota_holds_from_the_moment_that_another_process_sets_it(
    database_url: str,
) -> None:
    async with process(database_url) as one, process(database_url) as other:
        root = await one.load_balancer()
        pool = await one.pool(root)
        await one.member(pool)
        quota = {"quota": {"member": 1}}
        await other.ask("PUT", f"/v2/lbaas/quotas/{root['project_id']}", 202, json=quota)
        await one.member(pool, 403, address="10.0.0.12")
        # It bounds members alone.
        await one.listener(root)
        await other.ask("DELETE", f"/v2/lbaas/quotas/{root['project_id']}", 202)
        await one.member(pool, address="10.0.0.12")


async def test_a_trial_is_of_the_tree_as_it_is(database_url: str) -> None:
    async with process(database_url) as one, process(database_url) as other:
        pool = await one.pool(await one.load_balancer())
        made = await one.member(pool)
        await other.delete(f"pools/{pool['id']}/members/{made['id']}")
        body = {"member": {"address": made["address"], "protocol_port": made["protocol_port"]}}
        tried = await one.post(f"pools/{pool['id']}/members?dry_run=true", body, 200)
        assert [change["action"] for change in tried["dry_run"]["changes"]] == ["added"]
        assert (await other.get(f"pools/{pool['id']}/members"))["members"] == []


async def test_what_was_changed_behind_all_of_them_is_read_again(database_url: str) -> None:
    """As a restore of older rows does, which may have the same generations."""
    async with process(database_url) as one:
        pool = await one.pool(await one.load_balancer())
        await one.member(pool)
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM members")
            connection.execute("UPDATE load_balancers SET changed = changed")
        await one.member(pool, address="10.0.0.12")
        await one.member(pool)
        assert len((await one.get(f"pools/{pool['id']}/members"))["members"]) == 2


async def test_a_tree_is_read_once_and_then_written_on(database_url: str) -> None:
    async with process(database_url) as one:
        pool = await one.pool(await one.load_balancer())
        memory = remembered_by(one.database)
        before = memory.find(pool["id"])
        made = await one.member(pool)
        after = memory.find(pool["id"])
        assert before is not None and after is not None
        assert after.generation == before.generation + 1
        (known,) = after.tree.pools
        assert [member.id for member in known.members] == [made["id"]]
        assert after.tree.vip is before.tree.vip  # what was not changed is the very same


async def test_what_another_process_wrote_is_caught_up_with(database_url: str) -> None:
    async with process(database_url) as one, process(database_url) as other:
        root = await one.load_balancer()
        front, pool = await one.listener(root), await one.pool(root)
        aside, memory = await one.pool(root), remembered_by(one.database)
        before = memory.find(root["id"])
        await other.member(pool)
        fresh = await other.pool(root)
        await other.delete(f"pools/{aside['id']}")
        await one.member(fresh)
        after = memory.find(root["id"])
        assert before is not None and after is not None
        assert after.generation == before.generation + 4
        assert [len(found.members) for found in after.tree.pools] == [1, 1]
        # It was not loaded anew: what nobody changed is the very same.
        assert after.tree.listeners is before.tree.listeners
        assert [found.id for found in after.tree.listeners] == [front["id"]]


async def test_history_is_not_believed_where_rows_were_written_without_it(
    database_url: str,
) -> None:
    async with process(database_url) as one, process(database_url) as other:
        pool = await one.pool(await one.load_balancer())
        await one.member(pool)
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM members")
            connection.execute("UPDATE load_balancers SET changed = changed")
        await other.member(pool, address="10.0.0.12")
        await one.member(pool)
        assert len((await one.get(f"pools/{pool['id']}/members"))["members"]) == 2


async def test_history_of_nouns_that_a_newer_release_has_is_passed_over(
    database_url: str,
) -> None:
    async with process(database_url) as one, process(database_url) as other:
        pool = await one.pool(await one.load_balancer())
        await other.member(pool)
        with psycopg.connect(database_url) as connection:
            newer = """'[{"kind": "errorpage", "id": "x", "action": "added", "after": {}}]'"""
            connection.execute(f"UPDATE generations SET changes = changes || {newer}")
            connection.execute("UPDATE load_balancers SET changed = changed")  # by the same writer
        await one.member(pool, address="10.0.0.12")
        assert len((await one.get(f"pools/{pool['id']}/members"))["members"]) == 2


async def somebody_waits(url: str) -> None:
    """Until a statement waits for a lock."""
    query = (
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    with psycopg.connect(url, autocommit=True) as watch:

        async def is_waiting() -> bool:
            return watch.execute(query).fetchone() is not None

        await until(is_waiting)


async def test_a_secret_that_goes_as_a_remembered_tree_is_written_is_missed(
    database_url: str,
) -> None:
    async with process(database_url) as one:
        root = await one.load_balancer("amphora")
        ca = authority("Test CA")
        body = {"secret": {"pem": made("www.example.org", ca).pem}}
        web = (await one.post("secrets", body))["secret"]
        with psycopg.connect(database_url) as holder:
            # As whoever deletes a secret does.
            holder.execute("SELECT FROM clusters FOR SHARE")
            words = {"protocol": "TERMINATED_HTTPS", "default_tls_container_ref": web["id"]}
            waiting = asyncio.create_task(one.listener(root, 400, **words))
            await somebody_waits(database_url)
            holder.execute("DELETE FROM secrets")
        assert "Could not retrieve certificate" in (await waiting)["faultstring"]


async def test_of_an_object_that_goes_as_its_tree_is_waited_for_nothing_is_remembered(
    database_url: str,
) -> None:
    async with process(database_url) as one, process(database_url) as other:
        root = await one.load_balancer()
        gone, stays = await one.pool(root), await one.pool(root)
        with psycopg.connect(database_url) as holder:
            holder.execute("SELECT FROM clusters FOR UPDATE")
            waiting = asyncio.create_task(other.member(gone, 404))
            await somebody_waits(database_url)
            holder.execute("DELETE FROM pools WHERE id = %s", [gone["id"]])
            holder.execute("UPDATE clusters SET generation = generation + 1")
        await waiting
        await other.member(stays)
        listed = (await other.get(f"loadbalancers/{root['id']}"))["loadbalancer"]["pools"]
        known = remembered_by(other.database).find(root["id"])
        assert known is not None
        assert [pool.id for pool in known.tree.pools] == [pool["id"] for pool in listed]


class Frozen(FakeNetwork):
    """Says nothing of its subnets before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def subnets(self):  # type: ignore[no-untyped-def] # as the one that it stands before
        self.asked.set()
        await self.go_on.wait()
        return await super().subnets()


MEMBER = {"address": "10.0.0.99", "protocol_port": 80, "subnet_id": PRIVATE_SUBNET}
POOL = {"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": [MEMBER]}
# What waits for the network, and how many of the listeners made meanwhile it leaves.
WAITS: dict[str, tuple[str, str, Any, int]] = {
    "member": ("POST", "pools/{pool}/members", {"member": MEMBER}, 2),
    "batch": ("PUT", "pools/{pool}/members?additive_only=true", {"members": [MEMBER]}, 2),
    "tree": ("PUT", "loadbalancers/{root}/tree", {"loadbalancer": {"pools": [POOL]}}, 0),
    "rollback": ("POST", "loadbalancers/{root}/rollback", {"generation": 3}, 0),
}


@pytest.mark.parametrize("what", WAITS)
async def test_nobody_waits_while_another_waits_for_the_network(
    database_url: str, what: str
) -> None:
    method, path, body, listeners = WAITS[what]
    network = Frozen()
    async with process(database_url) as quick, process(database_url, network) as slow:
        root = await quick.load_balancer("amphora")
        pool = await quick.pool(root, name="p")
        made = await quick.member(pool, subnet_id=PRIVATE_SUBNET)
        await quick.delete(f"pools/{pool['id']}/members/{made['id']}")
        asked = f"/v2/lbaas/{path.format(pool=pool['id'], root=root['id'])}"
        waiting = asyncio.create_task(slow.client.request(method, asked, json=body))
        async with asyncio.timeout(10):
            await network.asked.wait()
        # In this process, in the same tree, and in another process.
        async with asyncio.timeout(10):
            await slow.listener(root)
            await quick.listener(root, protocol_port=81)
        assert not waiting.done()
        network.go_on.set()
        assert (await waiting).is_success
        tree = (await quick.get(f"loadbalancers/{root['id']}/tree"))["loadbalancer"]
        (member,) = tree["pools"][0]["members"]
        assert member["subnet_id"] == PRIVATE_SUBNET
        assert len(tree["listeners"]) == listeners
