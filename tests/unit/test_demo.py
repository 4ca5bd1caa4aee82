# SPDX-License-Identifier: Apache-2.0
"""A figure that misses its goal is seen to."""

import io

import pytest
from rich.console import Console

from colonnade.cli.demo.demo import GOALS, Goal, Show, misses
from colonnade.cli.demo.scenario import Figures


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
