# SPDX-License-Identifier: Apache-2.0
"""The connections of a process to its database, as numbers for Prometheus."""

from collections.abc import Iterable
from typing import Final

import msgspec
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """`asked`: requests for a connection; `waited`: those that had to wait; `refused`: those that
    got none in time; `lost`: connections that broke."""

    size: int = 0
    idle: int = 0
    waiting: int = 0
    asked: int = 0
    waited: int = 0
    refused: int = 0
    lost: int = 0


POOL_FIELDS: Final = Pool.__struct_fields__


def pool_families(pool: Pool) -> Iterable[Metric]:
    connections = GaugeMetricFamily(
        "colonnade_database_connections",
        "Connections to the database, used or idle",
        labels=["state"],
    )
    connections.add_metric(["used"], pool.size - pool.idle)
    connections.add_metric(["idle"], pool.idle)
    return [
        connections,
        GaugeMetricFamily(
            "colonnade_database_waiting", "Who waits for a connection now", value=pool.waiting
        ),
        CounterMetricFamily(
            "colonnade_database_uses", "Connections that were asked for", value=pool.asked
        ),
        CounterMetricFamily(
            "colonnade_database_waits", "Uses that had to wait first", value=pool.waited
        ),
        CounterMetricFamily(
            "colonnade_database_refusals",
            "Uses that got no connection in time, or at all",
            value=pool.refused,
        ),
        CounterMetricFamily(
            "colonnade_database_lost_connections", "Connections that broke", value=pool.lost
        ),
    ]
