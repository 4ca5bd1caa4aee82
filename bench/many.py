# SPDX-License-Identifier: Apache-2.0
"""How clients fare with several amphorae that serve at once: their share, a loss, another number.

For each number: 3000 connections of one client, of which each amphora's share is compared with an
equal one, over IPv4 and IPv6. EVENTS times one of three is killed, and their number changed, while
connections are opened 300 times a second.
"""

import os
from typing import Final

from bench.results import Figures, percentile
from colonnade.cli.lab.visits import Visits
from colonnade.cli.waiting import until
from tests.many_active import Many, many_site, one_lost, resized

EVENTS: Final = int(os.environ.get("EVENTS", "10"))
COUNT: Final = 3000
RATE: Final = 300.0
GOALS: Final = {
    **{f"of_{n}_off_an_equal_share_{v}": "< 0.2" for n in (2, 3, 5) for v in ("ipv4", "ipv6")},
    "lost_failed_afterwards": "0",
    "resized_failed": "0",
}


async def measure() -> Figures:
    figures: Figures = {"events": EVENTS}
    for amphorae in (2, 5, 3):
        async with many_site(amphorae, "--spares", str(amphorae)) as many:
            for version, url in _urls(many).items():
                off = await _off(many, url)
                figures[f"of_{amphorae}_off_an_equal_share_{version}"] = round(off, 3)
            if amphorae == 3:
                figures |= await _events(many)
    return figures


def _urls(many: Many) -> dict[str, str]:
    root = many.scenario.load_balancer
    (six,) = root["additional_vips"]
    return {"ipv4": f"http://{root['vip_address']}/", "ipv6": f"http://[{six['ip_address']}]/"}


async def _off(many: Many, url: str) -> float:
    """By how much of an equal share the furthest from it has more, or less."""
    before = await many.connections(0)
    async with Visits(many.hosts.enter(many.scenario.client), url, rate=RATE) as visits:

        async def enough() -> bool:
            return len(visits.all) >= COUNT

        await until(enough, within_s=60, what=f"{COUNT} requests")
    after = await many.connections(before.total() + len(visits.all))
    share = (after.total() - before.total()) / len(after)
    return max(abs(after[name] - before[name] - share) for name in after) / share


async def _events(many: Many) -> Figures:
    losses = [await one_lost(many, RATE) for _ in range(EVENTS)]
    failed, of = 0, 0
    for _ in range(EVENTS):
        for amphorae in (4, 3):
            some, count = await resized(many, amphorae, RATE)
            failed, of = failed + some, of + count
    return {
        "lost_led_there_no_more_p50_s": round(percentile([x.gone_s for x in losses], 0.5), 2),
        "lost_led_there_no_more_max_s": round(max(x.gone_s for x in losses), 2),
        "lost_failed_until_then": sum(x.failed for x in losses),
        "lost_requests_until_then": sum(x.of for x in losses),
        "lost_failed_afterwards": sum(x.after for x in losses),
        "resized_failed": failed,
        "resized_requests": of,
    }
