# SPDX-License-Identifier: Apache-2.0
"""How many requests were answered, how, and after how long: by route, in all workers together.

A request costs three additions. What has no route of ours is counted as `other`, so that no caller
can make a new series.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from colonnade.runtime.shared_cells import Cells
from colonnade.store.postgres.pool_metrics import POOL_FIELDS, Pool, pool_families

OTHER: Final = "other"
CODES: Final = (
    *(200, 201, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 429),
    *(500, 501, 503),
)
BOUNDS_S: Final = (0.005, 0.02, 0.1, 0.5, 2.0)
_PLACE: Final = {code: place for place, code in enumerate(CODES)}
_ELSE: Final = len(CODES)
_TIMES: Final = _ELSE + 1
_SUM: Final = _TIMES + len(BOUNDS_S) + 1
_WIDTH: Final = _SUM + 1

Name = tuple[str, str]  # method and path


class RequestCounts:
    """Made before workers are forked. `routes`: in the order of their numbers, which begin with 1;
    0 is what has none."""

    def __init__(self, routes: Sequence[Name] = (), *, workers: int = 1) -> None:
        self._routes: Sequence[Name] = ((OTHER, OTHER), *routes)
        self._workers = workers
        self._pool_at = len(self._routes) * _WIDTH
        self._cells = Cells(self._pool_at + len(POOL_FIELDS) + 1, workers)
        self.of_worker(0)

    def of_worker(self, number: int) -> None:
        """This process counts as that worker from now on."""
        self._row = self._cells.row(number)

    def count(self, route: int, status: int, took_s: float) -> None:
        at = route * _WIDTH
        row = self._row
        row[at + _PLACE.get(status, _ELSE)] += 1
        row[at + _TIMES + bisect_left(BOUNDS_S, took_s)] += 1
        row[at + _SUM] += took_s

    def note(self, held: int, pool: Pool) -> None:
        """What is of now in this process: requests that are held open, and its connections."""
        self._row[self._pool_at] = held
        for place, name in enumerate(POOL_FIELDS, self._pool_at + 1):
            self._row[place] = getattr(pool, name)

    async def families(self) -> Iterable[Metric]:
        sums = self._cells.sums()
        requests = CounterMetricFamily(
            "colonnade_api_requests",
            "Requests that were answered, by method, route and status code",
            labels=["method", "route", "code"],
        )
        seconds = HistogramMetricFamily(
            "colonnade_api_request_seconds",
            "Time from a request to the first byte of its answer",
            labels=["method", "route"],
        )
        for number, name in enumerate(self._routes):
            own = sums[number * _WIDTH : (number + 1) * _WIDTH]
            for code, count in zip((*CODES, OTHER), own[:_TIMES], strict=True):
                if count:
                    requests.add_metric([*name, str(code)], count)
            if any(own[_TIMES:_SUM]):
                seconds.add_metric(list(name), _buckets(own[_TIMES:_SUM]), own[_SUM])
        held, *pool = sums[self._pool_at :]
        waiting = GaugeMetricFamily(
            "colonnade_api_held_requests",
            "Requests that are held open: event streams, and those that wait",
            value=held,
        )
        workers = GaugeMetricFamily(
            "colonnade_api_workers", "Workers that answer together", value=self._workers
        )
        numbers = Pool(**dict(zip(POOL_FIELDS, map(int, pool), strict=True)))
        return [requests, seconds, waiting, workers, *pool_families(numbers)]


def _buckets(counts: Sequence[float]) -> list[tuple[str, float]]:
    """Those of the text format hold all that is below them."""
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    return [(bound, sum(counts[: n + 1])) for n, bound in enumerate(bounds)]
