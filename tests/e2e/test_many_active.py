# SPDX-License-Identifier: Apache-2.0
"""Three amphorae serve a load balancer at once, and two as a pair, led to by a router, with real
packets.

A client opens connections all the time, counts what fails, and what each amphora was given. The
figures are printed with -s; the distributions are in docs/benchmarks.md.
"""

import time

from colonnade.cli.demo.operator_calls import make_flavor
from colonnade.cli.lab.visits import Visits
from colonnade.cli.waiting import until
from tests.environments import needs_keepalived
from tests.many_active import Many, many_site, one_lost, resized
from tests.pairs import Pair, gap_of, killed

pytestmark = needs_keepalived

ANSWER_S_MAX = 20.0  # a SYN that nobody answers is repeated after 1, 3, 7 s
COUNT = 1500
RATE = 300.0
GAP_S_MAX = 3.0  # some 0.3 s where nothing else is done; silence is noticed after 3.5 s


async def test_many_share_the_clients_and_one_that_is_lost_takes_its_flows_alone() -> None:
    async with many_site(3, "--spares", "3") as many:
        await _shared(many)
        await _answers6(many)
        await _tables_are_shared(many)
        lost = await one_lost(many, RATE)
        print(str(lost))  # noqa: T201 - with -s
        assert lost.after == 0, "the others serve all of them"
        assert lost.failed < lost.of / 2, "only its flows break"
        for amphorae in (4, 2):
            failed, count = await resized(many, amphorae, RATE)
            print(f"to {amphorae}: {failed} of {count} failed")  # noqa: T201 - with -s
            assert failed == 0
        await many.scenario.delete()
        assert await many.led() == set()
        await _pair(Pair(many.system, many.rest, many.hosts))


async def _tables_are_shared(many: Many) -> None:
    """Each has a connection to each other for that."""
    shell = Pair(many.system, many.rest, many.hosts)
    names = await many.serving()

    async def share() -> bool:
        said = [await shell.asked(name, "show peers") for name in names]
        return all(one.count("last_status=ESTA") == len(names) - 1 for one in said)

    await until(share, within_s=30, what="stick tables to be shared")


async def _pair(pair: Pair) -> None:
    """Of a routed pair, one address moves to which the router leads all VIPs."""
    await pair.begin(front_end="routed")
    gap, failed = await gap_of(pair, killed)
    print(f"a pair: longest gap {gap:.3f} s, {failed} failed")  # noqa: T201 - with -s
    assert gap < GAP_S_MAX
    await _in_place(pair)
    await pair.scenario.delete()


async def _in_place(pair: Pair) -> None:
    """One alone, many and a pair take each other's place by a PUT of the flavor each."""
    alone = await make_flavor(pair.rest, "alone", {"front_end": "routed"})
    many = await make_flavor(pair.rest, "two", {"loadbalancer_topology": "ACTIVE_ACTIVE"})
    as_many = Many(pair.system, pair.rest, pair.hosts)
    as_many.scenario = pair.scenario
    enter, vip = pair.hosts.enter(pair.scenario.client), f"http://{pair.vip}/"
    async with Visits(enter, vip, rate=RATE, within_s=ANSWER_S_MAX) as visits:
        await visits.first_ok(since=0.0)
        for flavor_id, count in ((alone, 1), (many, 2), (alone, 1), (pair.flavor_id, 0)):
            began = time.time()
            await pair.put_flavor(flavor_id)
            await (as_many.whole(count) if count else pair.whole())
            await visits.first_ok(since=time.time())
            gap = visits.longest_gap(began, time.time())
            print(f"in place, {count or 'a pair'}: longest gap {gap:.3f} s")  # noqa: T201 - with -s
            assert gap < GAP_S_MAX
    assert visits.failed() == [], f"of {len(visits.all)}"


async def _shared(many: Many) -> None:
    """Each has its share of the connections within 20 %."""
    async with many.scenario.visits(RATE) as visits:
        await until(lambda: _enough(visits), within_s=60, what=f"{COUNT} requests")
    assert not visits.failed()
    counts = await many.connections(COUNT)
    print(f"connections: {sorted(counts.values())}")  # noqa: T201 - with -s
    share = counts.total() / len(await many.serving())
    assert all(abs(count - share) < 0.2 * share for count in counts.values()), counts


async def _enough(visits: Visits) -> bool:
    return len(visits.all) >= COUNT


async def _answers6(many: Many) -> None:
    (vip,) = many.scenario.load_balancer["additional_vips"]
    url = f"http://[{vip['ip_address']}]/"
    async with Visits(many.hosts.enter(many.scenario.client), url, rate=20) as visits:
        await visits.first_ok(since=0.0, what="an answer of the IPv6 VIP")
