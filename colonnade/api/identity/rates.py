# SPDX-License-Identifier: Apache-2.0
"""How many requests a project may make: a bucket for each, which fills at a steady rate.

Each process counts for itself, so that counting costs no query. A full bucket says no more than
none, so the oldest are dropped when there are too many. Callers of no project are not counted:
there are such only where everybody is trusted.
"""

from collections import OrderedDict
from typing import Final

from colonnade.domain.errors import Throttled
from colonnade.domain.ids import ProjectId
from colonnade.runtime.clock import Clock, SystemClock

PROJECTS_MAX: Final = 10_000


class Rates:
    def __init__(self, per_s: float, *, burst: int = 0, clock: Clock | None = None) -> None:
        """`per_s` 0 lets everything pass. `burst`: as many at once; 0 for those of 2 s."""
        self._per_s = per_s
        self._burst = float(burst) if burst > 0 else max(1.0, 2 * per_s)
        self._clock = clock or SystemClock()
        self._buckets: OrderedDict[ProjectId, tuple[float, float]] = OrderedDict()

    def take(self, project: ProjectId | None) -> None:
        """Count one request. Raises Throttled when the project has used up its own."""
        if self._per_s <= 0 or project is None:
            return
        now = self._clock.monotonic()
        left, since = self._buckets.pop(project, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_s)
        allowed = left >= 1.0
        self._buckets[project] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > PROJECTS_MAX:
            self._buckets.popitem(last=False)
        if not allowed:
            raise Throttled(
                "Too many requests for this project.", after_s=(1.0 - left) / self._per_s
            )
