# SPDX-License-Identifier: Apache-2.0
"""Three amphorae announce a load balancer's VIPs to a real router, which spreads clients over them.

With -s the figures are printed; the distributions are in docs/benchmarks.md.
"""

import time
from pathlib import Path

from colonnade.cli.lab.visits import Visits
from colonnade.cli.waiting import until
from tests.announced import Announcing, announcing_site, one_lost
from tests.environments import needs_bird, needs_nft

pytestmark = [needs_bird, needs_nft]  # nft drains an amphora before it is announced no more

COUNT = 1000
RATE = 200.0
ANSWER_S_MAX = 20.0  # a SYN that nobody answers is repeated after 1, 3, 7 s


async def test_a_router_spreads_clients_leaves_who_dies_at_once_and_drops_nobody_who_drains(
    tmp_path: Path,
) -> None:
    async with announcing_site(tmp_path, 3, "--spares", "3") as many:
        await _shared(many)
        lost = await one_lost(many, RATE)
        print(str(lost))  # noqa: T201 - with -s
        assert not lost.was_missed, "the router notices by itself"
        assert lost.failed < lost.of, "only its flows break"
        assert lost.after == 0, "the others serve all of them"
        await many.change(2)
        await _drained(many)
        await many.scenario.delete()

        async def forgotten() -> bool:
            return await many.led() == set()

        await until(forgotten, within_s=20, what="no route to a load balancer that is gone")


async def _shared(many: Announcing) -> None:
    """Each has its share of the connections within 20 %."""
    async with many.scenario.visits(RATE) as visits:

        async def enough() -> bool:
            return len(visits.all) >= COUNT

        await until(enough, within_s=60, what=f"{COUNT} requests")
    assert not visits.failed()
    counts = await many.connections(COUNT)
    print(f"connections: {sorted(counts.values())}")  # noqa: T201 - with -s
    share = counts.total() / 3
    assert all(abs(count - share) < 0.2 * share for count in counts.values()), counts


async def _drained(many: Announcing) -> None:
    """Of two, one leaves. No flow of the one that stays may move then, whatever the router does."""
    url = f"http://{many.scenario.load_balancer['vip_address']}/"
    enter = many.hosts.enter(many.scenario.client)
    async with Visits(enter, url, rate=RATE, within_s=ANSWER_S_MAX) as visits:
        await visits.first_ok(since=0.0)
        began = time.time()
        await many.change(1)
        await visits.first_ok(since=time.time())
        gap = visits.longest_gap(began, time.time())
    print(f"one of two drained: longest gap {gap:.3f} s")  # noqa: T201 - with -s
    assert visits.failed() == [], f"of {len(visits.all)}"
