# SPDX-License-Identifier: Apache-2.0
"""Where a load balancer that shares an amphora gets its seat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.domain.affinity import AffinityPolicy
from colonnade.domain.errors import OutOfCapacity, Unplaceable
from colonnade.domain.ids import AmphoraId, ClusterId
from colonnade.domain.seating import (
    Carrier,
    Group,
    Wish,
    amphorae_needed,
    check_together,
    is_to_move,
    seat,
)

TOGETHER, APART = AffinityPolicy.COLOCATION, AffinityPolicy.APOLOCATION


def carrier(name: str, taken: int = 0, project: str | None = "p", host: str = "h") -> Carrier:
    return Carrier(id=AmphoraId(name), taken=taken, project_id=project, host=host)


def wish(cluster: str = "c", **more: object) -> Wish:
    own = {"project_id": "p", "flavor": "f", "per_amphora": 3} | more
    return Wish(cluster_id=ClusterId(cluster), **own)  # type: ignore[arg-type]


def group(policy: AffinityPolicy, *carriers: str, **more: object) -> Group:
    return Group(name="g", policy=policy, carriers=frozenset(carriers), **more)  # type: ignore[arg-type]


def test_fuller_ones_come_first_and_spares_last() -> None:
    there = [carrier("spare", project=None), carrier("a", 1), carrier("b", 2), carrier("full", 3)]
    assert seat(wish(), there).id == "b"
    assert seat(wish(), there[:1]).id == "spare"


def test_nobody_is_beside_another_project_or_beside_itself() -> None:
    with pytest.raises(OutOfCapacity):
        seat(wish(), [carrier("q", 1, project="q")])
    with pytest.raises(OutOfCapacity):
        seat(wish(own=frozenset({"a"})), [carrier("a", 1)])


def test_halves_are_on_different_hosts_where_there_is_a_choice() -> None:
    half = wish(own=frozenset({"a"}), own_hosts=frozenset({"h"}), several_hosts=True)
    there = [carrier("b", 2), carrier("c", 1, host="other")]
    assert seat(half, there).id == "c"
    assert seat(half, there[:1]).id == "b"


@pytest.mark.parametrize("policy", AffinityPolicy)
def test_a_group_comes_before_all_that_is_only_a_preference(policy: AffinityPolicy) -> None:
    there = [carrier("a", 1), carrier("b", 2)]
    is_together = policy in (TOGETHER, AffinityPolicy.SOFT_COLOCATION)
    asked = wish(group=group(policy, "a" if is_together else "b"))
    assert seat(asked, there).id == "a"


def test_a_strict_group_takes_nothing_else_and_says_so() -> None:
    full = [carrier("a", 3), carrier("b", 1)]
    with pytest.raises(Unplaceable, match="has no room for one more of the 3"):
        seat(wish(group=group(TOGETHER, "a")), full)
    assert seat(wish(group=group(AffinityPolicy.SOFT_COLOCATION, "a")), full).id == "b"
    with pytest.raises(Unplaceable, match="on which no other of its load balancers is"):
        seat(wish(group=group(APART, "b")), [carrier("b", 1)])
    with pytest.raises(OutOfCapacity) as nothing:
        seat(wish(group=group(APART, "b")), [])
    assert not isinstance(nothing.value, Unplaceable)


def test_the_first_of_a_strict_group_leaves_room_for_the_others() -> None:
    there = [carrier("a", 2), carrier("b", 1)]
    assert seat(wish(group=group(TOGETHER, members=2)), there).id == "b"


def test_hosts_are_apart_too_where_several_are_known() -> None:
    asked = group(APART, "a", hosts=frozenset({"h"}))
    there = [carrier("b", 2), carrier("c", 1, host="other")]
    assert seat(wish(group=asked, several_hosts=True), there).id == "c"
    assert seat(wish(group=asked), there).id == "b", "one host alone is no choice"


def test_who_joins_moves_only_when_it_must_or_when_it_is_better() -> None:
    a, b = carrier("a", 1), carrier("b", 1)
    assert not is_to_move(wish(group=group(TOGETHER, "a")), a, [b])
    assert is_to_move(wish(group=group(TOGETHER, "b")), a, [b])
    assert is_to_move(wish(group=group(AffinityPolicy.SOFT_COLOCATION, "b")), a, [b])
    assert not is_to_move(wish(group=group(AffinityPolicy.SOFT_COLOCATION, "b")), a, [])
    assert is_to_move(wish(group=group(APART, "a")), a, [])
    with pytest.raises(Unplaceable):
        is_to_move(wish(group=group(TOGETHER, "b")), a, [carrier("b", 3)])


def test_as_many_new_amphorae_are_asked_for_as_those_that_wait_fill() -> None:
    waiting = [wish(str(n)) for n in range(4)] + [wish("q", project_id="q")]
    assert amphorae_needed(waiting) == 3
    assert amphorae_needed([wish("pair"), wish("pair")]) == 2
    assert amphorae_needed([wish("1", group=group(APART)), wish("2", group=group(APART))]) == 2


def test_what_can_never_be_together_is_known() -> None:
    assert check_together("g", ["f"], 3, 3) == ""
    assert "allows 3 on one" in check_together("g", ["f"], 4, 3)
    assert "different flavors" in check_together("g", ["f", "e"], 2, 3)


carriers = st.lists(
    st.builds(
        carrier,
        st.uuids().map(str),
        st.integers(0, 3),
        st.sampled_from(["p", "q", None]),
        st.sampled_from(["", "h", "other"]),
    ),
    max_size=6,
)
groups = st.none() | st.builds(
    lambda policy, members: group(policy, members=members),
    st.sampled_from(AffinityPolicy),
    st.integers(1, 4),
)


@given(carriers, groups)
def test_nothing_is_ever_put_where_it_may_not_be(there: list[Carrier], asked: Group | None) -> None:
    try:
        chosen = seat(wish(group=asked), there)
    except OutOfCapacity:
        return
    assert chosen in there
    assert chosen.taken < 3
    assert chosen.project_id in ("p", None)
