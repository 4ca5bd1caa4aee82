# SPDX-License-Identifier: Apache-2.0
"""Events reach webhooks: in order, signed, again until they are taken, and nobody else's.

Receivers are real servers on loopback, which an operator's setting allows here.
"""

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import client_reqrep, web

from colonnade.controller.loop import Loop
from colonnade.domain.errors import Broken
from colonnade.domain.webhooks import Reach
from colonnade.notifier import posting
from colonnade.notifier.deliveries import Deliveries, Undelivered
from colonnade.notifier.posting import SHUT, Poster
from colonnade.notifier.signing import EVENTS_MAX
from colonnade.notifier.waking import wake_for_ever
from colonnade.runtime.config import Kept, Webhooks
from colonnade.store.extras import webhooks
from colonnade.store.postgres.database import Database
from colonnade.store.queue import events
from colonnade.store.retention import sweep
from tests.api_server import eventually
from tests.contract.api_client import SEAL, Api, serving
from tests.hook_receiver import KEY, REACH, SECRET, Receiver, receiving

TIMEOUT_S, SHORT_S = 60.0, 0.3
MINE = {"X-Project-Id": "mine"}


class Bench:
    """The API, one webhook of the project `mine`, its receiver, and what sends to it."""

    def __init__(self, api: Api, database: Database, receiver: Receiver, poster: Poster) -> None:
        self.api, self.database, self.receiver = api, database, receiver
        self.deliveries = Deliveries(database, SEAL, poster, Webhooks(timeout_s=TIMEOUT_S))
        self.deliveries.pause_s = 0
        self.id = ""

    async def make(self, **more: Any) -> str:
        body = {"name": "pager", "url": self.receiver.url, "secret": SECRET} | more
        made = await self.api.post("webhooks", {"webhook": {"project_id": "mine"} | body})
        self.id = made["webhook"]["id"]
        return self.id

    async def change(self, **more: Any) -> None:
        await self.api.put(f"webhooks/{self.id}", {"webhook": more})

    async def shown(self) -> Any:
        return (await self.api.get(f"webhooks/{self.id}"))["webhook"]

    async def tell(
        self, kind: str = "failed", project: str | None = "mine", about: str = "pool"
    ) -> int:
        async with self.database.transaction() as connection:
            event = events.Event(
                object_kind=about,
                object_id=str(uuid4()),
                kind=kind,
                message="why",
                project_id=project,
            )
            await events.record(connection, event)
        async with self.database.read() as connection:
            return await events.last_id(connection)

    async def send(self) -> float | None:
        return await self.deliveries.reconcile(self.id)

    async def fail(self) -> str:
        """A pass that fails, as the loop takes it. The reason."""
        with pytest.raises(Undelivered) as raised:
            await self.send()
        await self.deliveries.record(self.id, raised.value, 7.5)
        return raised.value.public

    async def run(self, sentence: LiteralString, *values: Any) -> Any:
        async with self.database.read() as connection:
            cursor = await connection.execute(sentence, values)
            return await cursor.fetchall() if cursor.description else None


@asynccontextmanager
async def posting_to(*allowed: str, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Poster]:
    async with Poster(Reach.of(allowed, ()), timeout_s) as poster:
        yield poster


@pytest_asyncio.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    reach = Reach.of(REACH, ())
    async with (
        serving(database, reach=reach) as api,
        receiving() as receiver,
        posting_to(*REACH) as poster,
    ):
        yield Bench(api, database, receiver, poster)


async def test_events_come_in_order_signed_and_once(bench: Bench) -> None:
    before = await bench.tell()
    await bench.make()
    first = await bench.tell("created")
    last = await bench.tell("applied")
    assert await bench.send() is None
    assert await bench.send() is None, "again: nothing is left"
    (message,) = bench.receiver.received
    assert [event["id"] for event in message.events] == [first, last] != [before]
    assert message.is_signed_with(KEY) and len(message.signatures) == 1
    assert not message.is_signed_with(KEY[::-1])
    assert message.id == f"msg_{bench.id}_{first}_{last}"
    assert message.body["type"] == "events" and message.body["timestamp"].endswith("Z")
    assert message.events[0].items() >= {"kind": "created", "message": "why"}.items()
    (delivery,) = (await bench.shown())["sending"]["deliveries"]
    assert delivery.items() >= {"id": message.id, "delivered": True, "status": 204}.items()
    later = await bench.tell()
    await bench.send()
    assert bench.receiver.events == [first, last, later]


async def test_a_webhook_is_told_what_it_wants_and_of_its_own_project_alone(bench: Bench) -> None:
    await bench.make(kinds=["failed", "operating_status"], object_types=["member", "loadbalancer"])
    wanted = [
        await bench.tell("failed", about="cluster"),
        await bench.tell("operating_status", about="member"),
    ]
    for kind, project, about in (
        ("failed", "other", "member"),
        ("failed", None, "amphora"),
        ("created", "mine", "load_balancer"),
        ("failed", "mine", "pool"),
    ):
        await bench.tell(kind, project, about)
    await bench.send()
    assert bench.receiver.events == wanted
    await bench.make(all_projects=True, kinds=["failed", "safe_mode"])
    wanted += [await bench.tell("failed", project, "amphora") for project in ("other", None)]
    wanted.append(await bench.tell("safe_mode", None, "fleet"))
    await bench.tell("created", "mine", "load_balancer")
    await bench.send()
    assert bench.receiver.events == wanted


async def test_what_was_not_taken_comes_again_the_same_and_the_owner_sees_why(bench: Bench) -> None:
    await bench.make()
    first = await bench.tell()
    bench.receiver.answers = [500, 301]
    assert await bench.fail() == "answered 500"
    told_last = await bench.fail()
    assert told_last == "answered 301; redirections are not followed"
    shown = await bench.shown()
    assert (shown["status"], shown["reason"]) == (
        "FAILING",
        "answered 301; redirections are not followed",
    )
    assert shown["sending"]["failing_since"] <= shown["sending"]["last_failure_at"]
    assert shown["sending"]["retry_at"] > shown["sending"]["last_failure_at"]
    assert await bench.send() == 0.0, "what came while it failed is looked for once more"
    assert bench.receiver.events == [first] * 3
    assert len({one.id for one in bench.receiver.received}) == 1
    shown = await bench.shown()
    assert (shown["status"], shown["reason"]) == ("OK", None)
    told = [(one["status"], one["delivered"]) for one in shown["sending"]["deliveries"]]
    assert told == [(204, True), (301, False), (500, False)]


async def test_many_events_are_parted_and_none_is_lost(bench: Bench) -> None:
    await bench.make()
    number = 2 * EVENTS_MAX + 7
    await bench.run(
        "INSERT INTO events (object_kind, object_id, kind, message, project_id)"
        " SELECT 'member', gen_random_uuid(), 'operating_status', repeat('x', 1000), 'mine'"
        " FROM generate_series(1, %s)",
        number,
    )
    await bench.send()
    ids = bench.receiver.events
    assert ids == sorted(set(ids)) and len(ids) == number
    assert all(len(one.events) <= EVENTS_MAX for one in bench.receiver.received)
    assert all(len(one.raw) < 300_000 for one in bench.receiver.received)


async def forever(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(status=200)
    await answer.prepare(request)
    while True:
        await answer.write(b"x" * 65536)


async def never(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def headers(request: web.Request) -> web.StreamResponse:
    return web.Response(headers={"x-long": "x" * 100_000})


async def test_whatever_a_receiver_does_costs_little_and_is_said_plainly(bench: Bench) -> None:
    await bench.make()
    await bench.tell()
    receiver = bench.receiver
    receiver.answers = [cut, cut]
    assert await bench.fail() == "closed the connection without an answer"
    receiver.answers = [headers]
    assert await bench.fail() == "answers no HTTP that is understood here"
    receiver.answers = [forever]
    await bench.send()
    assert (await bench.shown())["status"] == "OK", "what was answered before is an answer"
    await bench.tell()
    receiver.answers = [never]
    async with posting_to(*REACH, timeout_s=SHORT_S) as poster:
        bench.deliveries = Deliveries(bench.database, SEAL, poster)
        assert await bench.fail() == "did not answer within 0.3 s"


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"\x00\xff" * 100 + b"\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_what_is_no_receiver_is_said_to_be_none(bench: Bench) -> None:
    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await bench.make(url=f"http://127.0.0.1:{port}/")
        await bench.tell()
        assert await bench.fail() == "answers no HTTP that is understood here"
        await bench.change(url=f"https://127.0.0.1:{port}/")
        assert await bench.fail() == "speaks no TLS that is understood here"
    await bench.change(url=f"http://127.0.0.1:{port}/")
    assert await bench.fail() == "no connection: connection refused"
    await bench.change(url="http://a..b/")
    assert await bench.fail() == "has a URL that leads nowhere"


async def test_one_that_says_that_it_is_gone_is_not_called_again(bench: Bench) -> None:
    await bench.make()
    event = await bench.tell()
    bench.receiver.answers = [410]
    await bench.fail()
    shown = await bench.shown()
    assert (shown["enabled"], shown["status"]) == (False, "DISABLED")
    assert "410" in shown["reason"]
    assert await bench.send() is None and len(bench.receiver.received) == 1
    (told,) = (await bench.api.get("events", headers=MINE))["events"][-1:]
    assert told["kind"] == "webhook_disabled" and "pager" in told["message"]
    await bench.change(enabled=True)
    shown = await bench.shown()
    assert (shown["status"], shown["reason"], shown["sending"]["failing_since"]) == (
        "OK",
        None,
        None,
    )
    await bench.send()
    assert bench.receiver.events[:2] == [event, event], "it goes on from where it was"


async def test_one_that_failed_for_days_is_disabled_and_not_before(bench: Bench) -> None:
    await bench.make()
    await bench.tell()
    bench.receiver.answers = [503] * 3
    for days, enabled in ((0, True), (2.9, True), (3.1, False)):
        await bench.run(
            "UPDATE webhooks SET failing_since = now() - make_interval(secs => %s)", days * 86400
        )
        await bench.fail()
        assert (await bench.shown())["enabled"] is enabled
    assert "3 days" in (await bench.shown())["reason"]


async def test_a_replaced_secret_signs_beside_the_new_one_for_a_day(bench: Bench) -> None:
    await bench.make()
    new = KEY[::-1]
    await bench.change(secret=b64encode(new).decode())
    await bench.tell()
    await bench.send()
    (message,) = bench.receiver.received
    assert message.is_signed_with(KEY) and message.is_signed_with(new)
    assert len(message.signatures) == 2


async def test_a_trial_is_sent_at_once_and_its_end_is_shown(bench: Bench) -> None:
    await bench.make(enabled=False)
    event = await bench.tell()
    asked = await bench.api.post(f"webhooks/{bench.id}/test", {}, 202)
    await bench.send()
    (message,) = bench.receiver.received
    assert message.id == asked["test"]["id"] and message.body["type"] == "ping"
    assert message.is_signed_with(KEY)
    (delivery,) = (await bench.shown())["sending"]["deliveries"]
    assert delivery["id"] == message.id and delivery["delivered"]
    await bench.change(enabled=True)
    bench.receiver.answers = [500]
    await bench.api.post(f"webhooks/{bench.id}/test", {}, 202)
    await bench.send()
    assert bench.receiver.events == [event], "a trial that fails holds up no event"
    assert (await bench.shown())["status"] == "OK"


async def test_events_that_were_forgotten_are_told_to_be_missing(bench: Bench) -> None:
    await bench.make()
    await bench.tell()
    last = await bench.tell()
    assert (await sweep(bench.database, Kept(events_max=1)))["events"] == 1
    await bench.send()
    (message,) = bench.receiver.received
    assert bench.receiver.events == [last] and "forgotten" in message.body["data"]["missed"]
    assert (await bench.shown())["sending"]["missed_at"] is not None
    later = await bench.tell()
    await bench.send()
    assert bench.receiver.received[-1].body["data"]["missed"] is None
    assert bench.receiver.events == [last, later]


async def test_a_lost_master_key_is_told_and_nothing_is_sent_unsigned(bench: Bench) -> None:
    await bench.make()
    await bench.tell()
    await bench.run("UPDATE webhooks SET secrets = 'nonsense'")
    with pytest.raises(Broken) as raised:
        await bench.send()
    await bench.deliveries.record(bench.id, raised.value, 1.0)
    assert "master key" in (await bench.shown())["reason"]
    assert bench.receiver.received == []


def own_address() -> str:
    """One of this machine that is not loopback's, or loopback's where it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


FORBIDDEN = ("localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "[::1]")
MISSPELT = ("127.1", "2130706433", "0x7f.1")


@pytest.mark.parametrize("host", [*FORBIDDEN, *MISSPELT, own_address()])
async def test_what_leads_to_this_machine_is_not_called_whatever_it_is_called(
    bench: Bench, host: str
) -> None:
    """The API, in the place of an owner who exchanges what a name leads to, lets it pass."""
    await bench.make()
    url = f"http://{host}:{bench.receiver.port}/hook"
    await bench.run("UPDATE webhooks SET url = %s", url)
    await bench.tell()
    async with posting_to() as poster:
        bench.deliveries = Deliveries(bench.database, SEAL, poster)
        reason = await bench.fail()
    assert reason == SHUT or (host in MISSPELT and reason == "has a URL that leads nowhere")
    assert bench.receiver.received == []


async def test_an_address_is_looked_at_as_the_connection_is_made(bench: Bench) -> None:
    """So a name that leads elsewhere than a moment ago is of no use."""
    async with posting_to("10.9.0.0/16") as poster:
        for host in ("169.254.169.254", "198.18.0.1", "fe80::1", "::ffff:169.254.169.254"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with pytest.raises(OSError, match=SHUT):
                poster._socket((family, socket.SOCK_STREAM, 0, "", (host, 80)))
        for host in ("10.9.0.1", "203.0.113.9"):
            place = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, 80))
            poster._socket(place).close()
    assert posting._is_own(socket.AF_INET, ("127.0.0.1", 80))


@asynccontextmanager
async def notifying(bench: Bench, at_once: int = 32) -> AsyncIterator[None]:
    loop = Loop(bench.database, {"webhook": bench.deliveries}, at_once=at_once)
    tasks = [asyncio.create_task(one) for one in (loop.run(), wake_for_ever(bench.database))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_event_wakes_those_that_want_it_and_dead_ones_hold_up_nobody(bench: Bench) -> None:
    dead = [await bench.make(url="http://127.0.0.1:9/", name=f"dead{n}") for n in range(6)]
    async with receiving() as hanging:
        hanging.may_answer.clear()
        for n in range(6):
            await bench.make(url=hanging.url, name=f"slow{n}")
        alive = await bench.make()
        async with notifying(bench):
            ids = []
            for _ in range(3):
                ids.append(await bench.tell())

                async def has_come() -> bool:
                    return bench.receiver.events == ids

                await eventually(has_come, within_s=TIMEOUT_S)
            assert len(hanging.received) == 6, "each slow one has the first message, and no other"
            assert {len(one.events) for one in hanging.received} == {1}
    failing = (await bench.api.get("webhooks", params={"status": "FAILING"}))["webhooks"]
    assert alive not in {one["id"] for one in failing}
    assert {*dead} <= {one["id"] for one in failing}


async def test_what_happened_while_nobody_sent_is_found_by_the_sweep(bench: Bench) -> None:
    await bench.make()
    first = await bench.tell()
    idle = await bench.make(kinds=["gone"])
    await bench.run(
        "INSERT INTO events (object_kind, object_id, kind, message, project_id)"
        " SELECT 'pool', gen_random_uuid(), 'failed', '', 'other' FROM generate_series(1, 1200)"
    )
    async with bench.database.read() as connection:
        await webhooks.sweep(connection)
    marked = await bench.run("SELECT key FROM work")
    assert len(marked) == 1, "only where something waits"
    assert (await bench.run("SELECT position FROM webhooks WHERE id = %s", idle))[0][0] > 1200
    async with bench.database.read() as connection:
        standing = await webhooks.look(connection)
    assert (standing.fine, standing.failing, standing.disabled) == (2, 0, 0)
    assert standing.lag_s > 0
    async with notifying(bench):

        async def has_come() -> bool:
            return bench.receiver.events == [first]

        await eventually(has_come, within_s=TIMEOUT_S)


def test_a_name_without_an_address_is_said_to_have_none() -> None:
    key = client_reqrep.ConnectionKey("nowhere.invalid", 80, False, True, None, None, None)
    error = aiohttp.ClientConnectorDNSError(key, OSError(-2, "Name or service not known"))
    assert posting._of_error(error) == "its name leads to no address"
