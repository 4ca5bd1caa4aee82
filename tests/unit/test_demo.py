# SPDX-License-Identifier: Apache-2.0
"""A figure that misses its goal is seen to."""

import io

import pytest
from rich.console import Console

from colonnade.cli.demo.demo import GOALS, Goal, Show, misses
from colonnade.cli.demo.picture import ANSWERED, IN_PART, SILENT, WIDTH, answers
from colonnade.cli.demo.scenario import Figures
from colonnade.cli.lab.visits import Visit, Visits


@pytest.mark.parametrize(
    ("value", "goal", "missed"),
    [
        (0.9, Goal("< 1 s", 1.0), False),
        (1.1, Goal("< 1 s", 1.0), True),
        (0, Goal("0", 0), False),
        (3, Goal("0", 0), True),
        (None, Goal("< 1 s", 1.0), True),
        ([], Goal("none", 0), False),
        (["a process"], Goal("none", 0), True),
        (99.0, Goal(), False),
        (None, Goal(), False),
    ],
)
def test_a_figure_misses_its_goal(value: object, goal: Goal, missed: bool) -> None:
    assert misses(value, goal) is missed


def test_each_goal_is_one_of_a_figure_and_a_miss_is_marked() -> None:
    said = io.StringIO()
    show = Show(Console(file=said, width=120))
    show.table(Figures(create_to_first_200_s=1.5, amphora_kill_gap_s=3.2))
    lines = {line.split()[1]: line for line in said.getvalue().splitlines() if "\u2502" in line}
    assert set(GOALS) <= set(Figures.__struct_fields__)
    assert "missed" in lines["create_to_first_200_s"]
    assert "missed" not in lines["amphora_kill_gap_s"]
    assert "missed" in lines["member_change_to_live_ms"], "it was not reached"


def _visits() -> list[Visit]:
    """Answered for ten seconds, missing for the next ten, and there again but for some."""
    good = [Visit(at, at + 0.05, "web1", "") for at in (*range(10), *range(20, 30))]
    tried_again = Visit(12.0, 20.2, "web1", "")  # it is an answer when it comes
    return [*good, tried_again, Visit(20.5, 20.9, "", "refused")]


def test_a_picture_shows_when_there_were_answers() -> None:
    row, _, words = answers(_visits(), 0.0, WIDTH).partition(" ")
    assert row == (ANSWERED * 10 + SILENT * 10 + IN_PART + ANSWERED * 9 + SILENT * (WIDTH - 30))
    assert words == "1000 ms each"


def test_the_longest_gap_is_between_two_answers() -> None:
    visits = Visits([], "", rate=1.0)
    assert visits.longest_gap() == float("inf"), "nothing was answered"
    visits.all = _visits()
    assert visits.longest_gap() == pytest.approx(11.0)
    assert visits.longest_gap(9.5, 20.1) == pytest.approx(11.0), "from the last before"
    assert visits.longest_gap(20.06, 21.1) == pytest.approx(0.85)
