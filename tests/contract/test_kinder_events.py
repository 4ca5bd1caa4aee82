# SPDX-License-Identifier: Apache-2.0
"""Events: complete, in order, resumable by id, live as a stream, and only one's own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from colonnade.api.app import create_app
from colonnade.api.http.call import Site
from colonnade.api.identity.caller import Identity
from colonnade.api.identity.tokens import Tokens
from colonnade.api.identity.trusting import Trusting
from colonnade.providers.enabled import enabled_providers
from colonnade.store.postgres.database import Database
from colonnade.store.queue import events
from colonnade.store.requests import tokens
from tests.contract.api_client import ALL, Api, api
from tests.contract.test_identity import made_token
from tests.contract.test_kinder_tree import made
from tests.contract.test_kinder_waiting import Controller

__all__ = ["api"]


class Stream:
    """One reader of a stream, spoken to as a server would: `httpx` would wait for its end."""

    def __init__(self) -> None:
        self.started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        self.ended = asyncio.Event()
        self.asked = False
        self.parts: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = b""

    async def receive(self) -> Any:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.started.set_result(message)
        else:
            self.parts.put_nowait(message.get("body", b""))
            if not message.get("more_body", False):
                self.ended.set()

    async def event(self, within_s: float = 5.0) -> dict[str, Any]:
        """The next one, with its id."""
        async with asyncio.timeout(within_s):
            while True:
                while b"\n\n" not in self._rest:
                    self._rest += await self.parts.get()
                block, _, self._rest = self._rest.partition(b"\n\n")
                lines = dict(line.split(": ", 1) for line in block.decode().splitlines())
                if "data" in lines:
                    found: dict[str, Any] = msgspec.json.decode(lines["data"])
                    assert (lines["id"], lines["event"]) == (str(found["id"]), found["kind"])
                    return found


@asynccontextmanager
async def streaming(
    database: Database,
    path: str,
    query: str = "",
    *,
    identity: Identity | None = None,
    **headers: str,
) -> AsyncIterator[Stream]:
    providers = enabled_providers(ALL, default="noop", network=None)
    site = Site(database=database, providers=providers, identity=identity or Trusting())
    app, stream = create_app(site), Stream()
    told = {"host": "api.test", "accept": "text/event-stream"} | headers
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/v2/lbaas/{path}",
        "raw_path": f"/v2/lbaas/{path}".encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in told.items()],
        "client": ("127.0.0.1", 1),
        "server": ("api.test", 80),
    }
    task = asyncio.create_task(app(scope, stream.receive, stream.send))
    try:
        async with asyncio.timeout(5):
            start = await asyncio.shield(stream.started)
        assert start["status"] == 200
        assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
        yield stream
    finally:
        stream.gone.set()
        async with asyncio.timeout(5):
            await task


async def test_a_list_has_each_edge_once_and_can_be_gone_on_with(
    api: Api, database: Database
) -> None:
    controller = Controller(database)
    root, other = await api.load_balancer("amphora"), await api.load_balancer("noop")
    await controller.settle(root)
    listener = await api.listener(root)
    await controller.settle(root, broken=True)
    path = f"loadbalancers/{root['id']}/events"
    found = (await api.get(path))["events"]
    told = [(one["kind"], one["provisioning_status"], one["object_type"]) for one in found]
    assert told == [
        ("created", "PENDING_CREATE", "loadbalancer"),
        ("applied", "ACTIVE", "loadbalancer"),
        ("updated", "PENDING_UPDATE", "loadbalancer"),
        ("failed", "ERROR", "loadbalancer"),
    ]
    assert {one["object_id"] for one in found} == {root["id"]}
    assert {one["object_name"] for one in found} == {root["name"] or None}
    assert found[-1]["message"] == "haproxy said no"
    assert [one["id"] for one in found] == sorted({one["id"] for one in found})
    walked, since = [], 0
    while page := (await api.get(f"{path}?since={since}&limit=1"))["events"]:
        walked += page
        since = page[-1]["id"]
    assert walked == found
    only = (await api.get(f"{path}?kind=failed,applied"))["events"]
    assert [one["kind"] for one in only] == ["applied", "failed"]
    newest = (await api.get(f"{path}?limit=1"))["events"]
    assert newest == found[-1:]
    everything = (await api.get("events"))["events"]
    assert {one["loadbalancer_id"] for one in everything} == {root["id"], other["id"]}
    for query in ("kind=strange", "since=x", "limit=-1"):
        await api.get(f"{path}?{query}", 400)
    stranger: dict[str, Any] = {"headers": {"X-Project-Id": "stranger", "X-Roles": "member"}}
    assert (await api.get("events", **stranger))["events"] == []
    await api.get(path, 403, **stranger)
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    await controller.settle(root)
    assert listener["id"]
    await api.get("loadbalancers/00000000-0000-4000-8000-000000000001/events", 404)


async def test_what_happened_to_one_that_is_gone_may_still_be_read(api: Api) -> None:
    root = await api.load_balancer("noop")
    await api.delete(f"loadbalancers/{root['id']}")
    await api.get(f"loadbalancers/{root['id']}", 404)
    found = (await api.get(f"loadbalancers/{root['id']}/events"))["events"]
    assert [one["kind"] for one in found] == ["created", "applied", "deleted", "gone"]


async def test_a_stream_brings_events_as_they_happen_and_resumes_by_id(
    api: Api, database: Database
) -> None:
    root, other = await api.load_balancer("noop"), await api.load_balancer("noop")
    path = f"loadbalancers/{root['id']}/events"
    change = {"loadbalancer": {"name": "x"}}
    async with streaming(database, path, "since=0") as stream:
        assert [(await stream.event())["kind"] for _ in range(2)] == ["created", "applied"]
        took = []
        for number in range(5):
            await api.put(f"loadbalancers/{other['id']}", {"loadbalancer": {"name": f"{number}"}})
            await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"name": f"{number}"}})
            started = time.monotonic()
            event = await stream.event()
            took.append(time.monotonic() - started)
            assert (event["kind"], event["loadbalancer_id"]) == ("updated", root["id"])
            last = (await stream.event())["id"]
        assert sorted(took)[2] < 0.1
    await api.put(f"loadbalancers/{root['id']}", change)
    async with streaming(database, path, last_event_id=str(last)) as stream:
        assert [(await stream.event())["kind"] for _ in range(2)] == ["updated", "applied"]
    async with streaming(database, "events", "kind=gone") as stream:
        await api.delete(f"loadbalancers/{other['id']}")
        assert (await stream.event())["loadbalancer_id"] == other["id"]


async def test_a_stream_ends_with_its_readers_token(api: Api, database: Database) -> None:
    secret, token_id = await made_token(database, "reader")
    identity = Tokens(database, remembered_s=0)
    async with streaming(database, "events", identity=identity, x_auth_token=secret) as stream:
        await api.load_balancer("noop", project_id="mine")
        assert (await stream.event())["project_id"] == "mine"
        async with database.read() as connection:
            assert await tokens.revoke(connection, token_id)
        await api.load_balancer("noop", project_id="mine")
        async with asyncio.timeout(5):
            await stream.ended.wait()
        rest = b"".join(stream.parts.get_nowait() for _ in range(stream.parts.qsize()))
        assert b"event: created" not in rest


async def test_many_readers_share_one_listener_and_none_misses_what_was_slow_to_commit(
    api: Api, database: Database
) -> None:
    root = await api.load_balancer("noop")
    event = events.Event(
        object_kind="load_balancer",
        object_id=root["id"],
        kind="updated",
        message="slow",
        load_balancer_id=root["id"],
        project_id=root["project_id"],
    )
    count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    async with streaming(database, "events") as one, streaming(database, "events") as two:
        async with database.transaction() as slow:
            await events.record(slow, event)
            await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": {"name": "quick"}})
        for stream in (one, two):
            found = [await stream.event() for _ in range(3)]
            assert found[0]["message"] == "slow"
            assert [e["id"] for e in found] == sorted(e["id"] for e in found)
        async with database.read() as connection:
            (row,) = await (await connection.execute(count)).fetchall()
            assert row[0] == 1


async def test_only_events_are_streamed(api: Api) -> None:
    headers = {"headers": {"Accept": "text/event-stream"}}
    await api.ask("GET", "/v2/lbaas/loadbalancers", 406, **headers)


async def test_what_events_are_about_is_named(api: Api, database: Database) -> None:
    root = await made(api, name="web")
    pool = next(one for one in root["pools"] if one["name"] == "blue")
    member, listener = pool["members"][0], root["listeners"][0]
    async with database.transaction() as connection:
        for kind, one in (("member", member), ("pool", pool), ("listener", listener)):
            await events.record(
                connection,
                events.Event(
                    object_kind=kind,
                    object_id=one["id"],
                    kind="operating_status",
                    message="ONLINE -> ERROR",
                    load_balancer_id=root["id"],
                    project_id=root["project_id"],
                ),
            )
    found = (await api.get(f"loadbalancers/{root['id']}/events?kind=operating_status"))["events"]
    place = f"{member['address']}:{member['protocol_port']}"
    assert [one["object_name"] for one in found] == [place, "blue", listener["name"]]
    assert {one["loadbalancer_name"] for one in found} == {"web"}
