# SPDX-License-Identifier: Apache-2.0
"""Who may be replaced now: one that falls silent at once, a mass at a trickle."""

from hypothesis import given
from hypothesis import strategies as st

from colonnade.runtime.config import Failovers
from colonnade.store.fleet.safe_mode import Cause, Facts, Replaced, Suspect, Watched, judge

LIMITS = Failovers()


def suspects(
    count: int, *, serving: bool = True, certain: bool = False, host: str = "h"
) -> list[Suspect]:
    return [
        Suspect(
            amphora_id=f"{serving}-{host}-{number}",
            cluster_id=f"{host}-{number}",
            host=host,
            serving=serving,
            silent_s=4.0 + number / 1000,
            cause=Cause.NOT_RUNNING if certain else Cause.SILENT,
            certain=certain,
        )
        for number in range(count)
    ]


def replaced(cluster: str, ago_s: float, host: str = "h") -> Replaced:
    return Replaced(cluster_id=cluster, host=host, serving=True, certain=False, ago_s=ago_s)


def facts(silent: int, watched: int, **more: object) -> Facts:
    return Facts(serving=Watched(watched, silent), spares=Watched(2, 0), **more)  # type: ignore[arg-type]


@given(st.integers(1, 400), st.data())
def test_a_mass_is_more_than_a_tenth_and_at_least_three(watched: int, data: st.DataObject) -> None:
    silent = data.draw(st.integers(1, watched))
    verdict = judge(facts(silent, watched), suspects(silent), LIMITS)
    is_mass = silent >= 3 and silent * 10 > watched
    assert bool(verdict.reason) == is_mass
    expected = LIMITS.trickle_per_minute if is_mass else min(silent, LIMITS.per_host_per_minute)
    assert len(verdict.allowed) == expected


def test_those_that_were_just_replaced_belong_to_the_mass() -> None:
    just = [replaced("x", 2.0), replaced("y", 2.0)]
    assert judge(facts(1, 10, replaced=just), suspects(1), LIMITS).reason
    same = [replaced("h-0", 2.0), replaced("h-0", 5.0)]
    assert not judge(facts(1, 10, replaced=same), suspects(1), LIMITS).reason, "one cluster"
    before = [replaced(name, LIMITS.window_s + 1) for name in "xy"]
    verdict = judge(facts(1, 10, replaced=before), suspects(1), LIMITS)
    assert not verdict.reason
    assert len(verdict.allowed) == 1


def test_nobody_heard_is_waited_for_and_then_it_trickles() -> None:
    for quiet_s, expected in ((3.5, 0), (LIMITS.deaf_s - 1, 0), (LIMITS.deaf_s, 1)):
        verdict = judge(facts(3, 3, quiet_s=quiet_s), suspects(3), LIMITS)
        assert verdict.reason
        assert len(verdict.allowed) == expected
    # Two may have died together.
    assert len(judge(facts(2, 2, quiet_s=60), suspects(2), LIMITS).allowed) == 2


def test_who_is_known_to_be_dead_is_held_back_by_rates_alone() -> None:
    dead = suspects(10, certain=True)
    verdict = judge(facts(200, 200, is_on=True, quiet_s=20), dead + suspects(5), LIMITS)
    assert [one.certain for one in verdict.allowed] == [True] * 10
    assert len(judge(facts(200, 200), suspects(200, certain=True), LIMITS).allowed) == 20


def test_after_an_outage_it_trickles_and_says_so_when_somebody_waits() -> None:
    assert not judge(facts(1, 200, watched_s=4), suspects(1), LIMITS).reason
    verdict = judge(facts(4, 200, watched_s=4), suspects(4), LIMITS)
    assert len(verdict.allowed) == 1
    assert "outage" in verdict.reason
    heard_since = judge(facts(4, 200, watched_s=5), suspects(4), LIMITS)
    assert len(heard_since.allowed) == 4
    assert not heard_since.reason


def test_a_person_may_know_better_and_the_rates_hold_all_the_same() -> None:
    for limits, is_lifted in ((LIMITS, True), (Failovers(safe_mode=False), False)):
        found = facts(200, 200, is_on=True, quiet_s=10, watched_s=4, is_lifted=is_lifted)
        verdict = judge(found, suspects(200), limits)
        assert not verdict.reason
        assert len(verdict.allowed) == limits.per_host_per_minute


def test_rates_hold_for_each_host_and_for_all() -> None:
    limits = Failovers(per_minute=12, per_host_per_minute=5)
    many = [one for host in "abcd" for one in suspects(9, host=host)]
    verdict = judge(facts(36, 10_000), many, limits)
    assert len(verdict.allowed) == 12
    assert max(sum(one.host == host for one in verdict.allowed) for host in "abcd") <= 5
    assert not verdict.reason
    earlier = [replaced("x", 59.0, host="a")] * 5
    assert not judge(facts(1, 9, replaced=earlier), suspects(1, host="a"), limits).allowed
    assert judge(facts(1, 9, replaced=earlier), suspects(1, host="b"), limits).allowed


def test_those_that_serve_go_before_spares_and_neither_takes_the_others_turn() -> None:
    both = [*suspects(3, serving=False), *suspects(3)]
    verdict = judge(facts(3, 3), both, LIMITS)
    assert [one.serving for one in verdict.allowed] == [True, False]
    assert verdict.allowed[0].amphora_id == "True-h-2", "the one that is silent longest"
