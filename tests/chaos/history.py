# SPDX-License-Identifier: Apache-2.0
"""What happened in a run, in plain words, and what must never happen.

The checks look at what is told here alone, so they can be tried on made-up histories.
"""

from collections.abc import Callable, Collection
from typing import Final

from colonnade.domain.ids import AmphoraId, PortId

ROUNDED_S: Final = 0.001  # PostgreSQL's times are
AFTERWARDS_S: Final = 20.0  # what was found out meanwhile may be acted upon
SHOWN: Final = 60  # lines of a history


class Trouble:
    """What happened to an amphora; a reason to replace it, for as long as it lasts and a while
    longer. It had none before, and has none for ever after."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.until = float("inf")


class History:
    """`now` says what time it is. Violations are said as they happen."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.lines: list[str] = []
        self.violations: list[str] = []
        self.leaving: dict[AmphoraId, float] = {}  # that an operator had replaced, since when
        self.served: set[AmphoraId] = set()  # that were told what to serve, and did
        self.holders: dict[PortId, AmphoraId] = {}  # of VIPs
        self.ended: set[str] = set()  # clusters that are deleted: nobody is to serve them
        self.many: set[str] = set()  # clusters of more than one amphora, now or once
        self.free: set[PortId] = set()  # of VIPs that move otherwise: `two_answer` judges them
        self._names: dict[str, str] = {}
        self._fencing: dict[AmphoraId, str] = {}
        self._troubles: dict[AmphoraId, list[Trouble]] = {}

    def name(self, thing: str, name: str) -> None:
        self._names[thing] = name

    def called(self, thing: str) -> str:
        return self._names.get(thing, thing[:8])

    def touch(self, amphora_id: AmphoraId, what: str) -> Trouble:
        """Until `over`."""
        trouble = Trouble(self._now())
        self._troubles.setdefault(amphora_id, []).append(trouble)
        self.say(f"{self.called(amphora_id)} {what}")
        return trouble

    def over(self, trouble: Trouble) -> None:
        trouble.until = self._now() + AFTERWARDS_S

    def is_troubled(self, amphora_id: AmphoraId, at: float) -> bool:
        troubles = self._troubles.get(amphora_id, ())
        return any(one.since - ROUNDED_S <= at <= one.until for one in troubles)

    def leave(self, amphora_id: AmphoraId) -> None:
        self.leaving.setdefault(amphora_id, self._now())
        self.say(f"{self.called(amphora_id)} is to be replaced, says an operator")

    def say(self, what: str) -> None:
        self.lines.append(f"{self._now():7.2f}  {what}")

    def violated(self, what: str) -> None:
        self.violations.append(what)
        self.say(f"VIOLATION: {what}")

    def vip_moved(
        self,
        port_id: PortId,
        last: AmphoraId | None,
        amphora_id: AmphoraId,
        running: Collection[AmphoraId],
    ) -> None:
        """The network gave the VIP's port to another."""
        self.say(f"the VIP of {self.called(port_id)} goes to {self.called(amphora_id)}")
        held_by, self.holders[port_id] = self.holders.get(port_id), amphora_id
        if last is None or last == amphora_id or last not in running or port_id in self.free:
            return
        # A port is plugged into one amphora at most, so one that an operator has replaced loses it
        # in the same moment, and runs on without. But the other must be ready for it, unless the
        # one to which it was cut before has died.
        if last not in self.leaving:
            self.violated(
                f"{self.called(amphora_id)} took the VIP of {self.called(port_id)} while"
                f" {self.called(last)} ran and was not fenced"
            )
        elif held_by == last and amphora_id not in self.served:
            self.violated(
                f"{self.called(amphora_id)} took the VIP of {self.called(port_id)} from"
                f" {self.called(last)}, which is to leave, and never served anything"
            )

    def fence_begins(self, cluster: str, amphora_id: AmphoraId) -> None:
        """One that runs is being ended. `cluster`: "" of one that never served any."""
        self.say(f"{self.called(amphora_id)} is fenced")
        for other, of in self._fencing.items():
            if (
                cluster
                and of == cluster
                and other != amphora_id
                and not self._is_over(cluster, other)
            ):
                self.violated(
                    f"{self.called(amphora_id)} is fenced while {self.called(other)} of the same"
                    " cluster still is"
                )
        self._fencing[amphora_id] = cluster

    def _is_over(self, cluster: str, amphora_id: AmphoraId) -> bool:
        """Whether it costs its cluster nothing that this one is being ended.

        Fences come one at a time so that not all who serve are ended for one mistake. Nobody is to
        serve a cluster whose owner has had it deleted. And one that an operator has replaced is
        ended when another has its VIPs, or when it can no longer serve; the other one may die
        meanwhile, and must not wait to be fenced."""
        if cluster in self.ended or cluster in self.many:
            return True
        has_vip = amphora_id in self.holders.values()
        can_serve = has_vip and not self.is_troubled(amphora_id, self._now())
        return amphora_id in self.leaving and not can_serve

    def two_answer(self, port_id: PortId, answering: Collection[AmphoraId]) -> None:
        """For a VIP, at one moment."""
        names = " and ".join(sorted(map(self.called, answering)))
        self.violated(f"{names} answer for the VIP of {self.called(port_id)} at a time")

    def fence_ends(self, amphora_id: AmphoraId) -> None:
        self._fencing.pop(amphora_id, None)

    def failed(
        self, amphora_id: AmphoraId, at: float, why: str, beside: Collection[AmphoraId] = ()
    ) -> None:
        """The control plane gave an amphora up at that time. `beside`: what else was on it, which
        is lost together."""
        self.lines.append(f"{at:7.2f}  {self.called(amphora_id)} is given up ({why})")
        asked = self.leaving.get(amphora_id, at + 1) <= at + ROUNDED_S
        if not asked and not any(self.is_troubled(one, at) for one in (amphora_id, *beside)):
            self.violated(f"{self.called(amphora_id)} was given up without a cause")

    def story(self) -> str:
        lines = sorted(self.lines, key=lambda line: float(line.split()[0]))
        left = len(lines) - SHOWN
        more = [f"         ... {left} lines before"] if left > 0 else []
        return "\n".join([*more, *lines[-SHOWN:]])
