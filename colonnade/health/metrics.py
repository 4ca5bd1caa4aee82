# SPDX-License-Identifier: Apache-2.0
"""What a health process tells Prometheus: datagrams by outcome, and whether it judges silence."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

JUDGING: Final = Gauge(
    "colonnade_health_judging",
    "1 while silence counts here, 0 while this process did not listen or write for long enough",
)
UNWRITTEN: Final = Counter(
    "colonnade_health_failed_flushes", "Batches of heartbeats that the database did not take"
)


def of_datagrams(accepted: int, rejected: Mapping[str, int], known: int) -> Iterable[Metric]:
    """`rejected`: how many for which reason; `known`: senders whose key is known. Pure."""
    dropped = CounterMetricFamily(
        "colonnade_health_rejected_datagrams", "Datagrams dropped, by reason", labels=["reason"]
    )
    for reason, count in sorted(rejected.items()):
        dropped.add_metric([reason], count)
    taken = CounterMetricFamily(
        "colonnade_health_accepted_datagrams", "Datagrams accepted", value=accepted
    )
    senders = GaugeMetricFamily(
        "colonnade_health_known_senders",
        "Amphorae whose key this process knows",
        value=known,
    )
    return [dropped, taken, senders]
