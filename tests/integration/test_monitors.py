# SPDX-License-Identifier: Apache-2.0
"""Health monitors of all kinds, IP versions mixed, and many objects at once, on a real haproxy."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from colonnade.domain.pools import HealthMonitor
from colonnade.domain.vocabulary import ListenerProtocol, MonitorType, PoolProtocol
from tests.certificates import made as certified
from tests.haproxy_extras import rule, to_other
from tests.haproxy_traffic import VIP, Traffic, free_port, get, until
from tests.haproxy_trees import (
    HTTP,
    HTTPS,
    TCP,
    cluster,
    ident,
    listener,
    member,
    monitor,
    pool,
    tree,
)

KIND = MonitorType


@pytest.fixture
async def traffic() -> AsyncIterator[Traffic]:
    async with Traffic() as running:
        yield running


def fast(kind: MonitorType, **more: Any) -> HealthMonitor:
    given = {"delay": 1, "timeout": 1, "max_retries": 1, "max_retries_down": 1} | more
    return monitor(kind, **given)


async def test_each_kind_of_monitor_finds_members_up_and_down(
    traffic: Traffic, members_certificate: ssl.SSLContext
) -> None:
    web, deaf = await traffic.member("web"), free_port()
    encrypted = await traffic.member("encrypted", tls=members_certificate)
    up, down = "UP", "DOWN"
    table: list[tuple[HealthMonitor, int, dict[str, Any], str]] = [
        (fast(KIND.TCP), web.port, {}, up),
        (fast(KIND.TCP), deaf, {}, down),
        (fast(KIND.TCP), deaf, {"monitor_port": web.port}, up),
        (fast(KIND.TCP), web.port, {"monitor_address": "127.0.0.9", "monitor_port": deaf}, down),
        (fast(KIND.HTTP, url_path="/health"), web.port, {}, up),
        (fast(KIND.HTTP, url_path="/health", expected_codes="204"), web.port, {}, down),
        (fast(KIND.HTTP, url_path="/health", expected_codes="199-201"), web.port, {}, up),
        (fast(KIND.HTTP, url_path="/health", http_method="POST"), web.port, {}, up),
        (fast(KIND.HTTP, http_version=1.1, domain_name="a.example"), web.port, {}, up),
        (fast(KIND.HTTP), encrypted.port, {}, down),
        (fast(KIND.HTTPS, url_path="/health"), encrypted.port, {}, up),
        (fast(KIND.HTTPS, url_path="/health"), web.port, {}, down),
        (fast(KIND.TLS_HELLO), encrypted.port, {}, up),
        (fast(KIND.TLS_HELLO), web.port, {}, down),
    ]
    pools = tuple(
        pool(
            200 + number,
            members=(replace(member(number, VIP), protocol_port=port, **place),),
            health_monitor=replace(wish, id=ident(900 + number)),
        )
        for number, (wish, port, place, _) in enumerate(table, start=1)
    )
    fronts = tuple(
        listener(100 + number, protocol_port=free_port(), default_pool_id=one.id)
        for number, one in enumerate(pools)
    )
    await traffic.serve(cluster(tree(fronts, pools, vip=VIP)))

    async def as_wanted() -> bool:
        for number, (_, _, _, wanted) in enumerate(table, start=1):
            (state,) = (await traffic.states(ident(200 + number))).values()
            if state.split(" ")[0] != wanted:
                return False
        return True

    await until(as_wanted)


@pytest.mark.parametrize("kind", [HTTP, TCP, HTTPS])
@pytest.mark.parametrize(("front", "behind"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
async def test_both_ip_versions_meet(
    traffic: Traffic, kind: ListenerProtocol, front: str, behind: str
) -> None:
    one, port = await traffic.member("one", address=behind), free_port()
    back = pool(members=(replace(member(1, behind), protocol_port=one.port),))
    back = replace(back, protocol=PoolProtocol(kind.value))
    await traffic.serve(
        cluster(tree((listener(100, kind, protocol_port=port),), (back,), vip=front))
    )
    assert (await get(port, vip=front)).by == "one"


async def test_hundreds_of_pools_and_several_load_balancers_are_served_apart(
    traffic: Traffic,
) -> None:
    members = [await traffic.member(f"m{number}") for number in range(3)]
    trees, ports = [], []
    for number, one in enumerate(members):
        port, base = free_port(), 1000 * (number + 1)
        pools = tuple(
            pool(
                base + place,
                members=(replace(member(base + place, VIP), protocol_port=one.port),),
            )
            for place in range(200)
        )
        chosen = (
            replace(
                to_other(base + place, rule(base + place, f"/{place}/")),
                redirect_pool_id=pools[place].id,
            )
            for place in range(1, 200)
        )
        front = listener(base, protocol_port=port, default_pool_id=pools[0].id)
        trees.append(tree((front.with_policies(chosen),), pools, vip=VIP, number=base))
        ports.append(port)
    bundle = await traffic.serve(cluster(*trees))
    assert len(bundle.backends) == 600
    for number, port in enumerate(ports):
        for path in ("/", "/7/", "/199/"):
            assert (await get(port, path)).by == f"m{number}"
        sessions = await traffic.say(f"show stat {ident(1000 * (number + 1) + 7)} 2 -1")
        assert sessions.splitlines()[1].split(",")[7] == "1", "the pool of /7/ had one request"


@pytest.fixture
def members_certificate(tmp_path: Path) -> ssl.SSLContext:
    """For a member that speaks TLS; nobody checks who it is."""
    file = tmp_path / "member.pem"
    file.write_text(certified("member.example").pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
