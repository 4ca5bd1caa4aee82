# SPDX-License-Identifier: Apache-2.0
"""How often somebody may do something: a bucket for each, which fills at a steady rate.

Each process counts for itself, so that counting costs no query. Who has no bucket yet may do as
much as who has a full one, so the oldest are dropped when there are too many. Nothing here knows
who asks for what.
"""

from collections import OrderedDict
from typing import Final

from colonnade.runtime.clock import Clock, SystemClock

BUCKETS_MAX: Final = 10_000


class Buckets:
    def __init__(self, per_s: float, *, burst: int, clock: Clock | None = None) -> None:
        """`burst`: as many at once."""
        self._per_s = per_s
        self._burst = float(burst)
        self._clock = clock or SystemClock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Count one. 0 when it is allowed, else the seconds until the next one is."""
        now = self._clock.monotonic()
        left, since = self._buckets.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_s)
        allowed = left >= 1.0
        self._buckets[name] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._per_s
