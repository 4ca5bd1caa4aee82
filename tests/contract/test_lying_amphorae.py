# SPDX-License-Identifier: Apache-2.0
"""An amphora that lies harms nobody but itself: its datagrams, its answers, what it asks.

Extremes go through the real door into the real store; the liar's server is a real one with a real
certificate.
"""

import asyncio
import gzip
import json
import math
import secrets
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from colonnade.domain.errors import Broken, Unreachable
from colonnade.domain.ids import AmphoraId, ListenerId, MemberId, ProjectId, new_id
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.domain.texts import storable
from colonnade.drivers.amphora import answers
from colonnade.drivers.amphora.haproxy.client import AgentClient, Outdated
from colonnade.health.haproxy_states import traffic_of_report
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.datagram import Edge, Heartbeat, Kind, Statistics
from colonnade.protocol.messages import (
    PORT_AGENT,
    ListenerStatistics,
    MemberStatistics,
    Refusal,
    Report,
    StatisticsReport,
    StatusReport,
)
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.mtls import server_context
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.reports import traffic
from colonnade.store.trees.records import statistics
from tests.contract.test_health import SEAL, Bench, bench, until
from tests.contract.test_health import web as tree_of_web

__all__ = ["bench"]

WHOLE = st.integers() | st.sampled_from([-1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 2**200])
COUNTER = st.integers(-(2**63), 2**64 - 1)  # what msgpack can carry
REAL = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 1e-300, 5e-324, -1.0])
TEXT = st.text(max_size=300) | st.sampled_from(["\0", "a\0b", "\ud800", "\x1b[2J", "x" * 100_000])


@given(WHOLE, REAL, TEXT)
def test_what_passes_the_door_can_be_stored_and_added_up(
    number: int, real: float, text: str
) -> None:
    assert 0 <= answers.count(number) <= answers.COUNT_MAX
    assert answers.real(real) == 0 or 1e-6 <= answers.real(real) <= 1e12
    passed = answers.checked(Refusal(reason=text, generation=number))
    assert passed.reason.encode() is not None
    assert "\0" not in passed.reason
    assert "\x1b" not in passed.reason
    assert len(passed.reason) <= 4000
    assert storable(text, 10) == storable(storable(text, 10))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"generation": "1"}',
        b'{"generation": 1e400}',
        b'{"generation": 1, "haproxy_running": true, "servers": '
        + json.dumps([{"backend": "", "name": "", "state": ""}] * 60_000).encode()
        + b"}",
    ],
)
def test_what_is_no_message_is_refused_at_the_door(body: bytes) -> None:
    with pytest.raises(answers.Unbelievable):
        answers.decoded(body, StatusReport)


def test_fields_of_a_newer_release_are_ignored() -> None:
    body = b'{"generation": 3, "reason": "no", "why": {"a": [1, null]}}'
    assert answers.decoded(body, Report) == Report(generation=3, reason="no")


@pytest.mark.parametrize("load", [math.nan, math.inf, -math.inf, -1.0, 1e308, 1e-300, 5e-324])
async def test_an_absurd_load_ends_nothing_and_the_others_are_heard(
    bench: Bench, load: float
) -> None:
    liar, honest = await bench.amphora(), await bench.amphora()
    liar.send(liar.make(Kind.HEARTBEAT, Heartbeat(b"0" * 16, load, True)))
    honest.beat()

    async def both_heard() -> bool:
        return {await bench.state(liar), await bench.state(honest)} == {"SPARE"}

    await until(both_heard)
    assert bench.health.running is not None
    assert not bench.health.running.done()


async def test_absurd_counters_leave_all_sums_and_metrics_readable(bench: Bench) -> None:
    tree = tree_of_web()
    liar = await bench.serving(tree)
    listener, member = tree.listeners[0].id, tree.pools[0].members[0].id
    most = 2**63 - 1
    liar.send(liar.make(Kind.STATISTICS, Statistics(((listener, most, most, most, most, most),))))

    async def counted() -> bool:
        async with bench.database.read() as connection:
            found = await statistics(connection, LOAD_BALANCERS, tree.id)
        return found.bytes_in == answers.COUNT_MAX

    await until(counted)
    # A row of an earlier release may hold anything that a bigint can hold.
    async with bench.database.transaction() as connection:
        await traffic.record(connection, AmphoraId(liar.id), *reported(listener, member, most))
        for table in ("listener_traffic", "member_traffic", "statistics"):
            await connection.execute(
                f"UPDATE {table} SET bytes_in = %s, active_connections = %s", [most, most]
            )
        await connection.execute(
            "UPDATE member_traffic SET response_ms = %s, requests = %s", [most, most]
        )
        await connection.execute(
            "INSERT INTO statistics SELECT listener_id, gen_random_uuid(), active_connections,"
            " bytes_in, bytes_out, request_errors, total_connections FROM statistics"
        )
    async with bench.database.read() as connection:
        found = await statistics(connection, LOAD_BALANCERS, tree.id)
        assert found.bytes_in == most
        _, members = await traffic.of_project(connection, ProjectId("p"))
        assert {one.traffic.response_ms for one in members} == {0, most}


def reported(listener: ListenerId, member: MemberId, number: int) -> Any:
    return traffic_of_report(
        StatisticsReport(
            listeners=(
                ListenerStatistics(
                    name=listener,
                    active_connections=number,
                    bytes_in=number,
                    bytes_out=number,
                    request_errors=number,
                    total_connections=number,
                ),
            ),
            members=(MemberStatistics(backend="p", name=member, response_ms=number),),
        )
    )


async def test_a_row_that_the_store_refuses_is_dropped_and_spoils_no_other(bench: Bench) -> None:
    """Should anything ever pass the door that does not fit."""
    amphorae = [await bench.amphora() for _ in range(5)]
    beats = [
        amphora_rows.Heartbeat(amphora_id=AmphoraId(amphora.id), sequence=sequence, generation=1)
        for amphora, sequence in zip(amphorae, (5, 5, 2**63, 5, 5), strict=True)
    ]
    await bench.health.intake._written(amphora_rows.record_heartbeats, beats)
    assert await bench.one("SELECT count(*) FROM heartbeats") == 4


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_nothing_that_is_signed_ends_the_receiver(data: st.DataObject, database_url: str) -> None:
    """Any payload of any kind, from a real key, through the real receiver into the real store."""
    asyncio.run(_signed(data, database_url))


async def _signed(data: st.DataObject, url: str) -> None:
    from colonnade.health.process import Health, Keys
    from tests.contract.test_health import ALLOWED, Agents

    database = await Database.connect(url)
    health = Health(database, Keys(database, SEAL), Agents(), ALLOWED)
    try:
        async with health.listening("127.0.0.1", 0) as listening:
            bench = Bench(database, listening.port, health, Agents())
            tree = tree_of_web()
            liar = await bench.serving(tree)
            liar.beat()  # the first is kept until its key is known, and only the newest of them
            await until(lambda: _taken(health, 1))
            liar.generation = data.draw(st.integers(0, 2**64 - 1))
            listener = st.sampled_from([tree.listeners[0].id, "", "x" * 50]) | TEXT_SENT
            row = st.tuples(listener, *[COUNTER] * 5)
            payloads: list[tuple[Kind, Any]] = [
                (
                    Kind.HEARTBEAT,
                    Heartbeat(data.draw(st.binary(max_size=64)), data.draw(REAL), True),
                ),
                (Kind.STATISTICS, Statistics(tuple(data.draw(st.lists(row, max_size=3))))),
                (Kind.EDGE, Edge(tuple(data.draw(EDGES)), data.draw(st.booleans()))),
                (data.draw(st.sampled_from(list(Kind))), data.draw(st.binary(max_size=200))),
            ]
            for kind, payload in payloads:
                body = (
                    msgspec.msgpack.encode(payload) if not isinstance(payload, bytes) else payload
                )
                liar.send(liar.make(kind, body[:1000]))
            await until(lambda: _taken(health, 1 + len(payloads)))
            await health.intake.flush()
            assert health.running is not None
            assert not health.running.done()
            liar.close()
    finally:
        await database.close()


TEXT_SENT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
EDGES = st.lists(st.tuples(TEXT_SENT, TEXT_SENT, TEXT_SENT), max_size=4)


async def _taken(health: Any, count: int) -> bool:
    rejected = sum(health.receiver.rejected.values())
    return bool(health.receiver.accepted + rejected >= count)


# What an agent may answer over HTTPS.


class Liar:
    """An agent's HTTPS server at an address of its own on loopback, with a true certificate."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.new()
        ca = Authority(authority)
        self.address = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(256)}.7"
        self.amphora_id = new_id()
        for name in ("controller", self.amphora_id):
            (folder / f"{name}.pem").write_text(ca.issue(name, days=1).pem)
        (folder / "ca.pem").write_text(authority.certificate)
        self.context = server_context(folder / f"{self.amphora_id}.pem", folder / "ca.pem")
        self.client = AgentClient(folder / "controller.pem", folder / "ca.pem")
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        return await self.answer(request)

    async def put(self, generation: int) -> Any:
        bundle = Bundle(generation=generation, config="", frame="")
        return await self.client.put_bundle(self.address, self.amphora_id, bundle)

    async def status(self) -> StatusReport:
        return await self.client.status(self.address, self.amphora_id)


@pytest_asyncio.fixture
async def liar(tmp_path: Path) -> AsyncIterator[Liar]:
    made = Liar(tmp_path)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, made.address, PORT_AGENT, ssl_context=made.context).start()
    yield made
    await made.client.close()
    await runner.cleanup()


async def test_a_compressed_answer_is_never_inflated(liar: Liar) -> None:
    packed = gzip.compress(b" " * 200_000_000, 9)

    async def bomb(_request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    liar.answer = bomb
    tracemalloc.start()
    try:
        with pytest.raises(Broken, match="nonsense"):
            await liar.status()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20_000_000


async def test_an_answer_without_end_is_read_up_to_a_bound(liar: Liar) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 200 * 2**20:
            await response.write(b" " * 65536)
            sent += 65536
        return response

    liar.answer = endless
    with pytest.raises(Broken, match="nonsense"):
        await liar.status()
    assert sent < 3 * answers.ANSWER_BYTES_MAX
    with pytest.raises((Broken, Unreachable)):
        await liar.put(1)


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_an_agent_sends_its_caller_nowhere(liar: Liar, code: int) -> None:
    async def away(_request: web.Request) -> web.Response:
        place = f"https://{liar.address}:{PORT_AGENT}/elsewhere"
        return web.Response(status=code, headers={"Location": place})

    liar.answer = away
    with pytest.raises(Broken):
        await liar.status()
    assert liar.asked == ["/status"]


def saying(code: int, body: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=code)

    return answer


@pytest.mark.parametrize("code", [200, 409])
async def test_an_answer_of_an_older_generation_is_no_answer(liar: Liar, code: int) -> None:
    for generation in (0, 6):
        liar.answer = saying(code, {"generation": generation, "means": "x", "reason": "older"})
        with pytest.raises(Broken, match="older generation"):
            await liar.put(7)
    if code == 200:
        liar.answer = saying(200, {"generation": 8, "means": "runtime"})
        assert (await liar.put(7)).generation == 8
    else:
        liar.answer = saying(409, {"generation": 8, "reason": "newer"})
        with pytest.raises(Outdated):
            await liar.put(7)


async def test_the_words_of_a_refusal_can_be_stored_and_shown(liar: Liar) -> None:
    liar.answer = saying(422, {"reason": "no\0 \ud800\x1b[2J" + "y" * 50_000})
    with pytest.raises(Broken) as caught:
        await liar.put(1)
    assert "\0" not in caught.value.public
    assert "\x1b" not in caught.value.public
    assert len(caught.value.public) <= 1000
    caught.value.public.encode()
