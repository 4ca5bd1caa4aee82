# SPDX-License-Identifier: Apache-2.0
"""How a project's own objects do, for its Prometheus: statuses, and when secrets end.

Each object has one line for each of its statuses, which is 1 and has the status as a label: what
it is not is not told. Objects of other projects are never read. Pure but for `look`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from colonnade.domain.ids import ProjectId
from colonnade.domain.secrets import Secret
from colonnade.domain.shape import MEMBERS
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.listing import Wanted
from colonnade.store.reports.traffic import OBJECTS_MAX
from colonnade.store.secrets import secrets
from colonnade.store.trees import current_statuses
from colonnade.store.trees.current_statuses import Status

# The noun in names of metrics, and in labels, by the name of its table.
NOUNS: Final[Mapping[str, str]] = {
    "load_balancers": "loadbalancer",
    "listeners": "listener",
    "pools": "pool",
    "members": "member",
}


class Statuses(msgspec.Struct, frozen=True, kw_only=True):
    """By the name of the table."""

    objects: Mapping[str, Sequence[Status]] = {}
    secrets: Sequence[Secret] = ()

    @property
    def most(self) -> int:
        return max(map(len, (*self.objects.values(), self.secrets)))


NONE: Final = Statuses()


async def look(connection: Connection, project: ProjectId | None) -> Statuses:
    """Of a project, None: of all. The first `OBJECTS_MAX` of each noun."""
    objects = {
        table.name: await current_statuses.of_project(connection, project, table, OBJECTS_MAX)
        for table in current_statuses.OF
    }
    found = await secrets.find_all(connection, Wanted(project=project, limit=OBJECTS_MAX))
    return Statuses(objects=objects, secrets=found)


def families(found: Statuses) -> Iterable[Metric]:
    for table, noun in NOUNS.items():
        labels = _labels(noun, in_pool=table == MEMBERS.name)
        words = noun.replace("loadbalancer", "load balancer")
        operating = GaugeMetricFamily(
            f"colonnade_{noun}_operating_status",
            f"1 for the operating status of each {words}",
            labels=[*labels, "status"],
        )
        provisioning = GaugeMetricFamily(
            f"colonnade_{noun}_provisioning_status",
            f"1 for the provisioning status of each {words}",
            labels=[*labels, "status"],
        )
        for one in found.objects.get(table, ()):
            names = _names(one, labels)
            operating.add_metric([*names, one.operating], 1)
            provisioning.add_metric([*names, one.provisioning], 1)
        yield from (operating, provisioning)
    ends = GaugeMetricFamily(
        "colonnade_secret_not_after_timestamp_seconds",
        "When a certificate, CA or CRL of the project ends, in seconds since 1970",
        labels=["secret", "secret_name"],
    )
    for secret in found.secrets:
        ends.add_metric([secret.place, secret.name], secret.facts.not_after.timestamp())
    yield ends


def _labels(noun: str, *, in_pool: bool) -> list[str]:
    own = [] if noun == "loadbalancer" else [noun, f"{noun}_name"]
    return ["loadbalancer", "loadbalancer_name", *["pool", "pool_name"] * in_pool, *own]


def _names(one: Status, labels: Sequence[str]) -> list[str]:
    """What stands in each label."""
    own = {
        "loadbalancer": one.load_balancer_id,
        "loadbalancer_name": one.load_balancer_name,
        "pool": one.pool_id or one.id,
        "pool_name": one.pool_name if one.pool_id else one.name,
    }
    return [own.get(label, one.name if label.endswith("_name") else one.id) for label in labels]
