# SPDX-License-Identifier: Apache-2.0
"""How many requests a project may make. Callers of no project are not counted: they are trusted, or
of the whole of a cloud, or may do nothing.
"""

from colonnade.domain.errors import Throttled
from colonnade.domain.ids import ProjectId
from colonnade.runtime.buckets import Buckets
from colonnade.runtime.clock import Clock


class Rates:
    def __init__(self, per_s: float, *, burst: int = 0, clock: Clock | None = None) -> None:
        """`per_s` 0 lets everything pass. `burst`: as many at once; 0 for those of 2 s."""
        at_once = burst if burst > 0 else max(1, int(2 * per_s))
        self._buckets = Buckets(per_s, burst=at_once, clock=clock) if per_s > 0 else None

    def take(self, project: ProjectId | None) -> None:
        """Count one request. Raises Throttled when the project has used up its own."""
        if self._buckets is None or project is None:
            return
        after_s = self._buckets.take(project)
        if after_s > 0:
            raise Throttled("Too many requests for this project.", after_s=after_s)
