# SPDX-License-Identifier: Apache-2.0
"""What the simulated world watches for is found, in histories that are made up."""

import pytest

from colonnade.domain.ids import AmphoraId, PortId
from tests.chaos.history import AFTERWARDS_S, History

VIP = PortId("vip")
OLD, NEW = AmphoraId("old"), AmphoraId("new")


class Told(History):
    """A history at a time that the test says."""

    def __init__(self) -> None:
        self.now = 10.0
        super().__init__(lambda: self.now)


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_vip_that_moves_from_one_that_runs_and_is_not_fenced_is_found(told: Told) -> None:
    told.vip_moved(VIP, None, OLD, running={OLD})
    told.vip_moved(VIP, OLD, OLD, running={OLD})
    told.vip_moved(VIP, OLD, NEW, running={NEW})
    assert told.violations == []
    told.vip_moved(VIP, OLD, NEW, running={OLD, NEW})
    assert len(told.violations) == 1


def test_a_vip_of_several_is_judged_by_who_answers(told: Told) -> None:
    told.free.add(VIP)
    told.vip_moved(VIP, OLD, NEW, running={OLD, NEW})
    assert told.violations == []
    told.two_answer(VIP, {OLD, NEW})
    assert told.violations == ["new and old answer for the VIP of vip at a time"]


def test_a_vip_may_move_from_one_that_an_operator_has_replaced_to_one_that_serves(
    told: Told,
) -> None:
    told.leave(OLD)
    told.served.add(NEW)
    told.vip_moved(VIP, OLD, NEW, running={OLD, NEW})
    assert told.violations == []
    told.served.clear()
    told.holders.clear()
    told.vip_moved(VIP, OLD, NEW, running={OLD, NEW})
    assert told.violations == [], "it was cut from the old one already"
    told.holders[VIP] = OLD
    told.vip_moved(VIP, OLD, NEW, running={OLD, NEW})
    assert len(told.violations) == 1


def test_two_fences_of_one_cluster_at_a_time_are_found(told: Told) -> None:
    told.fence_begins("web", OLD)
    told.fence_begins("mail", NEW)
    told.fence_ends(OLD)
    told.fence_ends(NEW)
    assert told.violations == []
    told.fence_begins("web", OLD)
    told.fence_begins("web", NEW)
    assert len(told.violations) == 1


def test_all_of_a_cluster_that_is_deleted_may_be_ended_at_once(told: Told) -> None:
    told.ended.add("web")
    told.fence_begins("web", OLD)
    told.fence_begins("web", NEW)
    assert told.violations == []


def test_one_that_has_left_may_be_ended_beside_another(told: Told) -> None:
    told.vip_moved(VIP, None, OLD, running={OLD})
    told.leave(OLD)
    told.fence_begins("web", OLD)
    told.fence_begins("web", NEW)
    assert len(told.violations) == 1  # it still answers for the VIP
    told.fence_ends(NEW)
    told.vip_moved(VIP, OLD, NEW, running={NEW})
    told.fence_begins("web", NEW)
    assert len(told.violations) == 1


def test_one_that_was_to_leave_and_cannot_serve_may_be_ended_beside_another(told: Told) -> None:
    told.vip_moved(VIP, None, OLD, running={OLD})
    told.leave(OLD)
    told.touch(OLD, "loses its power")
    told.fence_begins("web", OLD)
    told.fence_begins("web", NEW)
    assert told.violations == []


def test_what_happened_is_no_cause_for_ever(told: Told) -> None:
    trouble = told.touch(OLD, "is frozen")
    told.over(trouble)
    told.failed(OLD, at=10 + AFTERWARDS_S, why="silent")
    assert told.violations == []
    told.failed(OLD, at=11 + AFTERWARDS_S, why="silent")
    assert len(told.violations) == 1


def test_an_amphora_that_was_given_up_before_anything_happened_to_it_is_found(told: Told) -> None:
    told.touch(OLD, "loses its power")
    told.failed(OLD, at=14, why="silent")
    assert told.violations == []
    told.failed(OLD, at=6, why="silent")
    told.failed(NEW, at=14, why="silent")
    assert len(told.violations) == 2


def test_a_story_is_told_in_the_order_in_which_it_happened(told: Told) -> None:
    told.say("later")
    told.failed(OLD, at=2, why="silent")
    assert [line.split()[0] for line in told.story().splitlines()] == ["2.00", "10.00", "10.00"]
