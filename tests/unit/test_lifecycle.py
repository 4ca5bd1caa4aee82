# SPDX-License-Identifier: Apache-2.0
"""The amphora's lifecycle: every pair of the table, and what the table as a whole promises."""

import itertools
import re
from pathlib import Path

import pytest

import colonnade.store
from colonnade.domain.lifecycle import TRANSITIONS, Event, State, advance


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_a_step_is_in_the_table_or_is_a_bug(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(AssertionError, match=state.value):
            advance(state, event)


def reachable(start: State) -> set[State]:
    found = {start}
    while True:
        more = {after for (before, _), after in TRANSITIONS.items() if before in found} - found
        if not more:
            return found
        found |= more


def test_every_state_can_be_reached_from_the_first() -> None:
    assert reachable(State.BOOTING) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_life_can_end(state: State) -> None:
    assert State.GONE in reachable(state)


def test_nothing_happens_after_the_end() -> None:
    assert reachable(State.GONE) == {State.GONE}


def test_a_failed_amphora_serves_nobody_ever_again() -> None:
    assert reachable(State.FAILED).isdisjoint({State.SPARE, State.SERVING, State.BOOTING})


def test_only_a_fence_leads_out_of_failure() -> None:
    assert {event for state, event in TRANSITIONS if state is State.FAILED} == {Event.FENCED}


def test_the_schema_knows_the_same_states() -> None:
    schema = sorted((Path(colonnade.store.__path__[0]) / "schema").glob("*.sql"))
    text = "".join(file.read_text() for file in schema)
    checked = re.findall(r"CHECK \(state IN \(([^)]*)\)\)", text)[-1]  # the newest holds
    assert set(re.findall(r"'(\w+)'", checked)) == {state.value for state in State}
