# SPDX-License-Identifier: Apache-2.0
"""Which of those that should be failed over may be, now. Pure: facts in, a verdict out.

One amphora that falls silent is taken for dead. When many fall silent at once, the fault is more
likely ours: in safe mode failovers come at a trickle. A mass that truly died is replaced slowly; a
mass that lives loses little. An amphora that is silent and does not run, by the word of compute, is
held back by the rates alone. Invariant: no more pass than the rates allow, and in safe mode no more
than a trickle. `failovers.py` counts the facts and acts.
"""

import math
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from colonnade.runtime.config import Failovers

MINUTE_S: Final = 60.0


class Cause(StrEnum):
    """Why an amphora is replaced, as operators read it."""

    SILENT = "silent"
    UNBORN = "never heard since it was started"
    NOT_RUNNING = "not running, says compute"
    UNANSWERED = "never answered a controller"
    HAPROXY = "its haproxy does not serve, and its agent cannot mend that"
    KEEPALIVED = "its keepalived does not run, and its agent cannot mend that"
    DISK = "its disk is full"
    GATEWAY = "it has lost its gateway"
    APPLIES_NOTHING = "it is heard, and takes no change"


TROUBLES: Final = (
    *(Cause.HAPROXY, Cause.KEEPALIVED),
    *(Cause.DISK, Cause.GATEWAY, Cause.APPLIES_NOTHING),
)


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How well those are listened to that speak to so many receivers in turn: how many times as
    long they may be silent, for how long that has been so, and how old the newest word may be."""

    stretch: float = 1.0
    watched_s: float = math.inf
    late_s: float = 0.0


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """The silence, in seconds, after which each kind is to be replaced, and the pause between two
    heartbeats of it. `watched_s`: for how long somebody has been listening without a gap.
    `coverage[n]` is of those that speak to n receivers in turn, the first of those that did not
    say; the last holds for more."""

    stale_s: float
    spare_stale_s: float
    boot_s: float
    beat_s: float = 1.0
    spare_beat_s: float = 30.0
    watched_s: float = math.inf
    coverage: Sequence[Coverage] = (Coverage(),)

    @property
    def judges(self) -> bool:
        """Whether any silence counts."""
        return min(self.stale_s, self.spare_stale_s, self.boot_s) <= self.watched_s


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One that is to be replaced. `serving`: it has answered for a generation of its cluster."""

    amphora_id: str
    cluster_id: str | None
    host: str
    serving: bool
    silent_s: float
    cause: Cause
    words: str = ""  # what more there is to say of it
    machine: str = ""  # of a seat: the amphora that carries it; those on one are lost together
    certain: bool = False  # silent, and compute says that it does not run

    @property
    def is_of_its_machine(self) -> bool:
        """Whether what happened to it happened to all that is on the same amphora."""
        return bool(self.machine) and self.cause in (Cause.SILENT, Cause.NOT_RUNNING)


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """One that was, and how long ago."""

    cluster_id: str | None
    host: str
    serving: bool
    certain: bool
    ago_s: float


class Watched(msgspec.Struct, frozen=True):
    """Amphorae of one kind that should be heard, and those that the last beats are missed of."""

    count: int = 0
    late: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    serving: Watched
    spares: Watched
    troubled: int = 0  # of those that serve: are heard, and complained of
    replaced: Sequence[Replaced] = ()  # in the last minute, or the window if that is longer
    quiet_s: float = 0.0  # nobody at all was heard for so long, and somebody listened
    watched_s: float = math.inf
    stale_s: float = 3.5
    is_on: bool = False  # safe mode, at the last look
    is_lifted: bool = False  # a person ended it for a while


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`reason`: why safe mode is on, when this look says so; empty: nothing speaks for it now."""

    reason: str
    allowed: Sequence[Suspect]
    held: Sequence[Suspect]


def judge(facts: Facts, suspects: Sequence[Suspect], limits: Failovers) -> Verdict:
    """Those that serve go first, and of them who has been silent longest. Seats on one amphora
    count once, and pass together."""
    may_be_on = limits.safe_mode and not facts.is_lifted
    reason = _reason(facts, suspects, limits) if may_be_on else ""
    is_young = may_be_on and facts.watched_s < limits.settle_s
    trickles = bool(reason) or (may_be_on and facts.is_on)
    room = _Room(facts, limits, trickles=trickles, is_young=is_young)
    order = sorted(suspects, key=lambda s: (not s.serving, -s.silent_s))
    allowed: list[Suspect] = []
    held: list[Suspect] = []
    passed: set[str] = set()
    for suspect in order:
        is_along = suspect.is_of_its_machine and suspect.machine in passed
        if is_along or room.takes(suspect):
            allowed.append(suspect)
            passed |= {suspect.machine} if suspect.is_of_its_machine else set()
        else:
            held.append(suspect)
    if is_young and not reason and not facts.is_on and any(room.is_trickled(s) for s in held):
        reason = (
            f"{len(suspects)} amphorae are silent since an outage of the database, or since nobody"
            " listened"
        )
    return Verdict(reason=reason, allowed=allowed, held=held)


def is_deaf(facts: Facts, limits: Failovers) -> bool:
    """Nobody is heard, of so many that they cannot have died together."""
    return facts.serving.count >= limits.mass_least and facts.quiet_s >= facts.stale_s


def is_calm(facts: Facts, suspects: Sequence[Suspect], limits: Failovers) -> bool:
    """Nobody is silent, and those in trouble are no mass."""
    return not suspects and not _is_mass(facts.troubled, facts.serving.count, limits)


def _is_mass(lost: int, of: int, limits: Failovers) -> bool:
    return lost >= limits.mass_least and lost * 100 > limits.mass_percent * of


def _reason(facts: Facts, suspects: Sequence[Suspect], limits: Failovers) -> str:
    if not suspects:
        return ""
    if is_deaf(facts, limits):
        return f"nobody is heard, of {facts.serving.count} amphorae that serve"
    lost = [one for one in facts.replaced if one.ago_s <= limits.window_s]
    for kind, serving, words in (
        (facts.serving, True, "amphorae that serve"),
        (facts.spares, False, "spares"),
    ):
        if not any(suspect.serving is serving for suspect in suspects):
            continue
        gone = _clusters(lost, suspects) if serving else sum(not one.serving for one in lost)
        # Lost according to somebody else than a receiver: they may still be heard.
        those = {
            s.machine or s.amphora_id
            for s in suspects
            if s.serving is serving and s.cause is not Cause.SILENT
        }
        named = len(those)
        if serving and any(s.cause in TROUBLES for s in suspects):
            named = max(named, facts.troubled)
        missed, watched = max(kind.late, named) + gone, kind.count + gone
        if _is_mass(missed, watched, limits):
            return f"{missed} of {watched} {words} were lost within {limits.window_s:g} s"
    return ""


def _clusters(lost: Sequence[Replaced], suspects: Sequence[Suspect]) -> int:
    """How many clusters lost what served them. One cluster that loses it again and again counts
    once."""
    gone = {one.cluster_id for one in lost if one.serving}
    return len(gone - {suspect.cluster_id for suspect in suspects})


class _Room:
    """How many more may pass, by kind and by host."""

    def __init__(self, facts: Facts, limits: Failovers, *, trickles: bool, is_young: bool) -> None:
        self._limits = limits
        self._trickles = trickles
        # Silence since before the watch began may be our own fault.
        self._unheard_s = facts.watched_s if is_young else math.inf
        # The trickle waits for a while: a receiver that hears nobody is more likely deaf.
        self._is_shut = trickles and is_deaf(facts, limits) and facts.quiet_s < limits.deaf_s
        recent = [one for one in facts.replaced if one.ago_s < MINUTE_S]
        self._passed = Counter(one.serving for one in recent)
        self._of_host = Counter((one.serving, one.host) for one in recent)
        self._doubtful = Counter(one.serving for one in recent if not one.certain)

    def takes(self, suspect: Suspect) -> bool:
        kind, place = suspect.serving, (suspect.serving, suspect.host)
        if (
            self._passed[kind] >= self._limits.per_minute
            or self._of_host[place] >= self._limits.per_host_per_minute
            or self.is_trickled(suspect)
        ):
            return False
        self._passed[kind] += 1
        self._of_host[place] += 1
        self._doubtful[kind] += not suspect.certain
        return True

    def is_trickled(self, suspect: Suspect) -> bool:
        """Whether safe mode, and not a rate, holds it back."""
        doubtful = self._trickles or suspect.silent_s >= self._unheard_s
        if not doubtful or suspect.certain:
            return False
        return self._is_shut or self._doubtful[suspect.serving] >= self._limits.trickle_per_minute
