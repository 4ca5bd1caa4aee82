# SPDX-License-Identifier: Apache-2.0
"""What a controller tells Prometheus: what it did itself, and how the whole system stands.

What it did is counted as it happens, in this process. How the system stands is the same whichever
controller is asked, and is read from the database as somebody asks.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from colonnade.domain.catalogue import DEFAULT_FLAVOR
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.upgrading import State, StepState
from colonnade.runtime.config import Config
from colonnade.store import standing
from colonnade.store.postgres.database import PATIENT_S, Database
from colonnade.store.standing import Standing

PASSES: Final = Counter(
    "colonnade_controller_passes",
    "Passes over a key that ended, by the kind of key and how they ended",
    ["kind", "outcome"],
)
PASS_SECONDS: Final = Histogram(
    "colonnade_controller_pass_seconds",
    "How long a pass over a key took",
    ["kind"],
    buckets=(0.01, 0.05, 0.2, 1, 5, 30),
)
WISH_SECONDS: Final = Histogram(
    "colonnade_controller_wish_seconds",
    "From a wish of an owner to its being served by all that should serve it",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300),
)
FENCED: Final = Counter(
    "colonnade_controller_fenced_amphorae",
    "Failed amphorae of load balancers that were fenced, so that others take their place",
)

FORGOTTEN: Final = Counter(
    "colonnade_controller_forgotten_rows",
    "Rows that were kept for long enough and removed, by what they were",
    ["what"],
)


class Told:
    """The sources of a controller."""

    def __init__(self, database: Database, config: Config) -> None:
        self._database = database
        self._config = config

    async def stands(self) -> Iterable[Metric]:
        """Without a database: only that it does not answer."""
        allowed = self._config.heartbeats
        try:
            async with self._database.read(answer_s=PATIENT_S) as connection:
                found = await standing.look(connection, allowed.stale_s, allowed.spare_stale_s)
        except ColonnadeError:
            return [answers_at_all(False)]
        return [answers_at_all(True), *families(found, self._config.spares)]


def answers_at_all(does: bool) -> Metric:
    return _gauge("database_up", "1 when the database answers, else 0", int(does))


def families(found: Standing, spares: int) -> Iterable[Metric]:
    """How the system stands. `spares`: of the default flavor, as configured. Pure."""
    yield from _of_amphorae(found)
    yield from _of_work(found)
    yield from _of_upgrades(found)
    targets = _labelled("spares_target", "Spares that are to be ready, by flavor", "flavor")
    for flavor, size in {DEFAULT_FLAVOR: spares, **found.spare_targets}.items():
        targets.add_metric([flavor], size)
    yield targets
    balancers = _labelled(
        "loadbalancers",
        "Load balancers of all projects, by their statuses",
        *("provisioning_status", "operating_status"),
    )
    for count in found.load_balancers:
        balancers.add_metric([count.provisioning, count.operating], count.number)
    yield balancers
    daemons = _labelled("daemons", "Processes that said of late that they run, by kind", "kind")
    for kind in ("controller", "health", "notifier"):
        daemons.add_metric([kind], found.daemons.get(kind, 0))
    yield daemons
    if found.first_certificate_ends is not None:
        yield _gauge(
            "amphora_certificate_not_after_timestamp_seconds",
            "When the first certificate of an amphora ends, in seconds since 1970",
            found.first_certificate_ends.timestamp(),
        )


def _of_amphorae(found: Standing) -> Iterable[Metric]:
    amphorae = _labelled("amphorae", "Amphorae, by flavor and state", "flavor", "state")
    silent = _labelled(
        "silent_amphorae", "Amphorae not heard of for longer than they may be", "flavor", "state"
    )
    for one in found.amphorae:
        amphorae.add_metric([one.flavor, one.state], one.number)
        if one.state in ("SPARE", "SERVING"):
            silent.add_metric([one.flavor, one.state], one.silent)
    return [amphorae, silent]


def _of_upgrades(found: Standing) -> Iterable[Metric]:
    outdated = _labelled(
        "outdated_amphorae", "Amphorae that are outdated, by flavor and state", "flavor", "state"
    )
    for one in found.amphorae:
        number = found.outdated.get((one.flavor, one.state), 0)
        outdated.add_metric([one.flavor, one.state], number)
    states = _labelled("upgrade_state", "1 for the state of the newest upgrade", "state")
    for state in State:
        states.add_metric([state.value], int(state is found.upgrade_state))
    steps = _labelled("upgrade_steps", "Steps of the newest upgrade, by state", "state")
    for step in StepState:
        steps.add_metric([step.value], found.upgrade.get(step, 0))
    return [outdated, states, steps]


def _of_work(found: Standing) -> Iterable[Metric]:
    keys = _labelled(
        "work_keys", "Keys with work to do, by kind and whose turn it is", "kind", "state"
    )
    failing = _labelled("work_failing_keys", "Keys whose last pass failed, by kind", "kind")
    oldest = _labelled(
        "work_oldest_due_seconds", "Since when the first key is due that nobody works on", "kind"
    )
    for one in found.work:
        for state in ("due", "leased", "later"):
            keys.add_metric([one.kind, state], getattr(one, state))
        failing.add_metric([one.kind], one.failing)
        oldest.add_metric([one.kind], one.oldest_s)
    return [keys, failing, oldest]


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"colonnade_{name}", words, value=value)


def _labelled(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"colonnade_{name}", words, labels=labels)
