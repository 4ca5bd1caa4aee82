# SPDX-License-Identifier: Apache-2.0
"""A tree that no amphora could take is refused before it is stored, and else when rendered."""

from pathlib import Path

import msgspec
import pytest

from colonnade.domain.errors import Broken
from colonnade.domain.fleet import Cluster
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import L7Action, MonitorType
from colonnade.drivers.amphora.haproxy import sizes
from colonnade.drivers.amphora.haproxy.driver import HaproxyDriver
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import render
from colonnade.drivers.amphora.protocol import Severity
from colonnade.protocol.bundle import BUNDLE_BYTES_MAX, Bundle
from colonnade.protocol.messages import Applied, Drain, Drained, NewSeat, StatusReport
from colonnade.runtime.config import Config
from tests.haproxy_extras import policy, rule
from tests.haproxy_trees import TEMPLATES, cluster, ident, listener, member, monitor, pool, tree


class Unasked:
    """Agents that must not be called."""

    async def put_bundle(self, address: str, amphora_id: str, bundle: Bundle) -> Applied:
        raise AssertionError("it was pushed")

    async def drain(self, address: str, amphora_id: str, asked: Drain) -> Drained:
        raise AssertionError("it was asked")

    async def status(self, address: str, amphora_id: str) -> StatusReport:
        raise AssertionError("it was asked")

    async def open_seat(self, address: str, amphora_id: str, seat: NewSeat) -> None:
        raise AssertionError("it was told")

    async def close_seat(self, address: str, amphora_id: str, seat_id: str) -> None:
        raise AssertionError("it was told")

    def notify(self, address: str, amphora_id: str, key: bytes) -> None:
        raise AssertionError("it was told")


def members(pools: int, each: int, *, groups: int = 1) -> LoadBalancer:
    made = tuple(
        pool(
            10_000 + place,
            members=tuple(
                member(20_000 + 1000 * place + n, f"10.9.{n // 250}.{n % 250}") for n in range(each)
            ),
            health_monitor=monitor(MonitorType.TCP),
        )
        for place in range(pools)
    )
    fronts = tuple(
        listener(
            1000 + place,
            default_pool_id=made[place % pools].id,
            timeout_member_connect=5000 + place % groups,
        )
        for place in range(max(pools, groups))
    )
    return tree(fronts, made)


def ruled(policies: int, rules: int) -> LoadBalancer:
    texts = [rule(5000 + n, f"/{n}" + "x" * 100) for n in range(rules)]
    found = [policy(300 + n, L7Action.REJECT, *texts) for n in range(policies)]
    return tree((listener().with_policies(found),), (pool(),))


@pytest.mark.parametrize(
    "made", [members(1, 1000), members(50, 20), members(2, 200, groups=30), ruled(100, 50)]
)
def test_what_is_expected_is_near_what_comes(made: LoadBalancer) -> None:
    real = len(msgspec.json.encode(render(cluster(made), (), TEMPLATES)))
    assert 0.7 * real < sizes.expected_bytes(made) < 2.0 * real


@pytest.mark.parametrize(
    ("made", "refused"),
    [(members(1, 1000), False), (members(1, 1000, groups=100), True), (ruled(200, 50), False)],
)
def test_what_no_amphora_takes_is_refused_with_what_to_do(
    made: LoadBalancer, refused: bool
) -> None:
    found = [one.reason for one in objections(made) if one.severity is Severity.INCOMPATIBLE]
    assert [reason for reason in found if "several load balancers" in reason] == found
    assert (found != []) is refused


async def test_what_is_too_long_after_all_is_told_and_never_pushed(tmp_path: Path) -> None:
    driver = HaproxyDriver(Config(state_dir=tmp_path, run_dir=tmp_path, database_url=""), Unasked())
    one = ruled(200, 50)
    # Each may be served, but not all on one amphora.
    many: Cluster = cluster(*(msgspec.structs.replace(one, id=ident(n)) for n in range(10, 16)))
    with pytest.raises(Broken) as told:
        await driver.bundle(many, ())
    assert f"{BUNDLE_BYTES_MAX >> 20} that it takes" in told.value.public
    assert len((await driver.bundle(cluster(one), ())).backends) == 1
