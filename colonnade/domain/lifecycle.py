# SPDX-License-Identifier: Apache-2.0
"""The life of an amphora, as one table of (state, event) -> state.

`advance` is the table's only reader. The store writes the new state only where the row still has
the old one. An event cannot come to a state that has no row for it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    BOOTING = "BOOTING"
    SPARE = "SPARE"
    CARRYING = "CARRYING"  # others have seats on it; it serves nothing itself
    SERVING = "SERVING"
    LEAVING = "LEAVING"  # serves until another does in its place
    FAILED = "FAILED"
    RETIRING = "RETIRING"
    GONE = "GONE"


ANSWERING: Final = (State.SERVING, State.LEAVING)  # for VIPs of their cluster


class Event(StrEnum):
    FIRST_HEARTBEAT = "seen for the first time"
    WENT_SILENT = "silent"
    GIVEN_UP = "given up"
    LENT = "lent"
    OPENED = "opened for several"
    ASKED_TO_LEAVE = "asked to leave"
    RELEASED = "released"
    FENCED = "fenced"
    DESTROYED = "destroyed"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.BOOTING, Event.FIRST_HEARTBEAT): State.SPARE,
    (State.BOOTING, Event.WENT_SILENT): State.FAILED,
    (State.BOOTING, Event.RELEASED): State.RETIRING,
    (State.SPARE, Event.LENT): State.SERVING,
    (State.SPARE, Event.WENT_SILENT): State.FAILED,
    (State.SPARE, Event.GIVEN_UP): State.FAILED,
    (State.SPARE, Event.RELEASED): State.RETIRING,
    (State.SPARE, Event.OPENED): State.CARRYING,
    (State.CARRYING, Event.WENT_SILENT): State.FAILED,
    (State.CARRYING, Event.GIVEN_UP): State.FAILED,
    (State.CARRYING, Event.ASKED_TO_LEAVE): State.LEAVING,
    (State.CARRYING, Event.RELEASED): State.RETIRING,
    (State.SERVING, Event.WENT_SILENT): State.FAILED,
    (State.SERVING, Event.GIVEN_UP): State.FAILED,
    (State.SERVING, Event.RELEASED): State.RETIRING,
    (State.SERVING, Event.ASKED_TO_LEAVE): State.LEAVING,
    (State.LEAVING, Event.WENT_SILENT): State.FAILED,
    (State.LEAVING, Event.GIVEN_UP): State.FAILED,
    (State.LEAVING, Event.FENCED): State.RETIRING,
    (State.LEAVING, Event.RELEASED): State.RETIRING,
    (State.FAILED, Event.FENCED): State.RETIRING,
    (State.RETIRING, Event.DESTROYED): State.GONE,
}


def advance(state: State, event: Event) -> State:
    """The state after `event`. An event with no row is a bug in the caller."""
    assert (state, event) in TRANSITIONS, f"{state.value} amphora cannot be {event.value}"
    return TRANSITIONS[state, event]
