# SPDX-License-Identifier: Apache-2.0
"""What an upgrade does next, whatever is seen."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.domain.ids import AmphoraId, ClusterId
from colonnade.domain.upgrading import (
    BEGUN,
    Decision,
    Look,
    Pace,
    Seen,
    State,
    Step,
    StepState,
    Subject,
    Upgrade,
    decide,
    ordered,
    progress,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)
UPGRADE = Upgrade(
    id="u",
    state=State.RUNNING,
    is_automatic=False,
    undoes=None,
    pace=Pace(),
    words="",
    created_at=NOW,
    state_since=NOW,
)
WAITING, REPLACING, WATCHED = StepState.WAITING, StepState.REPLACING, StepState.WATCHED
GONE = Seen(serves=False, is_there=False, successor=AmphoraId("new"))
LEAVES = Seen(serves=False, is_settled=False)


def step(number: int, state: StepState = WAITING, age_s: float = 0, cluster: int = 0) -> Step:
    return Step(
        number=number,
        amphora_id=AmphoraId(f"a{number}"),
        cluster_id=ClusterId(f"c{cluster or number}"),
        flavor="default",
        why="old",
        state=state,
        since=NOW - timedelta(seconds=age_s),
    )


def look(*steps: tuple[Step, Seen], proven: bool = True, moved_s: float = 0) -> Look:
    return Look(
        now=NOW,
        steps=steps,
        left=len(steps),
        is_proven=proven,
        moved_at=NOW - timedelta(seconds=moved_s),
    )


def moves(decision: Decision) -> dict[int, StepState]:
    return {one.step.number: one.state for one in decision.moves}


def waiting(*numbers: int) -> list[tuple[Step, Seen]]:
    return [(step(number), Seen()) for number in numbers]


def test_the_first_goes_alone_until_it_has_proven_itself() -> None:
    assert moves(decide(UPGRADE, look(*waiting(1, 2, 3), proven=False))) == {1: REPLACING}
    under_way = (step(1, REPLACING), LEAVES)
    assert moves(decide(UPGRADE, look(under_way, *waiting(2), proven=False))) == {}
    watched = (step(1, WATCHED, 59), GONE)
    assert moves(decide(UPGRADE, look(watched, *waiting(2), proven=False))) == {}
    watched = (step(1, WATCHED, 61), GONE)
    found = moves(decide(UPGRADE, look(watched, *waiting(2, 3, 4), proven=False)))
    assert found == {1: StepState.DONE, 2: REPLACING, 3: REPLACING}


def test_then_so_many_at_once_and_never_two_of_a_cluster() -> None:
    steps = [(step(number, cluster=number // 2 + 1), Seen()) for number in (2, 3, 4)]
    assert moves(decide(UPGRADE, look(*steps))) == {2: REPLACING, 4: REPLACING}
    begun = (step(1, REPLACING, cluster=2), LEAVES)
    assert moves(decide(UPGRADE, look(begun, *steps))) == {4: REPLACING}


def test_one_is_watched_when_another_serves_and_done_when_that_is_well() -> None:
    for seen in (LEAVES, replace(GONE, is_settled=False), replace(GONE, successor=None)):
        assert moves(decide(UPGRADE, look((step(1, REPLACING), seen)))) == {}
    found = decide(UPGRADE, look((step(1, REPLACING), GONE)))
    assert (moves(found), found.moves[0].successor) == ({1: WATCHED}, "new")
    ill = replace(GONE, ill=2, illness="DEGRADED: so")
    assert moves(decide(UPGRADE, look((step(1, WATCHED, 69), ill)))) == {}
    as_before = (replace(step(1, WATCHED, 11), before=2), ill)
    assert decide(UPGRADE, look(as_before)).turn == (State.DONE, "")


@pytest.mark.parametrize(
    ("one", "seen", "words"),
    [
        (step(1, REPLACING, 301), LEAVES, "no other took its place within 300 s"),
        (step(1, REPLACING), replace(LEAVES, failure="cannot bind"), "cannot bind"),
        (step(1, WATCHED), replace(GONE, lost="silent"), "an amphora of its load balancer was"),
        (step(1, WATCHED, 71), replace(GONE, ill=4, illness="ERROR"), "worse than before: ERROR"),
        (step(1, WATCHED), replace(GONE, stale="old"), "the one in its place is outdated too: old"),
    ],
)
def test_it_stops_itself_and_says_why(one: Step, seen: Seen, words: str) -> None:
    found = decide(UPGRADE, look((one, seen), *waiting(2, 3)))
    assert moves(found) == {1: StepState.FAILED}
    assert found.turn is not None
    assert found.turn[0] is State.STOPPED
    assert found.turn[1].startswith("amphora a1: ")
    assert words in found.turn[1]


def test_in_safe_mode_an_asked_one_stops_and_an_automatic_one_waits() -> None:
    seen = replace(look(*waiting(1)), safe_mode="8 of 20 were lost")
    words = "safe mode is on: 8 of 20 were lost"
    assert decide(UPGRADE, seen) == Decision(turn=(State.STOPPED, words))
    assert decide(replace(UPGRADE, is_automatic=True), seen) == Decision(waits=words)


@pytest.mark.parametrize("state", [State.PAUSED, State.STOPPED, State.CANCELLED])
def test_what_does_not_run_begins_nothing_and_finishes_what_is_begun(state: State) -> None:
    held = replace(UPGRADE, state=state)
    found = decide(held, look((step(1, REPLACING), GONE), *waiting(2)))
    assert (moves(found), found.turn) == ({1: WATCHED}, None)
    failing = (step(1, REPLACING, 301), LEAVES)
    found = decide(held, look(failing, *waiting(2)))
    assert (moves(found), found.turn) == ({1: StepState.FAILED}, None)


def test_who_does_not_serve_any_more_is_passed_over() -> None:
    found = decide(UPGRADE, look((step(1), GONE), (step(2), Seen(is_over=True))))
    assert set(moves(found).values()) == {StepState.SKIPPED}
    assert found.turn == (State.DONE, "")


def test_without_a_spare_it_waits_and_then_stops() -> None:
    empty = replace(look(*waiting(1, 2)), spares={"default": 0})
    words = "no spare of flavor default was ready that is not outdated itself"
    assert decide(UPGRADE, empty) == Decision(waits=words)
    long = replace(empty, moved_at=NOW - timedelta(seconds=301))
    assert decide(UPGRADE, long).turn == (State.STOPPED, f"{words} for 300 s")
    one = replace(empty, spares={"default": 1})
    assert moves(decide(UPGRADE, one)) == {1: REPLACING}
    assert len(decide(UPGRADE, replace(empty, spares={"other": 0})).moves) == 2


def test_what_is_not_active_is_put_off_and_at_last_passed_over() -> None:
    busy = (step(1), Seen(is_settled=False))
    assert moves(decide(UPGRADE, look(busy, *waiting(2)))) == {2: REPLACING}
    assert decide(UPGRADE, look(busy)).waits == "load balancers are not ACTIVE"
    assert moves(decide(UPGRADE, look(busy, moved_s=301))) == {1: StepState.SKIPPED}


def test_it_rests_between_two_when_it_is_to() -> None:
    slow = replace(UPGRADE, pace=Pace(at_once=2, pause_s=60))
    assert moves(decide(slow, look(*waiting(1, 2)))) == {1: REPLACING}
    begun = replace(look(*waiting(1, 2)), begun_at=NOW - timedelta(seconds=59))
    assert decide(slow, begun) == Decision()
    begun = replace(begun, begun_at=NOW - timedelta(seconds=60), spares={"default": 0})
    assert decide(slow, replace(begun, moved_at=NOW - timedelta(seconds=301))).turn is None


def test_what_cannot_wait_goes_first_and_what_is_ill_last() -> None:
    ill, well, late = (
        Subject(amphora_id=AmphoraId(n), cluster_id=ClusterId(n), flavor="f", ill=i, is_late=late)
        for n, i, late in (("ill", 4, False), ("well", 0, False), ("late", 2, True))
    )
    assert ordered([ill, well, late]) == [late, well, ill]


def test_progress_is_told_in_words() -> None:
    counts = {StepState.DONE: 3, REPLACING: 1, WAITING: 5, StepState.SKIPPED: 1}
    assert progress(counts) == "3 of 10 replaced, 1 being replaced, 5 to come, 1 passed over"
    assert progress({WAITING: 2}) == "0 of 2 replaced, 2 to come"


sights = st.builds(
    Seen,
    is_over=st.booleans(),
    serves=st.booleans(),
    is_there=st.booleans(),
    is_settled=st.booleans(),
    ill=st.integers(0, 4),
    failure=st.sampled_from(["", "no"]),
    lost=st.sampled_from(["", "silent"]),
    successor=st.sampled_from([None, AmphoraId("new")]),
    stale=st.sampled_from(["", "old"]),
)


@given(
    st.sampled_from(State),
    st.integers(1, 3),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from([WAITING, *BEGUN]), st.integers(1, 4), sights), max_size=8),
)
def test_whatever_is_seen_one_of_a_cluster_and_no_more_than_the_pace(
    state: State, at_once: int, proven: bool, seen: Sequence[tuple[StepState, int, Seen]]
) -> None:
    steps = [(step(n, one, cluster=cluster), s) for n, (one, cluster, s) in enumerate(seen)]
    upgrade = replace(UPGRADE, state=state, pace=Pace(at_once=at_once))
    found = decide(upgrade, look(*steps, proven=proven))
    begun = [one.step for one in found.moves if one.state is REPLACING]
    ended = {one.step.number for one in found.moves if one.state not in BEGUN}
    flying = [one for one, _ in steps if one.state in BEGUN and one.number not in ended]
    assert not (begun and state is not State.RUNNING)
    for one in begun:
        assert one.cluster_id not in {other.cluster_id for other in flying if other is not one}
        assert dict((a.number, s) for a, s in steps)[one.number].serves
    is_proven = proven or StepState.DONE in moves(found).values()
    assert len(begun) <= max(0, (at_once if is_proven else 1) - len(flying))
    assert not begun or found.turn is None
    clusters = [one.cluster_id for one in begun]
    assert len(clusters) == len(set(clusters))
