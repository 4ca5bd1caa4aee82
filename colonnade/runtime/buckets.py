# SPDX-License-Identifier: Apache-2.0
"""Rate limits: a token bucket for each name, which fills at a steady rate.

Each process counts by itself, so that counting costs no query. A name without a bucket may do as
much as one with a full bucket, so the oldest are dropped when there are too many. What the names
stand for is not known here.
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
