# SPDX-License-Identifier: Apache-2.0
"""How many amphorae are replaced, one after the other. Pure: a look in, the next moves out.

The first is the canary: until it has served for a while as the old one did, nothing else is begun.
Then so many at once as the pace says, never two of one cluster. What is begun is followed to its
end whatever the upgrade's state is; only a running one begins more. An upgrade stops itself when a
replacement fails, what it serves is worse than before, or the fleet has other worries. Nothing is
begun but the steps it has, and nothing but amphorae that serve.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from colonnade.domain.ids import AmphoraId, ClusterId
from colonnade.domain.status import Operating

SETTLES_S: Final = 60.0  # after its watch, until a load balancer is as it was
STEPS_MAX: Final = 20_000
# How ill a load balancer is that shows it.
_ILL: Final[Mapping[Operating, int]] = {
    Operating.ONLINE: 0,
    Operating.NO_MONITOR: 0,
    Operating.DRAINING: 1,
    Operating.DEGRADED: 2,
    Operating.OFFLINE: 3,
    Operating.ERROR: 4,
}


class State(StrEnum):
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"  # by a person
    STOPPED = "STOPPED"  # by itself
    DONE = "DONE"
    CANCELLED = "CANCELLED"


OPEN: Final = (State.RUNNING, State.PAUSED, State.STOPPED)


class StepState(StrEnum):
    WAITING = "WAITING"
    REPLACING = "REPLACING"  # it serves until another does
    WATCHED = "WATCHED"  # another serves
    DONE = "DONE"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


BEGUN: Final = (StepState.REPLACING, StepState.WATCHED)
ENDED: Final = (StepState.DONE, StepState.SKIPPED, StepState.FAILED)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """`step_s`: the longest for one replacement, and for nothing to go on."""

    at_once: Annotated[int, Meta(ge=1, le=20)] = 2
    canary_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    watch_s: Annotated[float, Meta(ge=0, le=86_400)] = 10.0
    pause_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0  # between one beginning and the next
    step_s: Annotated[float, Meta(ge=5, le=86_400)] = 300.0


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An amphora that is to be replaced."""

    amphora_id: AmphoraId
    cluster_id: ClusterId
    flavor: str
    why: str = ""  # it is outdated; "": somebody asked
    ill: int = 0
    is_late: bool = False  # it cannot wait long


class Step(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    amphora_id: AmphoraId
    cluster_id: ClusterId
    flavor: str
    why: str
    state: StepState
    since: datetime
    before: int = 0  # how ill what it serves was when it began
    successor: AmphoraId | None = None
    words: str = ""


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    state: State
    is_automatic: bool
    undoes: str | None
    pace: Pace
    words: str
    created_at: datetime
    state_since: datetime


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How it is with what a step is about."""

    is_over: bool = False  # there is nothing to serve any more
    serves: bool = True  # its amphora, which nobody has asked to leave
    is_there: bool = True  # its amphora, not yet fenced
    is_settled: bool = True  # all that is wished is served, and nothing is under way
    ill: int = 0
    illness: str = ""
    failure: str = ""  # why what is wished cannot be served
    lost: str = ""  # why an amphora of it was failed over since the step began
    successor: AmphoraId | None = None
    stale: str = ""  # why the successor is outdated


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """`steps`: all that are begun, and the next that wait."""

    now: datetime
    steps: Sequence[tuple[Step, Seen]]
    left: int  # steps that have not ended, those not listed too
    is_proven: bool  # one step is DONE
    moved_at: datetime  # the last time that a step or the upgrade itself turned
    begun_at: datetime | None = None  # the last time that one was begun
    safe_mode: str = ""  # why it is on
    spares: Mapping[str, int] = {}  # ready, not outdated; of flavors that keep some


class Move(msgspec.Struct, frozen=True, kw_only=True):
    step: Step
    state: StepState
    words: str = ""
    before: int = 0
    successor: AmphoraId | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`turn`: the upgrade's next state, and why. `waits`: why nothing is begun."""

    moves: Sequence[Move] = ()
    turn: tuple[State, str] | None = None
    waits: str = ""


def illness(status: Operating) -> int:
    return _ILL[status]


def ordered(subjects: Iterable[Subject]) -> list[Subject]:
    """What cannot wait first; then what is well, so that the first proves something."""
    return sorted(subjects, key=lambda one: (not one.is_late, one.ill))


def decide(upgrade: Upgrade, look: Look) -> Decision:
    followed = [_follow(upgrade.pace, one, seen, look) for one, seen in look.steps]
    moves = tuple(move for move in followed if move is not None)
    if upgrade.state is not State.RUNNING:
        return Decision(moves=moves)
    failed = [move for move in moves if move.state is StepState.FAILED]
    if failed:
        words = f"amphora {failed[0].step.amphora_id}: {failed[0].words}"
        return Decision(moves=moves, turn=(State.STOPPED, words))
    if look.safe_mode and not upgrade.is_automatic:
        return Decision(moves=moves, turn=(State.STOPPED, f"safe mode is on: {look.safe_mode}"))
    if look.safe_mode:
        return Decision(moves=moves, waits=f"safe mode is on: {look.safe_mode}")
    return _go_on(upgrade.pace, look, moves)


def progress(counts: Mapping[StepState, int]) -> str:
    """For people."""
    total = sum(counts.values())
    said = [f"{counts.get(StepState.DONE, 0)} of {total} replaced"]
    for words, states in (
        ("being replaced", (StepState.REPLACING,)),
        ("watched", (StepState.WATCHED,)),
        ("to come", (StepState.WAITING,)),
        ("passed over", (StepState.SKIPPED,)),
        ("failed", (StepState.FAILED,)),
    ):
        number = sum(counts.get(state, 0) for state in states)
        said += [f"{number} {words}"] * bool(number)
    return ", ".join(said)


def _follow(pace: Pace, step: Step, seen: Seen, look: Look) -> Move | None:
    """Of one that is begun. None: it is as it was."""
    if step.state not in BEGUN:
        return None
    if seen.is_over:
        return Move(step=step, state=StepState.SKIPPED, words="its load balancer is gone")
    if words := _failure(pace, step, seen, look):
        return Move(step=step, state=StepState.FAILED, words=words)
    if step.state is StepState.REPLACING:
        if seen.is_there or not seen.is_settled or seen.successor is None:
            return None
        return Move(step=step, state=StepState.WATCHED, successor=seen.successor)
    is_watched = look.now - step.since >= _watch(pace, look)
    if is_watched and seen.ill <= step.before:
        return Move(step=step, state=StepState.DONE, successor=step.successor)
    return None


def _failure(pace: Pace, step: Step, seen: Seen, look: Look) -> str:
    if seen.lost:
        return f"an amphora of its load balancer was lost meanwhile: {seen.lost}"
    if seen.failure:
        return seen.failure
    age = look.now - step.since
    if step.state is StepState.REPLACING:
        late = age > timedelta(seconds=pace.step_s)
        return f"no other took its place within {pace.step_s:g} s" if late else ""
    if step.why and seen.stale:
        return f"the one in its place is outdated too: {seen.stale}"
    if seen.ill > step.before and age > _watch(pace, look) + timedelta(seconds=SETTLES_S):
        return f"its load balancer is worse than before: {seen.illness}"
    return ""


def _watch(pace: Pace, look: Look) -> timedelta:
    return timedelta(seconds=pace.watch_s if look.is_proven else pace.canary_s)


def _go_on(pace: Pace, look: Look, moves: Sequence[Move]) -> Decision:
    begins = _Beginning(pace, look, moves)
    for step, seen in look.steps:
        if step.state is StepState.WAITING:
            begins.take(step, seen)
    moves = (*moves, *begins.moves)
    ended = sum(move.state in ENDED for move in moves)
    if ended == look.left:
        return Decision(moves=moves, turn=(State.DONE, ""))
    is_stuck = look.now - look.moved_at > timedelta(seconds=pace.pause_s + pace.step_s)
    if moves or begins.busy or not begins.held:
        return Decision(moves=moves)
    if is_stuck and begins.lacking:
        return Decision(turn=(State.STOPPED, f"{begins.lacking} for {pace.step_s:g} s"))
    if is_stuck:
        words = f"its load balancer was not ACTIVE for {pace.step_s:g} s"
        over = [Move(step=one, state=StepState.SKIPPED, words=words) for one in begins.held]
        return Decision(moves=over)
    return Decision(waits=begins.lacking or "load balancers are not ACTIVE")


class _Beginning:
    """Which of those that wait may begin."""

    def __init__(self, pace: Pace, look: Look, moves: Sequence[Move]) -> None:
        ended = {move.step.number for move in moves if move.state in ENDED}
        flying = [s for s, _ in look.steps if s.state in BEGUN and s.number not in ended]
        is_proven = look.is_proven or any(move.state is StepState.DONE for move in moves)
        self.moves: list[Move] = []
        self.busy = {step.cluster_id for step in flying}
        self.held: list[Step] = []  # back for what they serve, or for a lack of spares
        self.lacking = ""
        self._room = (pace.at_once if is_proven else 1) - len(flying)
        self._pause = timedelta(seconds=pace.pause_s)
        if look.begun_at is not None and look.now - look.begun_at < self._pause:
            self._room = 0
        self._spares = dict(look.spares)

    def take(self, step: Step, seen: Seen) -> None:
        if seen.is_over or not seen.serves:
            words = "it does not serve any more"
            self.moves.append(Move(step=step, state=StepState.SKIPPED, words=words))
        elif self._room > 0 and step.cluster_id not in self.busy and self._may(step, seen):
            self._begin(step, seen)

    def _may(self, step: Step, seen: Seen) -> bool:
        if not seen.is_settled:
            self.held.append(step)
            return False
        if self._spares.get(step.flavor, 1) <= 0:
            self.held.append(step)
            self.lacking = f"no spare of flavor {step.flavor} was ready that is not outdated itself"
            return False
        return True

    def _begin(self, step: Step, seen: Seen) -> None:
        self.moves.append(Move(step=step, state=StepState.REPLACING, before=seen.ill))
        self.busy.add(step.cluster_id)
        self._room = 0 if self._pause else self._room - 1
        if step.flavor in self._spares:
            self._spares[step.flavor] -= 1
