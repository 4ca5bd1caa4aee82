# SPDX-License-Identifier: Apache-2.0
"""What happened in a run, in plain words, and what must never happen.

The checks look at what is told here alone, so they can be tried on made-up histories.
"""

from collections.abc import Callable, Collection
from typing import Final

from colonnade.domain.ids import AmphoraId, PortId

ROUNDED_S: Final = 0.001  # PostgreSQL's times are
SHOWN: Final = 60  # lines of a history


class History:
    """`now` says what time it is. Violations are said as they happen."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.lines: list[str] = []
        self.violations: list[str] = []
        self.leaving: dict[AmphoraId, float] = {}  # that an operator had replaced, since when
        self.touched: dict[AmphoraId, float] = {}  # to which something happened, since when
        self.ended: set[str] = set()  # clusters that are deleted: nobody is to serve them
        self._names: dict[str, str] = {}
        self._fencing: dict[AmphoraId, str] = {}

    def name(self, thing: str, name: str) -> None:
        self._names[thing] = name

    def called(self, thing: str) -> str:
        return self._names.get(thing, thing[:8])

    def touch(self, amphora_id: AmphoraId, what: str) -> None:
        if self.touched.setdefault(amphora_id, self._now()) == self._now():
            self.say(f"{self.called(amphora_id)} {what}")

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
        if last is None or last == amphora_id or last not in running:
            return
        if last not in self.leaving:
            self.violated(
                f"{self.called(amphora_id)} took the VIP of {self.called(port_id)} while"
                f" {self.called(last)} ran and was not fenced"
            )

    def fence_begins(self, cluster: str, amphora_id: AmphoraId) -> None:
        """One that runs is being ended."""
        self.say(f"{self.called(amphora_id)} is fenced")
        for other, of in self._fencing.items():
            if cluster in self.ended or other in self.leaving:
                continue
            if of == cluster and other != amphora_id:
                self.violated(
                    f"{self.called(amphora_id)} is fenced while {self.called(other)} of the same"
                    " cluster still is"
                )
        self._fencing[amphora_id] = cluster

    def fence_ends(self, amphora_id: AmphoraId) -> None:
        self._fencing.pop(amphora_id, None)

    def failed(self, amphora_id: AmphoraId, at: float, why: str) -> None:
        """The control plane gave an amphora up at that time."""
        causes = [x[amphora_id] for x in (self.touched, self.leaving) if amphora_id in x]
        self.lines.append(f"{at:7.2f}  {self.called(amphora_id)} is given up ({why})")
        if min(causes, default=at + 1) > at + ROUNDED_S:
            self.violated(f"{self.called(amphora_id)} was given up without a cause")

    def story(self) -> str:
        lines = sorted(self.lines, key=lambda line: float(line.split()[0]))
        left = len(lines) - SHOWN
        more = [f"         ... {left} lines before"] if left > 0 else []
        return "\n".join([*more, *lines[-SHOWN:]])
