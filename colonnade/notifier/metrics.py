# SPDX-License-Identifier: Apache-2.0
"""What a notifier tells Prometheus: messages by outcome, and whether events wait."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from colonnade.domain.errors import ColonnadeError
from colonnade.store.extras import notifications, webhooks
from colonnade.store.extras.webhooks import Standing
from colonnade.store.postgres.database import PATIENT_S, Database

MESSAGES: Final = Counter(
    "colonnade_notifier_messages",
    "Messages to webhooks, by what became of them",
    ["outcome"],
)
SECONDS: Final = Histogram(
    "colonnade_notifier_message_seconds",
    "From the beginning of an attempt to its end",
    buckets=(0.05, 0.2, 1, 5, 10),
)
EVENTS: Final = Counter("colonnade_notifier_events", "Events that receivers have taken")
NOTIFICATIONS: Final = Counter(
    "colonnade_notifier_notifications",
    "Notifications to the message bus, by what became of them",
    ["outcome"],
)


class Told:
    """How webhooks do, and how late the message bus is told, as the database has it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stands(self) -> Iterable[Metric]:
        try:
            async with self._database.read(answer_s=PATIENT_S) as connection:
                lag_s = await notifications.lag_s(connection)
                return families(await webhooks.look(connection), lag_s)
        except ColonnadeError:
            return []


def families(found: Standing, bus_lag_s: float) -> Iterable[Metric]:
    """Pure."""
    states = GaugeMetricFamily(
        "colonnade_webhooks", "Webhooks of all projects, by how they do", labels=["state"]
    )
    for state in ("fine", "failing", "disabled"):
        states.add_metric([state], getattr(found, state))
    lag = GaugeMetricFamily(
        "colonnade_webhooks_lag_seconds",
        "For how long the first event waits for a webhook that does not fail",
        value=found.lag_s,
    )
    bus_lag = GaugeMetricFamily(
        "colonnade_notifications_lag_seconds",
        "For how long the first event waits that the message bus is to be told of",
        value=bus_lag_s,
    )
    return [states, lag, bus_lag]
