# SPDX-License-Identifier: Apache-2.0
"""L7 policies with every action, and pools with every extra of ours: a part of the sample.

Like the rest of the sample it is never sent anywhere, and a new branch in a template needs a new
value here.
"""

from typing import Final

from msgspec.structs import replace

from colonnade.domain.ids import HealthMonitorId, L7PolicyId, L7RuleId, MemberId, PoolId
from colonnade.domain.l7 import FixedResponse, L7Policy, L7Rule, RateLimit, Rewrite, WeightedPool
from colonnade.domain.pools import HealthMonitor, Member, OutlierEjection, Pool
from colonnade.domain.vocabulary import (
    Algorithm,
    CompareType,
    L7Action,
    L7RuleType,
    MonitorType,
    PoolProtocol,
)

MODERN: Final = PoolId("00000000-0000-4000-8000-000000000023")
CANARY: Final = PoolId("00000000-0000-4000-8000-000000000024")


def _rule(number: int) -> L7Rule:
    return L7Rule(
        id=L7RuleId(f"00000000-0000-4000-8000-{number:012d}"),
        type=L7RuleType.PATH,
        compare_type=CompareType.STARTS_WITH,
        value="/",
        invert=number % 2 == 0,
    )


def _policy(number: int, action: L7Action, **more: object) -> L7Policy:
    return L7Policy(
        id=L7PolicyId(f"00000000-0000-4000-8000-{number:012d}"),
        action=action,
        position=number - 49,
        rules=(_rule(number + 20),),
        **more,  # type: ignore[arg-type]
    )


POLICIES: Final = (
    _policy(50, L7Action.REJECT),
    _policy(51, L7Action.RATE_LIMIT, rate_limit=RateLimit(requests=10)),
    _policy(52, L7Action.RATE_LIMIT, rate_limit=RateLimit(requests=10, header="X-Api-Key")),
    _policy(53, L7Action.REDIRECT_TO_URL, redirect_url="https://example.org/"),
    _policy(54, L7Action.REDIRECT_PREFIX, redirect_prefix="https://example.org"),
    _policy(55, L7Action.FIXED_RESPONSE, fixed_response=FixedResponse(body="closed")),
    _policy(56, L7Action.FIXED_RESPONSE, fixed_response=FixedResponse(status_code=204)),
    _policy(57, L7Action.REDIRECT_TO_POOL, redirect_pool_id=MODERN),
    _policy(
        58,
        L7Action.REDIRECT_TO_POOL,
        redirect_pools=(
            WeightedPool(pool_id=MODERN, weight=95),
            WeightedPool(pool_id=CANARY, weight=5),
        ),
    ),
    _policy(
        59,
        L7Action.REWRITE,
        rewrite=Rewrite(
            set_request_headers={"X-Team": "red"},
            remove_request_headers=("X-Old",),
            set_response_headers={"X-Seen": "yes"},
            remove_response_headers=("Server",),
            path_prefix="/old/",
            path_replacement="/",
        ),
    ),
)
# On a listener without a default pool; ids are of this sample alone.
ALONE: Final = (
    replace(
        _policy(50, L7Action.REDIRECT_TO_POOL, redirect_pool_id=CANARY),
        id=L7PolicyId("00000000-0000-4000-8000-000000000060"),
    ),
)


def _pool(pool_id: PoolId, number: int, **more: object) -> Pool:
    return Pool(
        id=pool_id,
        protocol=PoolProtocol.HTTP,
        lb_algorithm=Algorithm.ROUND_ROBIN,
        members=(
            Member(
                id=MemberId(f"00000000-0000-4000-8000-{number:012d}"),
                address="192.0.2.20",
                protocol_port=8000 + number,
            ),
        ),
        **more,  # type: ignore[arg-type]
    )


POOLS: Final = (
    _pool(
        MODERN,
        34,
        slow_start=30,
        drain_seconds=60,
        panic_threshold=50,
        retries=2,
        http2=True,
        outlier_ejection=OutlierEjection(errors=5),
        health_monitor=HealthMonitor(
            id=HealthMonitorId("00000000-0000-4000-8000-000000000043"),
            type=MonitorType.TCP,
            delay=5,
            timeout=3,
            max_retries=2,
        ),
    ),
    _pool(CANARY, 35, retries=0),
)
