# SPDX-License-Identifier: Apache-2.0
"""What pools and listeners offer beyond plain balancing, on a real haproxy.

For each, traffic that shows it and traffic that shows its absence. Members are in this process;
health checks are once a second, which is as often as the contract can ask.
"""

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from colonnade.domain.fleet import Cluster
from colonnade.domain.pools import HealthMonitor, OutlierEjection, Persistence, Pool
from colonnade.domain.vocabulary import (
    ListenerProtocol,
    MonitorType,
    Observed,
    PersistenceType,
    PoolProtocol,
)
from tests.haproxy_traffic import VIP, Traffic, free_port, get, until
from tests.haproxy_trees import HTTP, TCP, cluster, ident, listener, member, monitor, pool, tree

POOL = pool().id


@pytest.fixture
async def traffic() -> AsyncIterator[Traffic]:
    async with Traffic() as made:
        for name in ("a", "b"):
            await made.member(name)
        yield made


def checked(**more: Any) -> HealthMonitor:
    given: dict[str, Any] = {"url_path": "/health", "max_retries": 1, "max_retries_down": 1}
    return monitor(MonitorType.HTTP, **{"delay": 1, "timeout": 1} | given | more)


def pool_of(traffic: Traffic, **more: Any) -> Pool:
    members = tuple(
        replace(member(number, VIP), protocol_port=one.port)
        for number, one in enumerate(traffic.members, start=1)
    )
    return pool(**{"members": members} | more)


def served(port: int, of_pool: Pool, kind: ListenerProtocol = HTTP, **more: Any) -> Cluster:
    return cluster(tree((listener(100, kind, protocol_port=port, **more),), (of_pool,), vip=VIP))


async def states(traffic: Traffic, *wanted: str) -> None:
    """Wait until the servers of the pool are so, a and then b."""

    async def so() -> bool:
        found = await traffic.states(POOL)
        return [found[ident(n)].split(" ")[0] for n in range(1, len(wanted) + 1)] == list(wanted)

    await until(so)


async def told_by(port: int, requests: int = 10) -> Counter[str]:
    answers = [await get(port) for _ in range(requests)]
    return Counter(answer.by or str(answer.status) for answer in answers)


async def test_a_failed_request_is_tried_on_another_member(traffic: Traffic) -> None:
    traffic.members[0].fails = "503"
    port = free_port()
    await traffic.serve(served(port, pool_of(traffic)))
    assert await told_by(port) == {"503": 5, "b": 5}
    await traffic.serve(served(port, pool_of(traffic, retries=2)))
    assert await told_by(port) == {"b": 10}
    before = traffic.members[0].asked
    posted = Counter([(await get(port, method="POST")).status for _ in range(10)])
    assert posted == {503: 5, 200: 5}, "what may have had an effect is never sent twice"
    assert traffic.members[0].asked == before + 5
    traffic.members[0].fails = "hang up"
    assert await told_by(port) == {"b": 10}
    await traffic.serve(served(port, pool_of(traffic, retries=0)))
    assert set(await told_by(port)) == {"b", "502"}


@pytest.mark.parametrize("observe", [Observed.RESPONSES, Observed.CONNECTIONS])
async def test_a_member_that_fails_in_traffic_is_out_until_its_monitor_finds_it_up(
    traffic: Traffic, observe: Observed
) -> None:
    port, wish = free_port(), OutlierEjection(errors=3, observe=observe)
    # One success of many seconds away: a member that is out stays out for the test.
    slow = checked(delay=2, max_retries=10)
    ejecting = pool_of(traffic, health_monitor=slow, outlier_ejection=wish, retries=0)
    await traffic.serve(served(port, ejecting))
    traffic.members[0].fails = "503"
    seen = await told_by(port, 30)
    if observe is Observed.RESPONSES:
        assert seen["503"] in (3, 4)
        await states(traffic, "DOWN", "UP")
    else:
        assert seen["503"] == 15
        await states(traffic, "UP", "UP")


async def test_too_few_healthy_members_make_all_serve(traffic: Traffic) -> None:
    port = free_port()
    panicking = pool_of(traffic, health_monitor=checked(), panic_threshold=60)
    await traffic.serve(served(port, panicking))
    await states(traffic, "UP", "UP")
    assert await told_by(port) == {"a": 5, "b": 5}
    traffic.members[0].health = 500
    await states(traffic, "DOWN", "UP")
    assert set(await told_by(port)) == {"a", "b"}, "50 % are fewer than 60 %"
    await traffic.serve(served(port, replace(panicking, panic_threshold=50)))
    await states(traffic, "DOWN", "UP")
    assert await told_by(port) == {"b": 10}, "50 % are not fewer than 50 %"
    traffic.members[1].health = 500
    await states(traffic, "DOWN", "DOWN")
    assert set(await told_by(port)) == {"a", "b"}
    await traffic.serve(served(port, replace(panicking, panic_threshold=0)))
    await states(traffic, "DOWN", "DOWN")
    assert await told_by(port) == {"503": 10}
    await traffic.serve(served(port, replace(panicking, panic_threshold=50), TCP))
    await states(traffic, "DOWN", "DOWN")
    assert set(await told_by(port)) == {"a", "b"}


async def test_a_member_that_is_back_starts_slowly(traffic: Traffic) -> None:
    port = free_port()
    slow = pool_of(traffic, health_monitor=checked(), slow_start=3600)
    await traffic.serve(served(port, slow))
    await states(traffic, "UP", "UP")
    assert await told_by(port) == {"a": 5, "b": 5}, "after a start all weights are whole"
    for health, state in ((500, "DOWN"), (200, "UP")):
        traffic.members[0].health = health
        await states(traffic, state, "UP")
    assert (await told_by(port, 40))["a"] < 10
    await traffic.serve(served(port, replace(slow, slow_start=0)))
    for health, state in ((500, "DOWN"), (200, "UP")):
        traffic.members[0].health = health
        await states(traffic, state, "UP")
    assert (await told_by(port, 40))["a"] == 20


async def test_texts_are_compressed_for_those_who_can_read_it(traffic: Traffic) -> None:
    port = free_port()
    await traffic.serve(served(port, pool_of(traffic), compression=True))
    squeezed = await get(port, Accept_Encoding="gzip")
    assert squeezed.headers["Content-Encoding"] == "gzip"
    assert b"padding" in gzip.decompress(squeezed.body)
    assert len(squeezed.body) < 1000
    assert "Content-Encoding" not in (await get(port, Accept_Encoding="identity")).headers
    await traffic.serve(served(port, pool_of(traffic)))
    assert "Content-Encoding" not in (await get(port, Accept_Encoding="gzip")).headers


async def test_a_websocket_outlives_the_timeouts_of_requests(traffic: Traffic) -> None:
    port = free_port()
    short: dict[str, Any] = {"timeout_client_data": 300, "timeout_member_data": 300}
    await traffic.serve(served(port, pool_of(traffic), **short))
    url = f"ws://{VIP}:{port}/echo"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
        await connection.send_str("hello")
        first = (await connection.receive(timeout=5)).data
        # Silent for longer than the timeouts: a request that waits this long is given up.
        reader_gone = await abandoned(port)
        assert reader_gone
        await connection.send_str("still there")
        again = (await connection.receive(timeout=5)).data
    assert first.endswith(": hello")
    assert again == f"{first[0]}: still there"


async def abandoned(port: int) -> bool:
    """Open a connection, say nothing, and wait until haproxy has had enough."""
    reader, writer = await asyncio.open_connection(VIP, port)
    writer.write(b"GET / HTTP/1.1\r\n")
    try:
        async with asyncio.timeout(5):
            return b"408" in await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("kind", [PersistenceType.SOURCE_IP, PersistenceType.HTTP_COOKIE])
async def test_sessions_stay_with_their_member_over_a_reload(
    traffic: Traffic, kind: PersistenceType
) -> None:
    port = free_port()
    sticky = pool_of(traffic, session_persistence=Persistence(type=kind))
    await traffic.serve(served(port, sticky))
    await until(traffic.teaches)
    seen: dict[str, tuple[str, dict[str, str]]] = {}
    for number in range(2, 6):
        source = f"127.0.0.{number}"
        answer = await get(port, source=source)
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        seen[source] = answer.by, {"Cookie": cookie} if cookie else {}
    assert {by for by, _ in seen.values()} == {"a", "b"}
    await traffic.serve(served(port, sticky, timeout_client_data=40_000))

    async def learnt() -> bool:
        entries = await traffic.say(f"show table {POOL}")
        return kind is PersistenceType.HTTP_COOKIE or "used:4" in entries

    await until(learnt)
    for source, (by, headers) in seen.items():
        for _ in range(3):
            assert (await get(port, source=source, **headers)).by == by
    fresh = served(port, pool_of(traffic))
    await traffic.serve(fresh)
    assert set(await told_by(port)) == {"a", "b"}


async def test_sessions_of_an_application_stay_however_long_their_cookie_is(
    traffic: Traffic,
) -> None:
    """Tokens begin alike (JWTs with their head), and are longer than any table's key."""
    port = free_port()
    kept = Persistence(type=PersistenceType.APP_COOKIE, cookie_name="token")
    await traffic.serve(served(port, pool_of(traffic, session_persistence=kept)))
    await until(traffic.teaches)
    head = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "A" * 700
    seen = {}
    for number in range(30):
        cookie = f"token={head}.{number}"
        seen[cookie] = (await get(port, X_Set_Cookie=f"{cookie}; Path=/")).by
    assert set(seen.values()) == {"a", "b"}
    for _ in range(2):
        for cookie, by in seen.items():
            assert (await get(port, Cookie=cookie)).by == by
    await traffic.serve(
        served(port, pool_of(traffic, session_persistence=kept), timeout_client_data=40_000)
    )

    async def learnt() -> bool:
        return "used:30" in await traffic.say(f"show table {POOL}")

    await until(learnt)
    for cookie, by in seen.items():
        assert (await get(port, Cookie=cookie)).by == by


async def test_a_prometheus_listener_tells_of_this_load_balancer_only(traffic: Traffic) -> None:
    port, metrics = free_port(), free_port()
    exporter = listener(
        101, ListenerProtocol.PROMETHEUS, protocol_port=metrics, default_pool_id=None
    )
    plain = listener(100, protocol_port=port)
    alone = tree((plain, exporter), (pool_of(traffic),), vip=VIP)
    await traffic.serve(cluster(alone))
    assert (await told_by(port, 3)).total() == 3
    text = (await get(metrics, "/metrics")).body.decode()
    assert f'haproxy_frontend_http_requests_total{{proxy="{plain.id}"}} 3' in text
    assert (await get(metrics, "/")).status == 404
    assert (await get(port, "/metrics")).by in ("a", "b")
    # Another load balancer on the same amphora: nothing is told of it.
    front = listener(102, protocol_port=free_port(), default_pool_id=None)
    others = tree((front,), (), vip=VIP, number=11)
    await traffic.serve(cluster(alone, others))
    answer = await get(metrics, "/metrics")
    assert answer.status == 503
    assert ident(102) not in answer.body.decode()


async def test_members_are_spoken_to_with_the_proxy_protocol_or_not(traffic: Traffic) -> None:
    port = free_port()
    for protocol, status in ((PoolProtocol.HTTP, 200), (PoolProtocol.PROXY, 400)):
        # The members do not speak it, so they refuse what they get.
        await traffic.serve(served(port, pool_of(traffic, protocol=protocol)))
        assert (await get(port)).status == status


async def test_all_vips_serve(traffic: Traffic) -> None:
    port = free_port()
    made = served(port, pool_of(traffic))
    (balancer,) = made.load_balancers
    await traffic.serve(made)
    assert await refused("127.0.0.3", port)
    second = replace(balancer.vip, address="127.0.0.3", subnet_id=ident(5))
    both = replace(balancer, additional_vips=(second,))
    await traffic.serve(replace(made, load_balancers=(both,)))
    assert (await get(port)).status == 200
    assert not await refused("127.0.0.3", port)


async def refused(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False
